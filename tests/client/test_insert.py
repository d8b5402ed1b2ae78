"""Inserting: what becomes visible when, in which order, and that results are what is stored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import anyio
import asyncpg
import pytest
from asyncpg.pool import PoolConnectionProxy

from tests.client.kinds import Note
from tests.conftest import MakeClient
from tests.database.observer import sessions
from tests.waiting import PATIENCE
from workerqueue import (
    Client,
    DatabaseError,
    Fixed,
    InsertOpts,
    Job,
    JobArgs,
    JobState,
    NotInTransactionError,
    WorkerQueueError,
    Workers,
)
from workerqueue.database import Connection, Pool


@pytest.fixture
def knowing() -> Workers:
    """Workers that know the kind without working it."""
    workers = Workers()
    workers.declare(Note)
    return workers


@pytest.fixture
async def tx(database_url: str) -> AsyncGenerator[Connection]:
    """An application's own connection."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def count(sql: Connection) -> int:
    """Count the jobs that others can see."""
    jobs: int = await sql.fetchval("select count(*) from job")
    return jobs


InsertTx = Callable[[Client, Connection], Awaitable[object]]

IN_TRANSACTION: dict[str, InsertTx] = {
    "insert_tx": lambda client, tx: client.insert_tx(tx, Note()),
    "insert_many_tx": lambda client, tx: client.insert_many_tx(tx, [Note()]),
}
in_transaction = pytest.mark.parametrize("insert", IN_TRANSACTION.values(), ids=IN_TRANSACTION.keys())


@pytest.mark.req("C24", "A25")
@in_transaction
async def test_a_job_is_there_when_its_transaction_commits(
    make_client: MakeClient, sql: Connection, tx: Connection, insert: InsertTx
) -> None:
    """Nobody sees it before, everybody after."""
    client = make_client()
    async with tx.transaction():
        await insert(client, tx)
        assert await count(sql) == 0
    assert await count(sql) == 1


@in_transaction
async def test_a_job_is_gone_with_its_transaction(
    make_client: MakeClient, sql: Connection, tx: Connection, insert: InsertTx
) -> None:
    """A rollback takes the job along, and a rollback to a savepoint the jobs inserted since."""
    client = make_client()
    outer = tx.transaction()
    await outer.start()
    await insert(client, tx)
    await outer.rollback()
    assert await count(sql) == 0

    async with tx.transaction():
        await insert(client, tx)
        savepoint = tx.transaction()
        await savepoint.start()
        await insert(client, tx)
        await insert(client, tx)
        await savepoint.rollback()
        await insert(client, tx)
    assert await count(sql) == 2


@in_transaction
@pytest.mark.parametrize("isolation", ["read_committed", "repeatable_read", "serializable"])
async def test_a_job_goes_into_a_transaction_of_any_isolation(
    make_client: MakeClient, sql: Connection, tx: Connection, insert: InsertTx, isolation: Any
) -> None:
    """The caller's isolation is the caller's business."""
    async with tx.transaction(isolation=isolation):
        await insert(make_client(), tx)
    assert await count(sql) == 1


@in_transaction
async def test_a_connection_without_a_transaction_is_refused(
    make_client: MakeClient, sql: Connection, tx: Connection, pool: Pool, insert: InsertTx
) -> None:
    """A bare connection, a pool's connection, a released one and a closed one; the cure is in the text."""
    client = make_client()
    with pytest.raises(NotInTransactionError, match=r"use `async with connection.transaction\(\):`"):
        await insert(client, tx)
    async with pool.acquire() as pooled:
        assert isinstance(pooled, PoolConnectionProxy)
        with pytest.raises(NotInTransactionError):
            await insert(client, pooled)
    with pytest.raises(NotInTransactionError):
        await insert(client, pooled)  # released
    await tx.close()
    with pytest.raises(NotInTransactionError):
        await insert(client, tx)
    assert await count(sql) == 0


@in_transaction
@pytest.mark.parametrize("other", [None, "postgresql://x", object(), 1], ids=repr)
async def test_what_is_no_connection_is_refused(make_client: MakeClient, insert: InsertTx, other: Any) -> None:
    """The error says what came."""
    with pytest.raises(NotInTransactionError, match=r"expected an asyncpg connection .* got "):
        await insert(make_client(), other)


