"""An insert with an `insert_id` may be repeated: whatever became of the first, there is one job."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.client.kinds import Note
from tests.client.proxy import proxy
from tests.conftest import MakeClient
from tests.database.observer import blocked
from tests.waiting import PATIENCE, eventually
from workerqueue import (
    Client,
    DatabaseError,
    DatabaseUnavailableError,
    Fixed,
    InsertOpts,
    InsertResult,
    Job,
    JobArgs,
    JobState,
    OptionError,
    Workers,
)
from workerqueue.bulk import CHUNK
from workerqueue.database import Connection

T = TypeVar("T")

COMMIT = b"commit\0"
"""What the client sends to commit a transaction of its own."""
CUTS = 200
"""Connections cut at COMMIT in each run of the tests."""


class Other(JobArgs):
    @classmethod
    def kind(cls) -> str:
        return "other"


async def count(sql: Connection) -> int:
    """Count the jobs."""
    jobs: int = await sql.fetchval("select count(*) from job_all")
    return jobs


# Every way to insert

Insert = Callable[[Client, Connection, UUID], Awaitable[InsertResult[Any]]]


async def in_a_transaction(connection: Connection, insert: Callable[[], Awaitable[T]]) -> T:
    """Insert, and commit."""
    async with connection.transaction():
        return await insert()


async def many(client: Client, connection: Connection, insert_id: UUID) -> InsertResult[Any]:
    """Insert by `insert_many`, beside a job without an id."""
    del connection
    return (await client.insert_many([Note(), (Note(n=7), InsertOpts(insert_id=insert_id))]))[1]


async def many_tx(client: Client, connection: Connection, insert_id: UUID) -> InsertResult[Any]:
    """Insert by `insert_many_tx`."""
    jobs = [(Note(n=7), InsertOpts(insert_id=insert_id))]
    return (await in_a_transaction(connection, lambda: client.insert_many_tx(connection, jobs)))[0]


DOORS: dict[str, Insert] = {
    "insert": lambda client, _, insert_id: client.insert(Note(n=7), InsertOpts(insert_id=insert_id)),
    "insert_kind": lambda client, _, insert_id: client.insert_kind("note", {"n": 7}, InsertOpts(insert_id=insert_id)),
    "insert_tx": lambda client, connection, insert_id: in_a_transaction(
        connection, lambda: client.insert_tx(connection, Note(n=7), InsertOpts(insert_id=insert_id))
    ),
    "insert_many": many,
    "insert_many_tx": many_tx,
}


@pytest.mark.parametrize("second", DOORS)
@pytest.mark.parametrize("first", DOORS)
async def test_a_second_insert_finds_the_job_of_the_first(
    make_client: MakeClient, sql: Connection, first: str, second: str
) -> None:
    """By whatever door both came, there is one job with the id, and the second result says so."""
    client, insert_id = make_client(strict=False), uuid4()
    made = await DOORS[first](client, sql, insert_id)
    again = await DOORS[second](make_client(strict=False), sql, insert_id)
    assert (made.duplicate, again.duplicate) == (False, True)
    assert (made.job.id, made.job.created_at) == (again.job.id, again.job.created_at)
    assert (again.job.kind, again.job.state) == ("note", JobState.AVAILABLE)
    assert await sql.fetchval("select count(*) from job where args ->> 'n' = '7'") == 1
    assert await sql.fetchval("select job from insert_key where insert_id = $1", insert_id) == made.job.id


async def test_the_job_that_is_there_is_given_as_it_is(make_client: MakeClient) -> None:
    """Its args are those it was inserted with, as an object of their class."""
    client, opts = make_client(), InsertOpts(insert_id=uuid4(), tags=["a"])
    await client.insert(Note(n=1), opts)
    again = await client.insert(Note(n=2), opts)
    assert again.job.args == Note(n=1)
    assert again.job.tags == ["a"]


async def test_without_an_id_no_key_is_written(make_client: MakeClient, sql: Connection) -> None:
    """Inserts that do not ask for it know nothing of the table."""
    client = make_client()
    await client.insert(Note())
    await client.insert_many([Note()] * 3)
    assert await sql.fetchval("select count(*) from insert_key") == 0


ROWS = """
    select kind, args, queue, pool, priority, max_attempts, timeout_seconds, state,
           scheduled_at - created_at > '1 minute' as later, retry, tags, metadata, on_discard
    from job order by id
