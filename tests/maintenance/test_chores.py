"""The other chores: stranded runs, old clients, bloated indexes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import asyncpg
import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import Work
from tests.maintenance.history import DAY, HOUR, finalized, left
from tests.waiting import eventually
from workerqueue import Config, Job, JobState, QueueConfig, Workers
from workerqueue.database import ClientRow, Connection, Database, Index
from workerqueue.maintenance import cleaner, pruner, reindexer, sweeper
from workerqueue.maintenance.pruner import prune_clients
from workerqueue.maintenance.reindexer import is_bloated, rebuild_bloated_indexes
from workerqueue.maintenance.sweeper import free_stranded_jobs

ALL_INDEXES = {"job_pkey", "job_ready", "job_lane", "job_counted", "job_asked", "job_turn", "job_due"}


@pytest.fixture
async def other(database_url: str, schema: str) -> AsyncGenerator[Connection]:
    """A second connection to the test's schema."""
    connection = await asyncpg.connect(database_url, server_settings={"search_path": schema})
    yield connection
    await connection.close()


async def running(sql: Connection, client: int | None, *, attempt: int = 1) -> int:
    """Add a job that runs, as far as its row says."""
    job: int = await sql.fetchval(
        "insert into job (kind, state, lease, attempt, client) values ('k', 'running', 1, $2, $1) returning id",
        client,
        attempt,
    )
    return job


async def a_client(sql: Connection, door: Database, *, ended: str | None = None) -> int:
    """Register a client, which may have ended some time ago."""
    number = await door.jobs.register_client(sql, ClientRow("c", "h", 1, [], []))
    if ended is not None:
        await sql.execute(
            "update client set ended_at = now() - $2::text::interval, ended_as = 'stopped' where number = $1",
            number,
            ended,
        )
    return number


# The sweeper


async def test_a_run_whose_client_is_missing_or_ended_is_freed(door: Database, sql: Connection) -> None:
    """No heartbeat sees those; the runs of who is alive go on."""
    ended = await a_client(sql, door, ended="1 minute")
    alive = await running(sql, 1)
    stranded = [await running(sql, number) for number in (ended, 4711, None)]
    await free_stranded_jobs(door, 10.0)
    assert {row["id"]: row["state"] for row in await sql.fetch("select id, state::text from job")} == {
        alive: "running",
        **dict.fromkeys(stranded, "available"),
    }


