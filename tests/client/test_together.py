"""Inserts that arrive together are written together, and each caller's answer is its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.client.kinds import Note
from tests.conftest import MakeClient
from tests.database.observer import blocked
from tests.waiting import eventually, succeeds
from workerqueue import Client, DatabaseError, DatabaseUnavailableError, InsertResult
from workerqueue.database import Connection
from workerqueue.inserter import WORTH_A_WRITER, WRITERS

Result = InsertResult[Note]


@asynccontextmanager
async def meeting(
    client: Client, sql: Connection, other: Connection, inserts: list[Coroutine[Any, Any, Result]], statements: int = 1
) -> AsyncGenerator[list[asyncio.Task[Result]]]:
    """Have a lone caller's statement wait at a locked table, and so many other callers behind it."""
    async with other.transaction():
        await other.execute("lock table job in access exclusive mode")
        first = asyncio.create_task(client.insert(Note(n=-1)))
        await eventually(lambda: blocked(sql, client))
        others = [asyncio.create_task(insert) for insert in inserts]

        async def all_there() -> bool:
            return await blocked(sql, client) == statements

        await eventually(all_there)
        yield [first, *others]


def inserts_of(client: Client, count: int) -> list[Coroutine[Any, Any, Result]]:
    """Make callers, each with a number of its own."""
    return [client.insert(Note(n=n)) for n in range(count)]


async def stored(sql: Connection) -> dict[int, int]:
    """Read what is stored: the caller's number by the job's id."""
    rows = await sql.fetch("select id, (args ->> 'n')::integer as n from job")
    return {row["id"]: row["n"] for row in rows}


async def test_those_who_wait_are_written_by_one_statement(
    make_client: MakeClient, sql: Connection, other: Connection
) -> None:
    """Fifty callers behind one: two transactions in all, and everybody gets the id of the own job."""
    client = make_client()
    async with meeting(client, sql, other, inserts_of(client, 50)) as callers:
        pass
    results = await asyncio.gather(*callers)
    assert await stored(sql) == {result.job.id: result.job.args.n for result in results}
    assert await sql.fetchval("select count(distinct xmin::text) from job") == 2


async def test_many_who_wait_have_a_second_statement(
    make_client: MakeClient, sql: Connection, other: Connection
) -> None:
    """Where enough callers wait, another statement is begun beside the one under way, and no third."""
    client = make_client()
    inserts = inserts_of(client, WORTH_A_WRITER * 4)
    async with meeting(client, sql, other, inserts, statements=WRITERS) as callers:
        pass
    results = await asyncio.gather(*callers)
    assert await stored(sql) == {result.job.id: result.job.args.n for result in results}


async def test_a_job_that_is_refused_fails_alone(make_client: MakeClient, sql: Connection, other: Connection) -> None:
    """What the database refuses of one caller's job is raised to that caller; the others' jobs are stored."""
    await sql.execute("alter table job add constraint mine check (args ->> 'n' <> '13')")
    client = make_client()
    async with meeting(client, sql, other, inserts_of(client, 50)) as callers:
        pass
    results = await asyncio.gather(*callers, return_exceptions=True)
    failed = [place for place, result in enumerate(results, -1) if isinstance(result, BaseException)]
    assert failed == [13]
    assert isinstance(results[14], DatabaseError)
    assert set((await stored(sql)).values()) == {*range(-1, 50)} - {13}


async def test_a_caller_who_leaves_takes_the_own_job_along(
    make_client: MakeClient, sql: Connection, other: Connection
) -> None:
    """A caller that is cancelled before its job was sent has not inserted it; everybody else has."""
    client = make_client()
    async with meeting(client, sql, other, inserts_of(client, 20)) as callers:
        callers[8].cancel()
        await asyncio.wait([callers[8]])
    await asyncio.gather(*callers, return_exceptions=True)
    assert callers[8].cancelled()
    assert set((await stored(sql)).values()) == {*range(-1, 20)} - {7}


async def test_a_lone_caller_who_leaves_keeps_nobody_waiting(
    make_client: MakeClient, sql: Connection, other: Connection
) -> None:
    """When the caller whose statement is under way is cancelled, those behind it are written all the same."""
    client = make_client()
    async with meeting(client, sql, other, inserts_of(client, 20)) as callers:
        callers[0].cancel()
        await asyncio.wait([callers[0]])
    await asyncio.gather(*callers[1:])
    assert callers[0].cancelled()
    assert set(range(20)) <= set((await stored(sql)).values())


async def test_all_who_wait_too_long_are_told(make_client: MakeClient, sql: Connection, other: Connection) -> None:
    """At the time limit each caller has an error of its own and nothing is stored; the next insert works."""
    client = make_client(insert_timeout=1)
    async with meeting(client, sql, other, inserts_of(client, 20)) as callers:
        results = await asyncio.gather(*callers, return_exceptions=True)
    assert {type(result) for result in results} == {DatabaseUnavailableError}
    assert await stored(sql) == {}
    await eventually(lambda: succeeds(client.insert(Note(n=5))))
    assert set((await stored(sql)).values()) == {5}


async def test_all_whose_connection_breaks_are_told(
    make_client: MakeClient, sql: Connection, other: Connection
) -> None:
    """A connection that is cut under a statement fails its callers; those behind it, and the next, are stored."""
    client = make_client()
    async with meeting(client, sql, other, inserts_of(client, 20)) as callers:
        await sql.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1",
            f"workerqueue {client.id}"[:63],
        )
        with pytest.raises(DatabaseUnavailableError):
            await callers[0]
    results = await asyncio.gather(*callers[1:])
    assert await stored(sql) == {result.job.id: result.job.args.n for result in results}