"""


async def test_a_job_with_an_id_is_the_job_without_one(make_client: MakeClient, sql: Connection) -> None:
    """All that a job can be inserted with is the same with an id and without, and so is the order."""
    of_jobs: list[dict[str, Any]] = [
        {},
        {"priority": -3, "max_attempts": 7, "timeout": 1.5, "tags": ["a", "b"], "metadata": {"a": [1, None]}},
        {"scheduled_at": timedelta(hours=1), "retry": Fixed(3)},
        {"scheduled_at": datetime(2001, 1, 1, tzinfo=UTC)},
        {"pending": True, "dynamic_queue": "notes-1", "on_discard": Note(n=9)},
    ]
    client = make_client()
    await client.insert_many([(Note(n=n), InsertOpts(**each)) for n, each in enumerate(of_jobs)])
    plain = await sql.fetch(ROWS)
    await sql.execute("delete from job")
    keyed = [(Note(n=n), InsertOpts(**each, insert_id=uuid4())) for n, each in enumerate(of_jobs)]
    results = await client.insert_many(keyed)
    assert await sql.fetch(ROWS) == plain
    ids = [result.job.id for result in results]
    assert ids == sorted(ids)
    assert [result.job.state for result in results] == [JobState(row["state"]) for row in plain]


async def test_an_id_that_stands_twice_in_one_call_is_inserted_once(make_client: MakeClient, sql: Connection) -> None:
    """The first of them is the job; each result is at its input's place, across chunks too."""
    client, ids = make_client(), [UUID(int=n % (CHUNK + 5)) for n in range(2 * CHUNK)]
    results = await client.insert_many([(Note(n=n), InsertOpts(insert_id=each)) for n, each in enumerate(ids)])
    assert [result.duplicate for result in results] == [n >= CHUNK + 5 for n in range(2 * CHUNK)]
    given = [result.job.args for result in results]
    assert given == [Note(n=n % (CHUNK + 5)) for n in range(2 * CHUNK)]
    assert await count(sql) == CHUNK + 5


async def test_jobs_with_and_without_ids_go_together(make_client: MakeClient, sql: Connection) -> None:
    """Those without are inserted each time, wherever in the input they stand."""
    client = make_client()
    mixed = [(Note(), InsertOpts(insert_id=UUID(int=n)) if n % 2 else InsertOpts()) for n in range(CHUNK + 100)]
    for again in (False, True):
        results = await client.insert_many(mixed)
        assert [result.duplicate for result in results] == [again and n % 2 == 1 for n in range(CHUNK + 100)]
    assert await count(sql) == 3 * (CHUNK + 100) // 2
    late = [Note()] * CHUNK
    results = await client.insert_many([*late, (Note(), InsertOpts(insert_id=UUID(int=1)))])
    assert [result.duplicate for result in results] == [False] * CHUNK + [True]


# At once


@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
async def test_of_twenty_callers_at_once_one_inserts(
    make_client: MakeClient, sql: Connection, database_url: str, isolation: str
) -> None:
    """Twenty callers of two clients with one id: one job, nineteen duplicates of it, whatever the server's default."""
    setting = isolation.replace(" ", "%20")
    url = f"{database_url}{'&' if '?' in database_url else '?'}default_transaction_isolation={setting}"
    clients = [make_client(database=url), make_client(database=url)]
    for round_ in range(5):
        opts = InsertOpts(insert_id=uuid4())
        results = await asyncio.gather(*(clients[n % 2].insert(Note(n=round_), opts) for n in range(20)))
        assert sorted(result.duplicate for result in results) == [False] + [True] * 19
        assert len({result.job.id for result in results}) == 1
    assert await count(sql) == 5


