"""One run of the harness: processes and nemesis started, everything brought to rest, the history checked."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from signal import Signals
from tempfile import TemporaryDirectory
from typing import Final

import asyncpg

from tests.faults import checks, figures, ledger
from tests.faults.nemesis import Nemesis, Strike
from tests.faults.processes import Fleet
from tests.faults.profiles import Profile
from tests.faults.report import Report
from tests.faults.server import Restartable
from tests.waiting import eventually
from workerqueue import migrate
from workerqueue.database import Connection

LAG: Final = 0.3
"""Seconds by which this process may run late before the machine itself counts as struck."""


async def run(name: str, profile: Profile, seed: int, mutant: str | None = None) -> Report:
    """Run a profile and give what was found."""
    began = time.monotonic()
    async with _ground(profile, seed, mutant) as (server, fleet):
        nemesis = Nemesis(profile, seed, fleet, server)
        plan = nemesis.plan()
        async with _watched_machine() as stalls:
            await _start(fleet, profile)
            await nemesis.rage(plan)
            await _insert_the_rest(fleet)
            await _come_to_rest(server, profile)
            await _stop(fleet)
        return await _report(name, profile, seed, mutant, server, fleet, nemesis.history, stalls, plan, began)


@asynccontextmanager
async def _ground(profile: Profile, seed: int, mutant: str | None) -> AsyncGenerator[tuple[Restartable, Fleet]]:
    """Make a server, the tables and a fleet without processes; leave none of it behind."""
    with TemporaryDirectory(prefix="workerqueue-faults-", ignore_cleanup_errors=True) as folder:
        server = Restartable(Path(folder) / "postgres")
        await server.start()
        fleet = Fleet(Path(folder), profile, seed, mutant)
        fleet.lead_to(server.url)
        try:
            await migrate(server.url)
            async with _connection(server) as connection:
                await ledger.prepare(connection, ruled=profile.ruled)
            yield server, fleet
        finally:
            await fleet.kill_all()
            await server.close()


async def _start(fleet: Fleet, profile: Profile) -> None:
    for _ in range(profile.workers):
        await fleet.start_worker()
    for number in range(profile.inserters):
        await fleet.start_inserter(number)


async def _insert_the_rest(fleet: Fleet) -> None:
    for child in list(fleet.inserters):
        code = await child.process.wait()
        if code != 0:
            raise RuntimeError(f"{child.spec.name} ended with exit code {code}: {_last_lines(fleet)}")


async def _come_to_rest(server: Restartable, profile: Profile) -> None:
    """Wait until no job is left, or as long as the profile gives them."""
    async with _connection(server) as connection:

        async def is_empty() -> bool:
            return not await connection.fetchval("select exists (select from workerqueue.job)")

        with suppress(AssertionError):  # what is left is for the checker to find
            await eventually(is_empty, within=profile.drain)


async def _stop(fleet: Fleet) -> None:
    for child in fleet.workers:
        child.send(Signals.SIGTERM)
    for child in list(fleet.workers):
        await fleet.remove_worker(child, 30)


async def _report(
    name: str,
    profile: Profile,
    seed: int,
    mutant: str | None,
    server: Restartable,
    fleet: Fleet,
    strikes: Sequence[Strike],
    stalls: Sequence[Strike],
    plan: Sequence[str],
    began: float,
) -> Report:
    async with _connection(server) as connection:
        await ledger.gather(
            connection,
            inserters=fleet.journals("inserter"),
            workers=fleet.journals("worker"),
            external=fleet.external,
            strikes=[*strikes, *stalls],
        )
        verdicts = await checks.check(connection)
        total = await figures.totals(connection)
        lines = _most_lines(fleet.logs())
        rows = await figures.figures(connection, profile, strikes, verdicts, total, lines)
    return Report(name, seed, mutant, time.monotonic() - began, plan, total, rows, verdicts)


@asynccontextmanager
async def _connection(server: Restartable) -> AsyncGenerator[Connection]:
    connection = await asyncpg.connect(server.url)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def _watched_machine() -> AsyncGenerator[list[Strike]]:
    """Note when this very process was kept from running: then others may have been, too."""
    stalls: list[Strike] = []

    async def watch() -> None:
        while True:
            asked_at = time.time()
            await asyncio.sleep(0.1)
            if time.time() - asked_at > 0.1 + LAG:
                stalls.append(Strike("machine", asked_at, None, time.time()))

    watching = asyncio.create_task(watch())
    try:
        yield stalls
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


def _most_lines(logs: Sequence[Path]) -> int:
    """Count what the most talkative loop said within a second about a database that was away."""
    seconds = Counter(
        (path.name, line[:19], line.split(" ", 2)[2].split(":")[0])
        for path in logs
        for line in path.read_text().splitlines()
        if line.endswith("trying again")
    )
    return max(seconds.values(), default=0)


def _last_lines(fleet: Fleet) -> str:
    return "\n".join(path.read_text()[-2_000:] for path in fleet.logs() if path.name.startswith("inserter"))
