"""River PR#1184, #1187 and #1213: whichever step of a leader's start fails, all of it is there soon after, once."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import Work
from tests.maintenance.history import DAY, HOUR, finalized
from tests.waiting import PATIENCE, eventually
from workerqueue import Config, Job, QueueConfig, Workers
from workerqueue.database import ClientRow, Connection, Database
from workerqueue.database.chores import ChoreTable
from workerqueue.database.jobs import JobTable
from workerqueue.errors import DatabaseError, DatabaseUnavailableError
from workerqueue.maintenance import cleaner, leader, partitioner, pruner, reindexer, scheduler, sweeper
from workerqueue.maintenance.chores import run_chores
from workerqueue.maintenance.cron import Cron
from workerqueue.maintenance.leader import Leader
from workerqueue.maintenance.retention import Retention
from workerqueue.options import NewJob
from workerqueue.schedule_config import ScheduleConfig

STEPS: Final[dict[str, tuple[type, str]]] = {
    "a connection": (Database, "_connect"),
    "a connection of the pool": (Database, "_take"),
    "the election": (ChoreTable, "elect_leader"),
    "the first promotion": (JobTable, "promote_due_jobs"),
    "looking for a day's table": (JobTable, "find_partition"),
    "making it": (JobTable, "make_partition"),
    "the first sweep": (JobTable, "rescue_jobs"),
    "listing the days": (ChoreTable, "list_days"),
    "limiting the time": (ChoreTable, "limit_time"),
    "cleaning by age": (ChoreTable, "delete_finalized"),
    "cleaning by number": (ChoreTable, "trim_finalized"),
    "dropping a day": (ChoreTable, "drop_day"),
    "pruning clients": (ChoreTable, "prune_clients"),
    "listing the indexes": (ChoreTable, "list_indexes"),
    "dropping one": (ChoreTable, "drop_index"),
}
BY_THE_LEADER: Final = (
    "rescue_jobs",
    "list_days",
    "delete_finalized",
    "trim_finalized",
    "prune_clients",
    "list_indexes",
)
"""What only one client does, and not twice at once."""

RETENTION: Final = Retention.of(Config(queues={"few": QueueConfig(keep_completed_count=1)}))
LONG_AGO: Final = timedelta(days=9)
"""When a day ended of which nothing is kept."""

Statement = Callable[..., Awaitable[object]]


class Failure:
    """What happens to one step, once."""

    def __init__(self, sql: Connection) -> None:
        self.has_happened = False
        self._sql = sql
        self._how = ""

    async def happen(self, session: Connection | None) -> None:
        """Fail, or lose the session, which is then found out by whoever uses it."""
        self.has_happened = True
        if self._how == "refused":
            raise DatabaseError("as the test wants it")
        if self._how == "unforeseen":
            raise RuntimeError("as the test wants it")
        if session is None:
            raise DatabaseUnavailableError("as the test wants it")
        await self._sql.execute("select pg_terminate_backend($1, 10000)", session.get_server_pid())

    def prepare(self, how: str) -> None:
        """Let it happen once more."""
        self.has_happened, self._how = False, how


class Uses:
    """Who has used which statement, and how many at once."""

    def __init__(self) -> None:
        self.by: defaultdict[str, set[int]] = defaultdict(set)
        self.most: Counter[str] = Counter()
        self._now: Counter[tuple[str, int]] = Counter()

    def watching(self, name: str, statement: Statement) -> Statement:
        """Take note of each use."""

        async def use(table: object, *args: Any, **more: Any) -> object:
            self.by[name].add(id(table))
            self._now[name, id(table)] += 1
            self.most[name] = max(self.most[name], self._now[name, id(table)])
            try:
                return await statement(table, *args, **more)
            finally:
                self._now[name, id(table)] -= 1

        return use


@pytest.fixture(autouse=True)
def in_quick_succession(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what has failed be tried again soon, and no term end meanwhile."""
    for module in (sweeper, cleaner, pruner, reindexer):
        monkeypatch.setattr(module, "EVERY", 0.05)
    monkeypatch.setattr(partitioner, "PAUSE", 0.05)
    monkeypatch.setattr(scheduler, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(leader, "PAUSE", 0.05)
    monkeypatch.setattr(leader, "TERM", 600.0)


@pytest.mark.parametrize("step", STEPS)
async def test_river_1184_a_start_that_fails_at_a_step_is_whole_soon_after(
    database_url: str,
    schema: str,
    sql: Connection,
    other: Connection,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    """Two stand for election: one leads, every chore is done, by it alone and not twice at once."""
    failure = Failure(other)
    fail_at(monkeypatch, *STEPS[step], failure)
    for how in ("refused", "unforeseen", "lost"):
        uses = Uses()
        await leave_work(sql)
        with monkeypatch.context() as watched:
            for table, name in STEPS.values():
                watched.setattr(table, name, uses.watching(name, getattr(table, name)))
            failure.prepare(how)
            async with starting(database_url, schema, sql) as leaders:

                async def all_is_done() -> bool:
                    return not await undone(sql)

                await eventually(all_is_done)
                assert failure.has_happened
                assert [each.is_leading for each in leaders.values()].count(True) == 1
                assert leaders[await sql.fetchval("select client from leader")].is_leading
        assert {name: len(uses.by[name]) for name in BY_THE_LEADER} == dict.fromkeys(BY_THE_LEADER, 1)
        assert {name: uses.most[name] for name in BY_THE_LEADER} == dict.fromkeys(BY_THE_LEADER, 1)


@pytest.mark.parametrize("how", ["refused", "unforeseen", "lost"])
async def test_river_1187_a_client_whose_registration_fails_leads_soon_after(
    make_client: MakeClient, sql: Connection, other: Connection, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Without its row it can neither lead nor work; it has it at the next try, and beats."""
    failure = Failure(other)
    failure.prepare(how)
    fail_at(monkeypatch, JobTable, "register_client", failure)
    await leads_and_works(make_client, sql)
    assert failure.has_happened


async def test_river_1213_a_client_whose_heartbeat_does_not_start_has_one_soon_after(
    make_client: MakeClient, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread can be had for a moment: a client that goes on without one would be dead to all others."""
    start, failed = threading.Thread.start, threading.Event()

    def fail_once(thread: threading.Thread) -> None:
        if thread.name == "workerqueue heartbeat" and not failed.is_set():
            failed.set()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail_once)
    await leads_and_works(make_client, sql)
    assert failed.is_set()


def fail_at(monkeypatch: pytest.MonkeyPatch, table: type, name: str, failure: Failure) -> None:
    """Let a statement, or what else has a connection for its first argument, fail as is wanted, once."""
    original: Statement = getattr(table, name)

    async def fail_first(self: object, connection: object, *args: Any, **more: Any) -> object:
        if not failure.has_happened:
            await failure.happen(connection if hasattr(connection, "get_server_pid") else None)  # type: ignore[arg-type]  # it is one
        return await original(self, connection, *args, **more)

    monkeypatch.setattr(table, name, fail_first)


def no_schedules(database: Database, leader: Leader) -> Cron:
    """Give what fires schedules, for a client that has none."""

    def make(name: str, config: ScheduleConfig, at: datetime) -> NewJob:
        raise AssertionError(name, config, at)

    async def insert(connection: Connection, jobs: Sequence[NewJob]) -> None:
        raise AssertionError(connection, jobs)

    return Cron(database, leader, {}, lambda name, config: False, make, insert)  # noqa: ARG005 - no schedule is its


@asynccontextmanager
async def starting(url: str, schema: str, sql: Connection) -> AsyncGenerator[dict[int, Leader]]:
    """Let two clients start their chores, each with connections of its own."""
    leaders: dict[int, Leader] = {}
    databases: list[Database] = []
    chores: list[asyncio.Task[None]] = []
    for name in ("one", "other"):
        database = Database(url, schema)
        number = await database.jobs.register_client(sql, ClientRow(name, "h", 1, [], []))
        leaders[number] = Leader(database, lambda number=number: number)  # type: ignore[misc]  # bound here
        databases.append(database)
        chores.append(
            asyncio.create_task(
                run_chores(database, leaders[number], no_schedules(database, leaders[number]), RETENTION, 0.05, 600.0)
            )
        )
    try:
        yield leaders
        assert not [each for each in chores if each.done()]
    finally:
        for each in chores:
            each.cancel()
        await asyncio.wait(chores)
        for database in databases:
            await database.close()


async def leave_work(sql: Connection) -> None:
    """Leave something for each chore to do."""
    await sql.execute("delete from job; delete from job_finalized; delete from client")
    await sql.execute(
        f"create table {await table_of(sql, -LONG_AGO)} partition of job_finalized for values"
        f" from ('{await day_of(sql, -LONG_AGO)}') to ('{await day_of(sql, DAY - LONG_AGO)}')"
    )
    await sql.execute(f"drop table if exists {await table_of(sql, DAY)}")
    await sql.execute("insert into job (kind, state, scheduled_at) values ('due', 'scheduled', now() - interval '1 s')")
    await sql.execute(
        "insert into job (kind, state, lease, attempt, client) values ('stranded', 'running', 1, 1, 4711)"
    )
    await finalized(sql, 3, ago=2 * DAY)
    await finalized(sql, 3, ago=HOUR, pool="few")
    await sql.execute(
        "insert into client (id, host, pid, pools, kinds, ended_at, ended_as)"
        " values ('old', 'h', 1, '{}', '{}', now() - interval '8 days', 'stopped')"
    )
    await sql.execute("create index job_due_ccnew on job (id)")
    await sql.execute("update pg_index set indisvalid = false where indexrelid = 'job_due_ccnew'::regclass")


async def undone(sql: Connection) -> list[str]:
    """Name the chores that have left something."""
    left: list[str] = await sql.fetchval(
        """
        select array_remove(array [
            case when exists (select from job where state = 'scheduled') then 'promotion' end,
            case when exists (select from job where state = 'running') then 'sweeper' end,
            case when to_regclass($1) is not null then 'drop' end,
            case when to_regclass($2) is null then 'partitioner' end,
            case when (select count(*) from job_finalized where pool <> 'few') > 0 then 'cleaner by age' end,
            case when (select count(*) from job_finalized where pool = 'few') > 1 then 'cleaner by number' end,
            case when exists (select from client where id = 'old') then 'pruner' end,
            case when to_regclass('job_due_ccnew') is not null then 'reindexer' end
        ], null)
        """,
        await table_of(sql, -LONG_AGO),
        await table_of(sql, DAY),
    )
    return left


async def table_of(sql: Connection, away: timedelta) -> str:
    """Name the table of a day, so far from today."""
    return f"job_finalized_{(await day_of(sql, away))[:10].replace('-', '')}"


async def day_of(sql: Connection, away: timedelta) -> str:
    """Give the beginning of a day, so far from today."""
    day = await sql.fetchval("select (now() at time zone 'UTC')::date + $1::integer", away.days)
    return f"{day} 00:00+00"


async def leads_and_works(make_client: MakeClient, sql: Connection) -> None:
    """Start a client, and check that all of it is there: its row, its beats, its lead and its work."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None: ...

    client = make_client(workers, heartbeat_interval=0.1, lease_ttl=60.0)
    await client.start()
    inserted = await client.insert(Work(n=1))
    await client.jobs.wait(inserted.job.id, PATIENCE)

    async def is_there() -> bool:
        return bool(
            await sql.fetchval(
                "select count(*) from leader join client on number = leader.client"
                " where ended_at is null and heartbeat_at > started_at"
            )
        )

    await eventually(is_there)