@pytest.mark.parametrize("commits", [True, False], ids=["commits", "rolls back"])
async def test_an_insert_waits_for_the_one_under_way(
    make_client: MakeClient, sql: Connection, other: Connection, commits: bool
) -> None:
    """While the first is neither committed nor rolled back the second waits; then it finds the job, or makes it."""
    client, opts = make_client(), InsertOpts(insert_id=uuid4())
    transaction = other.transaction()
    await transaction.start()
    first = await client.insert_tx(other, Note(n=1), opts)
    waiting = asyncio.create_task(client.insert(Note(n=2), opts))
    await eventually(lambda: blocked(sql, client))
    await (transaction.commit() if commits else transaction.rollback())
    second = await waiting
    assert second.duplicate is commits
    assert (second.job.id == first.job.id) is commits
    assert await sql.fetchval("select array_agg(args ->> 'n') from job") == ["1" if commits else "2"]


async def test_an_insert_waits_no_longer_than_its_timeout(
    make_client: MakeClient, sql: Connection, other: Connection
) -> None:
    """When the first stays under way, the second raises, and has left nothing behind."""
    client, opts = make_client(insert_timeout=1), InsertOpts(insert_id=uuid4())
    async with other.transaction():
        await client.insert_tx(other, Note(), opts)
        with pytest.raises(DatabaseUnavailableError):
            await client.insert(Note(), opts)
    assert await count(sql) == 1
    assert (await make_client().insert(Note(), opts)).duplicate


async def test_one_that_waits_keeps_nobody_else_waiting(
    make_client: MakeClient, sql: Connection, other: Connection
) -> None:
    """Inserts without an id, and with another, go on beside it."""
    client, opts = make_client(), InsertOpts(insert_id=uuid4())
    async with other.transaction():
        await client.insert_tx(other, Note(), opts)
        waiting = asyncio.create_task(client.insert(Note(), opts))
        await eventually(lambda: blocked(sql, client))
        await asyncio.gather(*(client.insert(Note()) for _ in range(20)))
        assert not (await client.insert(Note(), InsertOpts(insert_id=uuid4()))).duplicate
        assert not waiting.done()
    assert (await waiting).duplicate


async def test_callers_with_the_same_ids_in_different_order_do_not_deadlock(
    make_client: MakeClient, sql: Connection
) -> None:
    """Whoever inserts many takes the keys in one order."""
    client, ids = make_client(), [uuid4() for _ in range(100)]
    drawn = random.Random(4)  # noqa: S311 - an order, not a secret
    orders = [drawn.sample(ids, len(ids)) for _ in range(8)]
    calls = (client.insert_many([(Note(), InsertOpts(insert_id=each)) for each in order]) for order in orders)
    results = await asyncio.gather(*calls)
    assert sum(not result.duplicate for call in results for result in call) == len(ids)
    assert await count(sql) == len(ids)


async def test_in_a_callers_own_snapshot_what_it_can_not_see_is_refused(
    make_client: MakeClient, sql: Connection, other: Connection
) -> None:
    """A REPEATABLE READ transaction finds what it sees; what was committed since ends it, as PostgreSQL does."""
    client, old, new = make_client(), InsertOpts(insert_id=uuid4()), InsertOpts(insert_id=uuid4())
    await client.insert(Note(), old)
    transaction = other.transaction(isolation="repeatable_read")
    await transaction.start()
    assert (await client.insert_tx(other, Note(), old)).duplicate
    await client.insert(Note(), new)
    with pytest.raises(DatabaseError, match="40001"):
        await client.insert_tx(other, Note(), new)
    await transaction.rollback()
    assert await count(sql) == 2


