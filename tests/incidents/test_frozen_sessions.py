"""River PR#1251 and #1255: a session that answers no more stops no loop, and no loop but its own notices.

The sessions of a server of the test's own are stopped by a signal: their connections stay open and say nothing.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Final

import asyncpg
import pytest

from tests.incidents.freezing import IN_THE_POOL, NOTIFIER, STATEMENTS, Signs, frozen, give_deadlines
from tests.maintenance.leading import Always
from tests.reconnect.servers import OwnServer
from tests.waiting import PATIENCE, eventually
from workerqueue import Client, Config, Job, JobArgs, Workers, migrate
from workerqueue.database import Connection, Database, listening
from workerqueue.embedded.account import account
from workerqueue.embedded.home import thrown_away
from workerqueue.errors import DatabaseError
from workerqueue.maintenance import cleaner, leader, partitioner, pruner, reindexer, scheduler, sweeper
from workerqueue.maintenance.retention import Retention

NO_DEADLINE: Final = 3600.0
SHORT: Final = 0.5
"""Seconds: what a loop waits for a session before it takes another."""
WHILE_BUSY: Final = 2.0
"""The same where a session must be caught while it waits."""

ALL: Final = {*STATEMENTS, NOTIFIER}
ON_ONE_SESSION: Final = {"leader": (scheduler, "SHORTEST_PAUSE"), "scheduler": (leader, "PAUSE")}
"""Two that share a session, and what makes the other rest, so that the one is next to ask it."""

_schemas = (f"frozen_{n}" for n in itertools.count(1))


class Step(JobArgs):
    n: int
    held: bool = False

    @classmethod
    def kind(cls) -> str:
        return "step"


class Running:
    """A client whose every loop is busy, and what it ran."""

    def __init__(self, url: str, schema: str, sql: Connection, signs: Signs) -> None:
        self.runs: Counter[int] = Counter()
        self.sql = sql
        self.signs = signs
        self.gate = asyncio.Event()
        self.channel = Database(url, schema).channel
        self._held = asyncio.Event()
        self._numbers = itertools.count(1)
        self._acknowledged: set[int] = set()
        self._stopping = False
        self._all_inserted = asyncio.Event()
        workers = Workers()

        @workers.worker
        async def step(job: Job[Step]) -> None:
            self.runs[job.args.n] += 1
            if job.args.held:
                self._held.set()
                await self.gate.wait()

        self.client = Client(
            url, workers=workers, schema=schema, poll_interval=0.05, heartbeat_interval=0.1, lease_ttl=600.0
        )

    async def insert(self) -> None:
        """Insert until told to stop."""
        while not self._stopping:
            await self._insert()
            await asyncio.sleep(0.01)
        self._all_inserted.set()

    async def hold_one(self) -> None:
        """Have a job that runs until the gate is opened, so that there is something to complete."""
        self.gate.clear()
        self._held.clear()
        await self._insert(held=True)
        async with asyncio.timeout(PATIENCE):
            await self._held.wait()

    async def is_completed(self) -> None:
        """Wait until the job that was held has been."""

        async def held_no_more() -> bool:
            return not await self.sql.fetchval("select count(*) from job where (args->>'held')::boolean")

        await eventually(held_no_more)

    async def give_signs(self, loops: set[str], *, but: int = 0) -> None:
        """Wait until each of these loops has been answered."""
        await self.signs.come_from(self.sql, self.channel, loops, but=but)

    async def end(self) -> None:
        """Insert no more, and check that each job ran once and that none is left."""
        self._stopping = True
        async with asyncio.timeout(PATIENCE):
            await self._all_inserted.wait()

        async def all_have_ended() -> bool:
            return not await self.sql.fetchval("select count(*) from job")

        await eventually(all_have_ended)
        ended = await self.sql.fetch("select (args->>'n')::integer as n, state::text, attempt from job_finalized")
        assert sorted(map(tuple, ended)) == [(n, "completed", 1) for n in sorted(self._acknowledged)]
        assert self.runs == Counter(self._acknowledged)
        assert await self.sql.fetchval("select count(*) from client where ended_at is not null") == 0

    async def _insert(self, *, held: bool = False) -> None:
        n = next(self._numbers)
        while True:
            with suppress(DatabaseError):  # not one of the loops: who inserts is told
                await self.client.insert(Step(n=n, held=held))
                self._acknowledged.add(n)
                return


@pytest.fixture(scope="module")
def server() -> Generator[OwnServer]:
    """A server whose sessions a test may stop: one that stops at a bad moment holds up the others."""
    with thrown_away(account()) as home:
        made = OwnServer(home.path / "own")
        made.start()
        yield made
        made.stop()


@pytest.fixture
async def schema(server: OwnServer) -> str:
    """A migrated schema of the test's own."""
    name = next(_schemas)
    await migrate(server.url, name)
    return name


@pytest.fixture
async def sql(server: OwnServer, schema: str) -> AsyncGenerator[Connection]:
    """A connection whose search path is the test's schema."""
    connection = await asyncpg.connect(server.url, server_settings={"search_path": schema})
    yield connection
    await connection.close()


@pytest.fixture
async def other(server: OwnServer, schema: str) -> AsyncGenerator[Connection]:
    """A second connection like `sql`: one in a transaction sees other sessions as they were when it first looked."""
    connection = await asyncpg.connect(server.url, server_settings={"search_path": schema})
    yield connection
    await connection.close()


