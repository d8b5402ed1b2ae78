"""Bulk inserts: chunks of one stream, all or none, taken as they are needed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest

from tests.client.kinds import Note
from tests.conftest import MakeClient
from tests.waiting import eventually
from workerqueue import ArgsError, InsertOpts
from workerqueue.bulk import CHUNK
from workerqueue.database import Connection

SEVERAL = 3 * CHUNK + 1
"""Jobs of several statements."""


async def count(sql: Connection) -> int:
    """Count the jobs that others can see."""
    jobs: int = await sql.fetchval("select count(*) from job")
    return jobs


def notes(number: int, taken: list[int] | None = None) -> Iterator[Note]:
    """Make jobs one by one, and note how many were asked for."""
    for n in range(number):
        if taken is not None:
            taken.append(n)
        yield Note(n=n)


@pytest.mark.parametrize("number", [1, CHUNK - 1, CHUNK, CHUNK + 1, SEVERAL])
async def test_results_are_in_the_order_of_the_input(make_client: MakeClient, sql: Connection, number: int) -> None:
    """Whatever the number of statements: ids rise with the input, one transaction, one result each."""
    results = await make_client().insert_many(notes(number))
    rows = await sql.fetch("select id, (args ->> 'n')::integer as n from job order by id")
    assert [(result.job.id, result.job.args.model_dump()["n"]) for result in results] == [tuple(row) for row in rows]
    assert [row["n"] for row in rows] == list(range(number))
    assert await sql.fetchval("select count(distinct xmin::text) from job") == 1


async def test_jobs_are_taken_while_others_are_written(
    make_client: MakeClient, sql: Connection, schema: str, database_url: str
) -> None:
    """While one statement is under way the next one's jobs are made, and no more: memory does not grow with them."""
    client, taken = make_client(), list[int]()
    locker = await asyncpg.connect(database_url, server_settings={"search_path": schema})

    async def one_ahead() -> bool:
        return len(taken) == 2 * CHUNK

    async with locker.transaction():
        await locker.execute("lock table job in access exclusive mode")
        inserting = asyncio.create_task(client.insert_many(notes(SEVERAL, taken)))
        await eventually(one_ahead)
        await sql.fetchval("select 1")  # a turn for whoever would take more
        assert len(taken) == 2 * CHUNK
    assert len(await inserting) == SEVERAL
    await locker.close()


async def test_a_refused_job_in_a_later_chunk_leaves_nothing(make_client: MakeClient, sql: Connection) -> None:
    """What is refused when its turn comes takes along what was written before; the client works on."""
    client = make_client()

    def jobs() -> Iterator[Note]:
        yield from notes(2 * CHUNK)
        yield Note(text="\0")

    with pytest.raises(ArgsError):
        await client.insert_many(jobs())
    assert await count(sql) == 0
    await client.insert_many(notes(3))
    assert await count(sql) == 3


async def test_a_source_that_breaks_leaves_nothing(make_client: MakeClient, sql: Connection) -> None:
    """An error of the iterable itself comes through as it is, and nothing is stored."""
    client = make_client()

    def jobs() -> Iterator[Note]:
        yield from notes(2 * CHUNK)
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        await client.insert_many(jobs())
    assert await count(sql) == 0


async def test_what_is_refused_leaves_nothing_in_a_transaction_that_goes_on(
    make_client: MakeClient, sql: Connection, database_url: str
) -> None:
    """A caller who catches the refusal and commits has none of the jobs, only the own rows."""
    client = make_client()
    tx = await asyncpg.connect(database_url)
    async with tx.transaction():
        with pytest.raises(ArgsError):
            await client.insert_many_tx(tx, [*notes(2 * CHUNK), Note(text="\0")])
        await client.insert_tx(tx, Note(n=77))
    await tx.close()
    assert await sql.fetchval("select array_agg(args ->> 'n') from job") == ["77"]


async def test_a_caller_who_leaves_has_stored_nothing(
    make_client: MakeClient, sql: Connection, schema: str, database_url: str
) -> None:
    """Cancelled between two statements, nothing of it is stored and the connection serves the next."""
    client, taken = make_client(), list[int]()
    locker = await asyncpg.connect(database_url, server_settings={"search_path": schema})

    async def under_way() -> bool:
        return len(taken) == 2 * CHUNK

    async with locker.transaction():
        await locker.execute("lock table job in access exclusive mode")
        inserting = asyncio.create_task(client.insert_many(notes(SEVERAL, taken)))
        await eventually(under_way)
        inserting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await inserting
    await locker.close()
    assert await count(sql) == 0
    await client.insert_many(notes(3))
    assert await count(sql) == 3


async def test_jobs_of_one_call_may_differ_in_everything(make_client: MakeClient, sql: Connection) -> None:
    """Terms that some of them share and others do not come to the right rows."""
    client = make_client(strict=False)
    options = [
        None,
        InsertOpts(priority=5, tags=["a", 'b"\\']),
        InsertOpts(queue="other", metadata={"m": None}),
        InsertOpts(dynamic_queue="d-1", scheduled_at=3600),
        InsertOpts(priority=5, tags=["a", 'b"\\']),
        InsertOpts(pending=True, timeout=0.5),
    ]
    jobs = [(Note(n=n), options[n % len(options)] or InsertOpts()) for n in range(60)]
    results = await client.insert_many(jobs)
    for result in results:
        assert await client.jobs.get(result.job.id) is not None
    read = [await client.jobs.get(result.job.id) for result in results]
    mine = [(each and (each.priority, each.tags, each.pool, each.metadata, each.queue, each.state)) for each in read]
    asked = [
        (job.priority, job.tags, job.pool, job.metadata, job.queue, job.state)
        for job in (result.job for result in results)
    ]
    assert mine == asked
    assert len(set(map(str, asked))) == 5