async def test_a_savepoint_that_is_rolled_back_frees_its_id(
    make_client: MakeClient, sql: Connection, other: Connection
) -> None:
    """Within one transaction, too, only what stays counts."""
    client, opts = make_client(), InsertOpts(insert_id=uuid4())
    async with other.transaction():
        inner = other.transaction()
        await inner.start()
        await client.insert_tx(other, Note(n=1), opts)
        await inner.rollback()
        assert not (await client.insert_tx(other, Note(n=2), opts)).duplicate
        assert (await client.insert_tx(other, Note(n=3), opts)).duplicate
    assert await sql.fetchval("select array_agg(args ->> 'n') from job") == ["2"]


# Later


async def test_a_job_that_is_finalized_meanwhile_is_found(make_client: MakeClient, sql: Connection) -> None:
    """The key stays when the job has ended; the result shows how."""
    workers = Workers()

    @workers.worker
    async def note(job: Job[Note]) -> int:
        return job.args.n

    client, opts = make_client(workers), InsertOpts(insert_id=uuid4())
    first = await client.insert(Note(n=5), opts)
    await client.start()
    await client.jobs.wait(first.job.id, PATIENCE)
    again = await client.insert(Note(n=6), opts)
    assert again.duplicate
    assert (again.job.id, again.job.state, again.job.output) == (first.job.id, JobState.COMPLETED, 5)


async def test_a_job_whose_history_has_ended_is_not_made_again(make_client: MakeClient, sql: Connection) -> None:
    """The result gives its id and when it was inserted, and what was asked for."""
    client, opts = make_client(), InsertOpts(insert_id=uuid4())
    first = await client.insert(Note(n=5), opts)
    await sql.execute("delete from job")
    again = await client.insert(Note(n=5), opts)
    assert again.duplicate
    assert (again.job.id, again.job.created_at, again.job.args) == (first.job.id, first.job.created_at, Note(n=5))
    assert await count(sql) == 0


async def test_a_key_is_kept_for_a_day(make_client: MakeClient, sql: Connection) -> None:
    """Whoever inserts with an id clears away older keys, a few at a time; younger ones stay."""
    client = make_client()
    await client.insert_many([(Note(), InsertOpts(insert_id=UUID(int=n))) for n in range(10)])
    await sql.execute("update insert_key set created_at = now() - '23 hours 59 minutes'::interval")
    assert (await client.insert(Note(), InsertOpts(insert_id=UUID(int=1)))).duplicate
    await sql.execute("update insert_key set created_at = now() - '1 day 1 minute'::interval")
    for left in (9, 8, 7):
        await client.insert(Note(), InsertOpts(insert_id=uuid4()))
        assert await sql.fetchval("select count(*) from insert_key") == left
    await client.insert_many([(Note(), InsertOpts(insert_id=uuid4())) for _ in range(10)])
    assert await sql.fetchval("select count(*) from insert_key where created_at < now() - '1 day'::interval") == 0


async def test_an_id_older_than_a_day_may_be_used_again(make_client: MakeClient, sql: Connection) -> None:
    """Also by the very statement that clears its key away."""
    client, opts = make_client(), InsertOpts(insert_id=uuid4())
    first = await client.insert(Note(), opts)
    await sql.execute("update insert_key set created_at = now() - '2 days'::interval")
    again = [await client.insert(Note(), opts) for _ in range(3)]
    assert [each.duplicate for each in again][-1]
    assert again[-1].job.id != first.job.id
    assert await count(sql) == 2


# Refused