@pytest.fixture
def signs(monkeypatch: pytest.MonkeyPatch) -> Signs:
    """What the loops ask and are answered; they ask often."""
    for module in (sweeper, cleaner, pruner, reindexer):
        monkeypatch.setattr(module, "EVERY", 0.05)
    monkeypatch.setattr(partitioner, "PAUSE", 0.05)
    monkeypatch.setattr(leader, "PAUSE", 0.05)
    monkeypatch.setattr(leader, "TERM", 600.0)
    monkeypatch.setattr(listening, "CHECK_INTERVAL", 0.1)
    return Signs(monkeypatch)


@asynccontextmanager
async def running(server: OwnServer, schema: str, sql: Connection, signs: Signs) -> AsyncGenerator[Running]:
    """Have a client work jobs, until all have ended."""
    made = Running(server.url, schema, sql, signs)
    inserting: asyncio.Task[None] | None = None
    try:
        await made.client.start()
        inserting = asyncio.create_task(made.insert())
        await made.give_signs(ALL)
        yield made
        await made.end()
    finally:
        if inserting is not None:
            inserting.cancel()
        made.gate.set()
        await made.client.close()


@pytest.mark.parametrize("loop", ["producer", "completer", NOTIFIER, "heartbeat", *ON_ONE_SESSION])
async def test_river_1251_a_frozen_session_stops_no_loop(
    server: OwnServer, schema: str, sql: Connection, signs: Signs, monkeypatch: pytest.MonkeyPatch, loop: str
) -> None:
    """No other loop waits for it, however long; its own loop takes another session once its deadline has passed."""
    others = ALL - {loop} - (set(ON_ONE_SESSION) if loop in ON_ONE_SESSION else set())
    give_deadlines(monkeypatch, NO_DEADLINE)
    async with running(server, schema, sql, signs) as made:
        if loop in ON_ONE_SESSION:
            monkeypatch.setattr(*ON_ONE_SESSION[loop], NO_DEADLINE)
        await made.hold_one()
        async with frozen(sql, lambda: signs.asked[loop]):
            made.gate.set()
            if loop == "producer":  # nothing but what was held can end while nothing is claimed
                await made.is_completed()
                others = others - {"completer"}
            await made.give_signs(others)
        give_deadlines(monkeypatch, SHORT)
        await made.give_signs({loop})  # what is under way from now on has the new deadline
        async with frozen(sql, lambda: signs.asked[loop]) as session:
            await made.give_signs({loop}, but=session)
        await made.give_signs(others | {loop})


async def test_a_frozen_session_of_the_pool_stops_one_chore_for_its_deadline(
    server: OwnServer, schema: str, sql: Connection, signs: Signs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever chore is given it next; all the others go on, and that one with another session."""
    give_deadlines(monkeypatch, SHORT)
    async with running(server, schema, sql, signs) as made:
        async with frozen(sql, lambda: signs.asked["cleaner"]) as session:
            await made.give_signs(ALL, but=session)
        await made.give_signs(ALL)


@pytest.mark.parametrize("chore", IN_THE_POOL)
async def test_river_1255_a_chore_takes_another_session(
    server: OwnServer, schema: str, sql: Connection, signs: Signs, monkeypatch: pytest.MonkeyPatch, chore: str
) -> None:
    """Each by itself: the session that it is given is frozen, and it goes on while it stays so."""
    database = Database(server.url, schema)
    leading = Always(database)
    chores: dict[str, Callable[[], Awaitable[None]]] = {
        "sweeper": partial(sweeper.free_stranded_jobs, database, 600.0),
        "cleaner": cleaner.Cleaner(database, Retention.of(Config()), leading).clean,
        "pruner": partial(pruner.prune_clients, database),
        "reindexer": partial(reindexer.rebuild_bloated_indexes, database),
    }
    repeating = asyncio.create_task(
        leading.repeat(chore, chores[chore], 0.01) if chore in chores else partitioner.make_partitions(database)
    )
    try:
        await signs.come_from(sql, database.channel, {chore})
        give_deadlines(monkeypatch, SHORT)
        await signs.come_from(sql, database.channel, {chore})  # what is under way from now on has the new deadline
        async with frozen(sql, lambda: signs.asked[chore]) as session:
            await signs.come_from(sql, database.channel, {chore}, but=session)
        await signs.come_from(sql, database.channel, {chore})
    finally:
        repeating.cancel()
        await asyncio.wait([repeating])
        await database.close()


async def test_a_claim_that_is_frozen_at_work_strands_no_job(
    server: OwnServer,
    schema: str,
    sql: Connection,
    other: Connection,
    signs: Signs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may commit when it wakes, long after its loop has another session: its jobs are released, and run."""
    give_deadlines(monkeypatch, WHILE_BUSY)
    async with running(server, schema, sql, signs) as made:
        async with AsyncExitStack() as freezing:
            async with other.transaction():
                await other.execute("lock table job in access exclusive mode")
                session = await freezing.enter_async_context(
                    frozen(sql, lambda: signs.asked["producer"], state="waits")
                )
            await made.give_signs(ALL, but=session)
        await made.give_signs(ALL)


async def test_a_completion_that_is_frozen_at_work_holds_up_no_other_loop(
    server: OwnServer,
    schema: str,
    sql: Connection,
    other: Connection,
    signs: Signs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it has locked stays locked until it wakes; claims, beats and chores go on, and then it is written, once."""
    give_deadlines(monkeypatch, WHILE_BUSY)
    async with running(server, schema, sql, signs) as made:
        await made.hold_one()
        async with AsyncExitStack() as freezing:
            async with other.transaction():
                await other.execute("select from job where (args->>'held')::boolean for update")
                made.gate.set()
                session = await freezing.enter_async_context(
                    frozen(sql, lambda: signs.asked["completer"], state="waits")
                )
            await made.give_signs(ALL - {"completer"}, but=session)
        await made.give_signs(ALL)
