"""The clock campaign: processes whose clocks are wrong work and insert together, and only the database's counts.

Nobody's job may start before its time or be left when it has come, nobody living may be taken for dead, and what was
asked for as a delay is one, whatever the clock of whoever asked shows. The seed says whose clock is the leader's.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import asyncpg

from tests.faults import journal, ledger
from tests.faults.children import PATIENCE, Child, started
from tests.faults.clocks.kinds import LEASE, POLL
from tests.faults.clocks.skewed import Clock
from tests.faults.figures import Row
from tests.faults.ledger import script
from tests.faults.server import Restartable
from tests.waiting import eventually
from workerqueue import migrate
from workerqueue.database import Connection

MINUTE: Final = 60.0
BEHIND: Final = Clock(ahead=-90 * MINUTE)
AHEAD: Final = Clock(ahead=90 * MINUTE)
FAST: Final = Clock(ahead=5 * MINUTE, rate=1.01)
JUMPING: Final = Clock(jump=30 * MINUTE, every=0.7)

WORKERS: Final = (BEHIND, AHEAD, FAST, JUMPING)
INSERTERS: Final = (BEHIND, AHEAD, JUMPING)
LATE: Final = POLL + 1.0
"""Seconds that a due job may wait for its start."""
DRAIN: Final = 10 * LEASE
"""Seconds after the last insert until everything that is due must have ended."""
UNDER_WAY = """
    select exists (
        select from workerqueue.job where state = 'running' or scheduled_at < clock_timestamp() + interval '1 min'
    )
"""
"""What is due later than in a minute was asked for by a wrong clock, and stays."""
ASKED = "create table faults.asked (job bigint primary key, delay float8, due timestamptz)"


async def run(seed: int, calls: int = 1_000, *, mutant: str = "none") -> list[Row]:
    """Let every inserter make so many calls; `mutant` seeds one of `mutants` into all processes."""
    with TemporaryDirectory(prefix="workerqueue-faults-", ignore_cleanup_errors=True) as folder:
        async with _ground(Path(folder)) as (server, connection):
            async with _processes(server.url, connection, Path(folder), seed, calls, mutant) as (workers, inserters):
                for inserter in inserters:
                    await inserter.wait(PATIENCE + calls)
                with suppress(AssertionError):  # what is left is for the checks to find
                    await _until_all_ended(connection)
                for worker in workers:
                    await worker.stop()
            await _gather(connection, Path(folder))
            return await _figures(connection)


@asynccontextmanager
async def _ground(folder: Path) -> AsyncGenerator[tuple[Restartable, Connection]]:
    """Make a server, the tables and the audit."""
    server = Restartable(folder / "postgres")
    await server.start()
    try:
        await migrate(server.url)
        connection = await asyncpg.connect(server.url)
        await ledger.prepare(connection)
        await connection.execute(ASKED)
        yield server, connection
        await connection.close()
    finally:
        await server.close()


@asynccontextmanager
async def _processes(
    url: str, connection: Connection, folder: Path, seed: int, calls: int, mutant: str
) -> AsyncGenerator[tuple[list[Child], list[Child]]]:
    log = folder / "processes.log"
    async with AsyncExitStack() as stack:

        async def start(clock: Clock, module: str, *arguments: str) -> Child:
            return await stack.enter_async_context(
                started(*clock.arguments(f"tests.faults.clocks.{module}"), *arguments, url=url, log=log)
            )

        async def one_leads() -> bool:
            return bool(await connection.fetchval("select exists (select from workerqueue.leader)"))

        first = seed % len(WORKERS)
        workers = [await start(WORKERS[first], "worker", mutant)]
        await eventually(one_leads, within=PATIENCE)
        workers += [await start(clock, "worker", mutant) for clock in WORKERS[:first] + WORKERS[first + 1 :]]
        inserters = [
            await start(clock, "inserter", mutant, f"{seed}/{number}", str(calls), str(_notes(folder, number)))
            for number, clock in enumerate(INSERTERS)
        ]
        yield workers, inserters


def _notes(folder: Path, number: int) -> Path:
    return folder / f"inserter-{number}.jsonl"


async def _until_all_ended(connection: Connection) -> None:
    async def is_done() -> bool:
        return not await connection.fetchval(UNDER_WAY)

    await eventually(is_done, within=DRAIN)


async def _gather(connection: Connection, folder: Path) -> None:
    """Load what the inserters asked for, and make the history of what became of it."""
    asked = journal.read([_notes(folder, number) for number in range(len(INSERTERS))])
    rows = [(entry["job"], entry.get("delay"), _time(entry.get("due"))) for entry in asked]
    await connection.copy_records_to_table("asked", schema_name="faults", records=rows)
    await connection.execute(script("gather"))


def _time(written: object) -> datetime | None:
    return None if written is None else datetime.fromisoformat(str(written))


async def _figures(connection: Connection) -> list[Row]:
    jobs = await connection.fetchval("select count(*) from faults.asked")
    starts = await connection.fetchval("select count(*) from faults.step where target = 'running'")
    dead = await connection.fetchval("select count(*) from workerqueue.client where ended_as = 'lost'")
    longest = await connection.fetchval(script("clock_late"))
    return [
        await _violations(connection, "h8_early", starts, "starts before their time"),
        Row("clocks", starts, f"{longest:.2f} s from due to started at most", f"≤ {LATE:g} s", longest <= LATE),
        Row("clocks", len(WORKERS), f"{dead} declared dead", "0", not dead),
        await _violations(connection, "clock_asked", jobs, "due when nobody asked for"),
        await _violations(connection, "clock_once", jobs, "not completed just once"),
        await _violations(connection, "clock_left", jobs, "left when their time had come"),
    ]


async def _violations(connection: Connection, check: str, times: int, what: str) -> Row:
    found: Sequence[object] = await connection.fetch(script(check))
    return Row("clocks", times, f"{len(found)} {what}", "0", not found)