async def test_an_id_of_another_kinds_job_is_refused(
    make_client: MakeClient, sql: Connection, other: Connection
) -> None:
    """A different job under a used id is a mistake: it is told, and nothing is stored."""
    client, opts = make_client(), InsertOpts(insert_id=uuid4())
    await client.insert(Note(), opts)
    with pytest.raises(OptionError, match=r"insert_id: .* has been used for job 1 of kind 'note'"):
        await client.insert(Other(), opts)
    with pytest.raises(OptionError, match="insert_id"):
        await client.insert_many([Note(), (Other(), opts), (Note(), InsertOpts(insert_id=uuid4()))])
    with pytest.raises(OptionError, match="insert_id"):
        async with other.transaction():
            await client.insert_tx(other, Other(), opts)
    assert await count(sql) == 1
    assert await sql.fetchval("select count(*) from insert_key") == 1


async def test_an_id_that_is_no_uuid_is_refused(make_client: MakeClient) -> None:
    """The cure is named."""
    wrong: Any = str(uuid4())
    with pytest.raises(OptionError, match=r"insert_id: expected a uuid\.UUID, got str; make one with uuid\.uuid4\(\)"):
        await make_client().insert(Note(), InsertOpts(insert_id=wrong))


async def test_an_id_of_a_class_is_refused(make_client: MakeClient) -> None:
    """It would let only the first of its jobs in."""

    class Once(Note):
        @classmethod
        def insert_opts(cls) -> InsertOpts:
            return InsertOpts(insert_id=UUID(int=1))

    with pytest.raises(OptionError, match="insert_id: 'note' has one for its class"):
        await make_client().insert(Once())


async def test_a_job_that_the_database_refuses_takes_no_id(make_client: MakeClient, sql: Connection) -> None:
    """Its key is rolled back with it."""
    await sql.execute("alter table job add constraint mine check (args ->> 'n' <> '13')")
    client, opts = make_client(), InsertOpts(insert_id=uuid4())
    with pytest.raises(DatabaseError):
        await client.insert(Note(n=13), opts)
    assert not (await client.insert(Note(n=1), opts)).duplicate
    assert await count(sql) == 1


# F12: the answer is lost


async def test_a_connection_cut_at_commit_makes_no_second_job(
    make_client: MakeClient, sql: Connection, database_url: str
) -> None:
    """However often COMMIT's answer is lost, the insert returns, and its job is there once."""
    async with proxy(database_url) as network:
        client = make_client(database=network.url)
        duplicates = 0
        for n in range(CUTS):
            network.cut_after(COMMIT, answered=n % 2 == 0)
            result = await client.insert(Note(n=n), InsertOpts(insert_id=UUID(int=n)))
            duplicates += result.duplicate
            assert result.duplicate or n % 2  # a COMMIT that was answered was done
        await client.close()
    assert network.cuts == CUTS
    assert duplicates >= CUTS // 2
    rows = await sql.fetch("select args ->> 'n' as n, count(*) from job group by n")
    assert {int(row["n"]): row["count"] for row in rows} == dict.fromkeys(range(CUTS), 1)


@pytest.mark.parametrize("answered", [True, False])
async def test_many_with_ids_are_sent_again(
    make_client: MakeClient, sql: Connection, database_url: str, answered: bool
) -> None:
    """`insert_many` repeats itself when every job has an id, in any number of chunks."""
    async with proxy(database_url) as network:
        client = make_client(database=network.url)
        for jobs in (1, 3, CHUNK + 1):
            network.cut_after(COMMIT, answered=answered)
            results = await client.insert_many([(Note(), InsertOpts(insert_id=uuid4())) for _ in range(jobs)])
            assert len({result.job.id for result in results}) == jobs
        await client.close()
    assert network.cuts == 3
    assert await count(sql) == 1 + 3 + CHUNK + 1