async def test_a_pool_is_no_connection(make_client: MakeClient, pool: Pool) -> None:
    """A pool has no transaction."""
    with pytest.raises(NotInTransactionError, match=r"got asyncpg\.pool\.Pool"):
        await make_client().insert_tx(pool, Note())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_a_transaction_that_has_failed_takes_no_job(
    make_client: MakeClient, sql: Connection, tx: Connection
) -> None:
    """After an error the caller's transaction refuses everything, in our words."""
    transaction = tx.transaction()
    await transaction.start()
    with pytest.raises(asyncpg.DivisionByZeroError):
        await tx.execute("select 1 / 0")
    with pytest.raises(DatabaseError, match="InFailedSQLTransactionError"):
        await make_client().insert_tx(tx, Note())
    await transaction.rollback()
    assert await count(sql) == 0


OPTIONS = [
    InsertOpts(),
    InsertOpts(
        priority=-7,
        max_attempts=9,
        timeout=12.5,
        tags=["a", 'b"\\', "c,d", "{}", "é", "null"],
        metadata={"k": [None, 1.5]},
    ),
    InsertOpts(scheduled_at=timedelta(hours=1)),
    InsertOpts(scheduled_at=datetime(2099, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=-7)))),
    InsertOpts(scheduled_at=datetime(2001, 1, 1, tzinfo=UTC)),
    InsertOpts(pending=True, retry=Fixed(5)),
    InsertOpts(dynamic_queue="runs-42", on_discard=Note(n=9)),
    InsertOpts(priority=0, tags=[], metadata={}),
    InsertOpts(timeout=timedelta(days=400), priority=32767, max_attempts=32767),
]


@pytest.mark.req("D6", "A50o")
async def test_results_are_what_is_stored(make_client: MakeClient, knowing: Workers) -> None:
    """Whatever the options, the job of a result equals the job read back, in the order of the input."""
    client = make_client(workers=knowing)
    given: Sequence[tuple[JobArgs, InsertOpts]] = [
        (Note(n=n, text="☃ \\u0041 '\"", data={"a": [n, None, -0.5]}), opts) for n, opts in enumerate(OPTIONS)
    ]
    results = await client.insert_many(given)
    assert [result.job.args for result in results] == [args for args, _ in given]
    assert [result.duplicate for result in results] == [False] * len(given)
    for result in results:
        assert await client.jobs.get(result.job.id) == result.job
    one = await client.insert(*given[1])
    assert await client.jobs.get(one.job.id) == one.job
    named = await client.insert_kind("note", {"n": 3}, OPTIONS[1])
    assert named.job.args == Note(n=3)
    assert await client.jobs.get(named.job.id) == named.job


@pytest.mark.req("B33")
@pytest.mark.parametrize("in_tx", [False, True])
async def test_many_results_are_in_the_order_of_the_input(
    make_client: MakeClient, sql: Connection, tx: Connection, in_tx: bool
) -> None:
    """12,000 jobs with mixed priorities and times, in several statements: each result is its input's."""
    client = make_client()
    jobs = [
        (Note(n=n), InsertOpts(priority=-n % 100, scheduled_at=(n * 7) % 13 * 60.0, pending=n % 5 == 0))
        for n in range(12_000)
    ]
    if in_tx:
        async with tx.transaction():
            results = await client.insert_many_tx(tx, jobs)
            assert await count(sql) == 0
    else:
        results = await client.insert_many(iter(jobs))
    stored = await sql.fetch("select id, (args ->> 'n')::int as n, priority, state, scheduled_at, created_at from job")
    by_id = {row["id"]: row for row in stored}
    assert len(by_id) == 12_000
    for n, ((_, opts), result) in enumerate(zip(jobs, results, strict=True)):
        row = by_id[result.job.id]
        assert (row["n"], row["priority"], row["state"]) == (n, opts.priority, result.job.state)
        assert (row["scheduled_at"], row["created_at"]) == (result.job.scheduled_at, result.job.created_at)


@pytest.mark.parametrize("in_tx", [False, True])
async def test_many_are_stored_all_or_none(
    make_client: MakeClient, sql: Connection, tx: Connection, in_tx: bool
) -> None:
    """A job that the database refuses in the last of several statements takes all the others along."""
    await sql.execute("alter table job add constraint mine check (priority <> 13)")
    client = make_client()
    jobs = [(Note(n=n), InsertOpts(priority=13 if n == 11_999 else 1)) for n in range(12_000)]

    async def insert() -> None:
        if in_tx:
            async with tx.transaction():
                await client.insert_many_tx(tx, jobs)
        else:
            await client.insert_many(jobs)

    with pytest.raises(DatabaseError):
        await insert()
    assert await count(sql) == 0


async def test_none_is_a_number_of_jobs(make_client: MakeClient, tx: Connection) -> None:
    """Inserting nothing stores nothing and gives nothing."""
    client = make_client()
    assert await client.insert_many([]) == []
    async with tx.transaction():
        assert await client.insert_many_tx(tx, []) == []


