"""A small application as a user writes it, tasks and configuration, and the commands run in its folder."""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar, cast
from urllib.parse import urlsplit

import asyncpg

from tests.cli.process import Finished, Process, started
from tests.waiting import eventually

T = TypeVar("T")

TASKS = '''
"""What the tests' application does."""

import threading
from pathlib import Path

import anyio

from workerqueue import Job, JobArgs, Workers

workers = Workers()


class Greet(JobArgs):
    name: str = "you"
    count: int = 1

    @classmethod
    def kind(cls) -> str:
        return "greet"


class Fail(JobArgs):
    id: int

    @classmethod
    def kind(cls) -> str:
        return "fail"


class Falter(JobArgs):
    @classmethod
    def kind(cls) -> str:
        return "falter"


class Gate(JobArgs):
    @classmethod
    def kind(cls) -> str:
        return "gate"


class Block(JobArgs):
    @classmethod
    def kind(cls) -> str:
        return "block"


class Meet(JobArgs):
    @classmethod
    def kind(cls) -> str:
        return "meet"


class Alone(JobArgs):
    @classmethod
    def kind(cls) -> str:
        return "alone"


class Elsewhere(JobArgs):
    id: int

    @classmethod
    def kind(cls) -> str:
        return "elsewhere"


workers.declare(Elsewhere)


@workers.worker
async def greet(job: Job[Greet]) -> str:
    return f"hello {job.args.name}"


@workers.worker
async def fail(job: Job[Fail]) -> None:
    raise ValueError("no such customer")


@workers.worker
async def falter(job: Job[Falter]) -> None:
    raise ValueError("not today")


@workers.worker
async def gate(job: Job[Gate]) -> None:
    """Ends when the file `open` is there."""
    while not Path("open").exists():
        await anyio.sleep(0.01)


@workers.worker
def block(job: Job[Block]) -> None:
    """Never ends, in its thread."""
    threading.Event().wait()


two = anyio.Event()
met = 0
busy = 0


@workers.worker
async def meet(job: Job[Meet]) -> None:
    """Ends only when two of its kind run at once."""
    global met
    met += 1
    if met == 2:
        two.set()
    with anyio.fail_after(30):
        await two.wait()


@workers.worker
async def alone(job: Job[Alone]) -> None:
    """Fails when another of its kind runs at once."""
    global busy
    busy += 1
    try:
        if busy > 1:
            raise RuntimeError("not alone")
        await anyio.sleep(0.02)
    finally:
        busy -= 1
'''
QUEUES = """
[a]
max_workers = 1
[b]
max_workers = 3
"""
TABLE = """
[fail]
queue = "b"
dynamic_queue = "fail-{id}"
max_attempts = 1
[meet]
queue = "a"
[alone]
queue = "b"
max_attempts = 1
[unworked]
queue = "a"
priority = -5
timeout_seconds = 0.5
"""
DATABASE_VARIABLES = ("WORKERQUEUE_", "DATABASE_URL", "PG")


def environment() -> dict[str, str]:
    """The environment without anything that names a database, and as wide as a terminal is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(DATABASE_VARIABLES)}
    return kept | {"COLUMNS": "100", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def write_application(folder: Path) -> None:
    """Write `tasks.py` and `config/` into a folder."""
    (folder / "tasks.py").write_text(TASKS)
    (folder / "config").mkdir()
    (folder / "config" / "queues.toml").write_text(QUEUES)
    (folder / "config" / "tasks.toml").write_text(TABLE)


class Application:
    """The application's folder, and the commands run in it against one schema; none of them shows the password."""

    def __init__(self, folder: Path, url: str, schema: str) -> None:
        self.folder = folder
        self.url = url
        self.schema = schema
        self.environment = environment() | {"WORKERQUEUE_DATABASE_URL": url}
        self.secret = urlsplit(url).password or "no password"

    def start(self, *arguments: str, schema: bool = True) -> AbstractContextManager[Process]:
        """Start a command, on the test's schema."""
        return started([*arguments, *(["--schema", self.schema] if schema else [])], self.folder, self.environment)

    def run(self, *arguments: str, schema: bool = True) -> Finished:
        """Run a command to its end."""
        with self.start(*arguments, schema=schema) as process:
            finished = process.end()
        assert self.secret not in finished.both
        return finished

    def insert(self, kind: str, args: str = "{}", *options: str) -> int:
        """Insert a job by the command, and give its id."""
        finished = self.run("insert", kind, args, "--json", *options)
        assert (finished.code, finished.err) == (0, "")
        return int(cast("dict[str, int]", json.loads(finished.out))["id"])

    async def put(self, *kinds: str, pool: str = "default") -> list[int]:
        """Insert jobs as a producer in plain SQL does, without starting a command for each."""
        connection = await asyncpg.connect(self.url)
        try:
            sql = f'insert into "{self.schema}".job (kind, pool, args) values ($1, $2, $3) returning id'  # noqa: S608 - the test's schema
            return [int(await connection.fetchval(sql, kind, pool, "{}")) for kind in kinds]
        finally:
            await connection.close()

    async def value(self, sql: str, *values: object) -> object:
        """Ask the database; `{schema}` is the test's."""
        connection = await asyncpg.connect(self.url)
        try:
            return cast("object", await connection.fetchval(sql.format(schema=f'"{self.schema}"'), *values))
        finally:
            await connection.close()

    async def states(self, *jobs: int) -> list[object]:
        """The states of jobs."""
        return [await self.value("select state from {schema}.job_all where id = $1", job) for job in jobs]

    async def reaches(self, job: int, state: str) -> None:
        """Wait until a job is in a state."""

        async def look() -> bool:
            return await self.states(job) == [state]

        await eventually(look)