async def test_without_an_id_nothing_is_sent_twice(make_client: MakeClient, sql: Connection, database_url: str) -> None:
    """An insert whose answer is lost raises: whether it was done, nobody here knows. So does one of mixed jobs."""
    async with proxy(database_url) as network:
        client = make_client(database=network.url, insert_timeout=PATIENCE)
        inserts: list[tuple[bytes, Callable[[], Awaitable[object]]]] = [
            (b"insert into", lambda: client.insert(Note(n=1))),
            (COMMIT, lambda: client.insert_many([Note(n=2), (Note(n=3), InsertOpts(insert_id=uuid4()))])),
            (COMMIT, lambda: client.insert_many([Note(n=4)] * (CHUNK + 1))),
        ]
        await client.insert(Note(n=0))
        for sent, insert in inserts:
            for answered in (True, False):
                network.cut_after(sent if sent == COMMIT else b"note", answered=answered)
                with pytest.raises(DatabaseUnavailableError):
                    await insert()
        await client.close()
    assert network.cuts == 6
    rows = await sql.fetch("select args ->> 'n' as n, count(*) as jobs from job group by n")
    assert all(row["jobs"] <= (2 * (CHUNK + 1) if row["n"] == "4" else 2) for row in rows)


async def test_a_callers_transaction_cut_at_commit_may_be_repeated_whole(
    make_client: MakeClient, sql: Connection, database_url: str, schema: str
) -> None:
    """`insert_tx` never commits, so it is the caller who tries again, with the same id."""
    client = make_client()
    await sql.execute("create table mine (n integer)")
    async with proxy(database_url) as network:
        for n in range(20):
            network.cut_after(b"COMMIT;\0", answered=n % 2 == 0)
            while True:
                connection = await asyncpg.connect(network.url, server_settings={"search_path": schema})
                try:
                    async with connection.transaction():
                        result = await client.insert_tx(connection, Note(n=n), InsertOpts(insert_id=UUID(int=n)))
                        if not result.duplicate:
                            await connection.execute("insert into mine values ($1)", n)
                    break
                except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError):
                    continue
                finally:
                    connection.terminate()
    assert network.cuts == 20
    assert await sql.fetchval("select array_agg(n order by n) from mine") == [*range(20)]
    assert await count(sql) == 20


async def test_an_insert_with_an_id_waits_for_a_database_that_comes_back(
    make_client: MakeClient, sql: Connection, database_url: str, other: Connection
) -> None:
    """When the server goes away while it is under way, it is done once the server is back."""
    async with proxy(database_url) as network:
        client, opts = make_client(database=network.url), InsertOpts(insert_id=uuid4())
        transaction = other.transaction()
        await transaction.start()
        await other.execute("lock table job in access exclusive mode")
        insert = asyncio.create_task(client.insert(Note(), opts))
        await eventually(lambda: blocked(sql, client))
        await network.go_away()
        await transaction.rollback()
        assert not insert.done()
        await network.come_back()
        await insert
        await client.close()
    assert await count(sql) == 1


async def test_a_callers_pool_is_cut_and_used_again(
    make_client: MakeClient, sql: Connection, database_url: str
) -> None:
    """The application's own pool serves as well; it has as many connections afterwards as before."""
    async with proxy(database_url) as network, asyncpg.create_pool(network.url, min_size=0, max_size=6) as pool:
        client = make_client(database=pool)
        for n in range(10):
            network.cut_after(COMMIT, answered=n % 2 == 0)
            await client.insert(Note(n=n), InsertOpts(insert_id=UUID(int=n)))
        assert pool.get_size() - pool.get_idle_size() == 0
    assert await count(sql) == 10


async def test_an_idle_client_hears_of_it(make_client: MakeClient, sql: Connection) -> None:
    """A job with an id wakes who waits, as any other does."""
    done = asyncio.Event()
    workers = Workers()

    @workers.worker
    async def note(job: Job[Note]) -> None:
        del job
        done.set()

    client = make_client(workers, poll_interval=600)
    await client.start()
    await eventually(lambda: sql.fetchval("select count(*) from idle"))
    await client.insert(Note(), InsertOpts(insert_id=uuid4()))
    async with asyncio.timeout(15):
        await done.wait()
    assert await count(sql) == 1