@pytest.mark.parametrize("through", ["insert", "insert_tx"])
async def test_a_callers_own_json_codec_changes_nothing(
    make_client: MakeClient, database_url: str, schema: str, knowing: Workers, through: str
) -> None:
    """With codecs for json, jsonb and text arrays on the caller's connections, jobs round-trip and are worked."""

    async def with_codecs(connection: asyncpg.Connection[asyncpg.Record]) -> None:
        for name in ("json", "jsonb"):
            await connection.set_type_codec(name, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")

    worked: list[JobArgs] = []
    workers = Workers()

    @workers.worker
    async def note(job: Job[Note]) -> JobArgs:
        worked.append(job.args)
        return job.args

    async with asyncpg.create_pool(database_url, min_size=0, max_size=8, init=with_codecs) as pool:
        client = make_client(workers, database=pool)
        args = Note(n=1, text='"', data={"a": [1, "☃"]})
        opts = InsertOpts(metadata={"m": {"x": 1}}, tags=["t"], retry=Fixed(3), on_discard=Note())
        if through == "insert":
            result = await client.insert(args, opts)
        else:
            async with pool.acquire() as connection, connection.transaction():
                result = await client.insert_tx(connection, args, opts)
        assert await client.jobs.get(result.job.id) == result.job
        await client.start()
        job = await client.jobs.wait(result.job.id, PATIENCE)
        assert (worked, job.output_as(Note), job.metadata) == ([args], args, {"m": {"x": 1}})
        await client.close()


@pytest.mark.req("A21", "D7", "D25", "B4")
async def test_a_job_is_due_by_the_databases_clock(make_client: MakeClient, sql: Connection) -> None:
    """A delay counts from the database's now; what is due, past or zero or negative, is available at once."""
    client = make_client()
    before = await sql.fetchval("select statement_timestamp()")
    cases: list[tuple[datetime | timedelta | float, JobState]] = [
        (timedelta(seconds=90), JobState.SCHEDULED),
        (90, JobState.SCHEDULED),
        (0, JobState.AVAILABLE),
        (timedelta(), JobState.AVAILABLE),
        (-90, JobState.AVAILABLE),
        (timedelta.min, JobState.AVAILABLE),
        (before, JobState.AVAILABLE),
        (before - timedelta(days=900), JobState.AVAILABLE),
        (before + timedelta(seconds=90), JobState.SCHEDULED),
        ((before + timedelta(seconds=90)).astimezone(timezone(timedelta(hours=14))), JobState.SCHEDULED),
    ]
    for when, state in cases:
        job = (await client.insert(Note(), InsertOpts(scheduled_at=when))).job
        assert job.state is state, when
        if state is JobState.SCHEDULED:
            assert timedelta(seconds=80) < job.scheduled_at - job.created_at <= timedelta(seconds=90)
        else:
            assert job.scheduled_at <= job.created_at
    assert await sql.fetchval("select count(*) from job where state = 'available' and scheduled_at > now()") == 0


@pytest.mark.req("B58", "C21")
async def test_a_client_without_config_or_workers_inserts_by_the_defaults(
    make_client: MakeClient, sql: Connection
) -> None:
    """Queue `default`, priority 1, 3 attempts, 60 s; no engine, no connection of its own left behind."""
    client = make_client()
    job = (await client.insert(Note())).job
    assert (job.queue, job.pool, job.priority, job.max_attempts) == ("default", "default", 1, 3)
    assert (job.timeout, job.attempt, job.state) == (timedelta(minutes=1), 0, JobState.AVAILABLE)
    row = await sql.fetchrow(
        "select queue, pool, priority, max_attempts, timeout_seconds, retry, tags, metadata from job"
    )
    assert row is not None
    assert tuple(row) == (None, "default", 1, 3, 60, None, None, None)
    await client.close()
    assert await sessions(sql, f"workerqueue {client.id}"[:63]) == 0


async def test_everything_raised_is_of_one_tree(make_client: MakeClient) -> None:
    """A caller that catches `WorkerQueueError` catches every refusal."""
    client = make_client()
    with pytest.raises(WorkerQueueError):
        await client.insert(Note(), InsertOpts(queue="nowhere"))
    with pytest.raises(WorkerQueueError):
        await client.insert_tx(None, Note())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_no_insert_waits_for_a_writer_that_has_left(make_client: MakeClient) -> None:
    """Callers that come and go in every rhythm are all answered, thousands of times."""
    client = make_client()

    async def caller(number: int) -> int:
        for _ in range(40):
            await client.insert(Note())
            for _ in range(number % 7):
                await asyncio.sleep(0)
        return 40

    with anyio.fail_after(40):
        assert sum(await asyncio.gather(*(caller(number) for number in range(60)))) == 2400