async def test_the_leader_sweeps_and_cleans_by_itself(
    make_client: MakeClient, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A started client does all of it, and goes on doing so."""
    monkeypatch.setattr(sweeper, "EVERY", 0.05)
    monkeypatch.setattr(cleaner, "EVERY", 0.05)
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None: ...

    config = Config(queues={"default": QueueConfig(keep_completed=0, keep_discarded=DAY)})
    client = make_client(workers, config=config)
    await client.start()
    for _ in range(2):
        stranded, last = await running(sql, 4711), await running(sql, 4711, attempt=3)
        await finalized(sql, 3, ago=HOUR)

        async def done() -> bool:
            here = await sql.fetchval("select state::text from job where id = $1", stranded)  # noqa: B023
            return here == "available" and await left(sql) == [last]  # noqa: B023

        await eventually(done)
        await sql.execute("delete from job_finalized")


# The pruner


async def test_clients_that_ended_long_ago_are_forgotten_where_no_job_names_them(
    door: Database, sql: Connection
) -> None:
    """Neither those a job was ever run by, live or in the history, nor the leader, nor who may be alive."""
    old = [await a_client(sql, door, ended="30 days") for _ in range(7)]
    recent, alive = await a_client(sql, door, ended="1 day"), await a_client(sql, door)
    await sql.execute("update client set heartbeat_at = now() - interval '30 days', started_at = heartbeat_at")
    await sql.execute("insert into job (kind, client) values ('k', $1)", old[0])
    await sql.execute("insert into job (kind, attempted_by) values ('k', array[$1::integer])", old[1])
    for n, column in ((2, "client = $2"), (3, "attempted_by = array[$2::integer]")):
        (job,) = await finalized(sql, ago=HOUR)
        await sql.execute(f"update job_finalized set {column} where id = $1", job, old[n])  # noqa: S608 - ours
    await sql.execute("insert into leader (client, term, until) values ($1, 1, now())", old[4])
    await prune_clients(door)
    there = {row["number"] for row in await sql.fetch("select number from client")}
    assert there == {1, *old[:5], recent, alive}


async def test_many_are_forgotten_in_batches(door: Database, sql: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn, a batch."""
    monkeypatch.setattr(pruner, "BATCH", 2)
    for _ in range(3):
        await a_client(sql, door, ended="30 days")
    await prune_clients(door)
    assert await sql.fetchval("select count(*) from client") == 2
    await prune_clients(door)
    assert await sql.fetchval("select count(*) from client") == 1


# The reindexer


def test_an_index_is_bloated_when_it_is_large_for_what_it_holds() -> None:
    """Never when it is small, full as it should be, or was not looked at yet."""
    assert not is_bloated(Index("job_ready", 2_000, 0, is_valid=True))
    assert not is_bloated(Index("job_ready", 0, 0, is_valid=True))
    assert not is_bloated(Index("job_ready", 10_000, 1_000_000, is_valid=True))
    assert is_bloated(Index("job_ready", 10_000, 1_000, is_valid=True))


async def sizes(sql: Connection) -> dict[str, int]:
    """Give the pages of the live table's indexes."""
    rows = await sql.fetch(
        "select indexrelid::regclass::text as name, pg_relation_size(indexrelid) / 8192 as pages"
        " from pg_index where indrelid = 'job'::regclass"
    )
    return {row["name"]: row["pages"] for row in rows}


async def bloat(sql: Connection) -> None:
    """Fill the live table and drain it: its indexes keep their size."""
    await sql.execute(
        "insert into job (kind, pool) select 'k', 'p' || n % 7 from generate_series(1, 20000) as n; delete from job"
    )

    async def cleaned() -> bool:
        # A snapshot that anybody holds in this database, an autovacuum's too, keeps the dead entries for now.
        await sql.execute("vacuum (index_cleanup on, truncate off) job")
        entries: float = await sql.fetchval("select reltuples from pg_class where oid = 'job_ready'::regclass")
        return entries == 0

    await eventually(cleaned)


async def test_a_bloated_index_is_rebuilt_while_jobs_come(
    door: Database, sql: Connection, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is as small as what it holds, and no job had to wait."""
    monkeypatch.setattr(reindexer, "SMALL", 20)
    await bloat(sql)
    before = await sizes(sql)
    rebuilding = asyncio.create_task(rebuild_bloated_indexes(door))
    inserted = 0
    while not rebuilding.done():
        await other.execute("insert into job (kind) values ('k')")
        inserted += 1
    await rebuilding
    after = await sizes(sql)
    assert before["job_ready"] > 20 > after["job_ready"]
    assert set(after) == ALL_INDEXES
    assert await sql.fetchval("select count(*) from job") == inserted


async def test_a_small_index_is_left_alone(door: Database, sql: Connection) -> None:
    """However empty."""
    await bloat(sql)
    before = await sizes(sql)
    await rebuild_bloated_indexes(door)
    assert await sizes(sql) == before


async def test_what_a_cut_off_rebuilding_left_is_dropped_river_1297(
    door: Database, sql: Connection, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off again and again behind a transaction that is open, it leaves nothing in the end."""
    monkeypatch.setattr(reindexer, "SMALL", 20)
    monkeypatch.setattr(reindexer, "TIMEOUT", 0.3)
    monkeypatch.setattr(reindexer, "DROP_TIMEOUT", 0.3)
    await bloat(sql)
    for _ in range(3):
        holding = other.transaction()
        await holding.start()
        await other.execute("insert into job (kind) values ('k')")
        await rebuild_bloated_indexes(door)

        async def cancelled() -> bool:
            return not await sql.fetchval(
                "select count(*) from pg_stat_activity where state = 'active' and query like '%reindex index%'"
                " and pid <> pg_backend_pid()"
            )

        await eventually(cancelled)
        await holding.rollback()
    artefacts = set(await sizes(sql)) - ALL_INDEXES
    assert artefacts
    monkeypatch.setattr(reindexer, "TIMEOUT", 30.0)
    monkeypatch.setattr(reindexer, "DROP_TIMEOUT", 30.0)
    await rebuild_bloated_indexes(door)
    assert set(await sizes(sql)) == ALL_INDEXES
    assert (await sizes(sql))["job_ready"] < 20


async def test_two_reindexers_at_once_leave_good_indexes(
    database_url: str, schema: str, door: Database, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One does it, the other waits for it or fails and comes back."""
    monkeypatch.setattr(reindexer, "SMALL", 20)
    await bloat(sql)
    await asyncio.gather(*(rebuild_bloated_indexes(door) for _ in range(2)), return_exceptions=True)
    await rebuild_bloated_indexes(door)
    assert set(await sizes(sql)) == ALL_INDEXES
    assert (await sizes(sql))["job_ready"] < 20
    assert await sql.fetchval("select bool_and(indisvalid) from pg_index where indrelid = 'job'::regclass")


def test_finalized_states_are_what_retention_is_about() -> None:
    """A state that is added to them needs a retention, too."""
    assert {state for state in JobState if state.is_final} == {"completed", "cancelled", "discarded"}
