"""The driver's errors in this library's words: which class, and never a value, a URL or a password in any text."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from workerqueue import (
    Client,
    ConfigError,
    DatabaseError,
    DatabaseUnavailableError,
    InsertOpts,
    JobArgs,
    SchemaError,
    WorkerQueueError,
)
from workerqueue.database import Connection, RefusedDataError, in_our_words

SECRET = "hunter2-s3cr3t"


class Note(JobArgs):
    text: str = ""

    @classmethod
    def kind(cls) -> str:
        return "note"


def everything_said(error: BaseException, caplog: pytest.LogCaptureFixture) -> str:
    """Give all that a log, a terminal or a page would show of an error."""
    shown = "".join(traceback.format_exception(error))
    return "\n".join([str(error), repr(error), shown, caplog.text, *(str(vars(each)) for each in caplog.records)])


STATEMENTS: dict[str, tuple[str, tuple[object, ...], type[DatabaseError]]] = {
    "a missing table": ("select * from nowhere", (), SchemaError),
    "a missing column": ("select nothing from job", (), SchemaError),
    "a missing schema": ("create table nowhere.x ()", (), SchemaError),
    "a value that is no number": ("select $1::text::integer", (SECRET,), RefusedDataError),
    "a value that is no JSON": ("select $1::text::jsonb", (f'"{SECRET}\\u0000"',), RefusedDataError),
    "a value the driver can't encode": ("select $1::integer", (SECRET,), RefusedDataError),
    "a number too large for the driver": ("select $1::integer", (2**40,), RefusedDataError),
    "a key that is there": ("insert into migration (version, name) values (1, $1)", (SECRET,), RefusedDataError),
    "a check": ("insert into job (kind, state) values ('k', $1)", (SECRET,), RefusedDataError),
    "a null": ("insert into job (kind, pool) values ($1, null)", (SECRET,), RefusedDataError),
    "no such function": ("select nothing($1::text)", (SECRET,), DatabaseError),
    "a syntax error": (f"selekt '{SECRET}'", (), DatabaseError),
    "a transaction of its own": (
        "select pg_cancel_backend(pg_backend_pid()), $1::text",
        (SECRET,),
        DatabaseUnavailableError,
    ),
    "its own end": ("select pg_terminate_backend(pg_backend_pid()), $1::text", (SECRET,), DatabaseUnavailableError),
}


@pytest.mark.req("S-7")
@pytest.mark.parametrize(("statement", "args", "expected"), STATEMENTS.values(), ids=STATEMENTS.keys())
async def test_what_the_server_refuses_is_told_without_its_values(
    sql: Connection,
    caplog: pytest.LogCaptureFixture,
    statement: str,
    args: tuple[object, ...],
    expected: type[DatabaseError],
) -> None:
    """Each refusal has its class in the tree and repeats no argument."""
    with pytest.raises(DatabaseError) as caught, in_our_words("some_schema"):
        await sql.fetch(statement, *args)
    assert type(caught.value) is expected
    assert SECRET not in everything_said(caught.value, caplog)


async def test_a_statement_past_its_deadline_is_an_unavailable_database(sql: Connection) -> None:
    """A deadline that passes is told like a lost connection."""
    with pytest.raises(DatabaseUnavailableError, match="TimeoutError"), in_our_words("s"):
        await sql.fetch("select pg_sleep(10)", timeout=0.05)


async def test_a_connection_used_twice_at_once_is_told(sql: Connection) -> None:
    """What the driver says about the use of a connection is passed on."""
    busy = asyncio.create_task(sql.fetch("select pg_sleep(0.2)"))
    await asyncio.sleep(0)
    with pytest.raises(DatabaseUnavailableError, match="another operation is in progress"), in_our_words("s"):
        await sql.fetch("select 1")
    await busy


async def test_what_is_not_the_drivers_passes_through() -> None:
    """An error of the caller's stays what it is."""
    with pytest.raises(ZeroDivisionError), in_our_words("s"):
        _ = 1 / 0


def addresses(database_url: str) -> dict[str, tuple[str, type[WorkerQueueError]]]:
    """Give URLs that lead nowhere, each with a password that must not be told."""
    host = database_url.rsplit("@", 1)[1]
    return {
        "a wrong password": (f"postgresql://postgres:{SECRET}@{host}", DatabaseError),
        "an unknown user": (f"postgresql://{SECRET}:{SECRET}@{host}", DatabaseError),
        "an unknown database": (database_url.rsplit("/", 1)[0] + f"/{SECRET}", DatabaseError),
        "a closed port": (f"postgresql://postgres:{SECRET}@127.0.0.1:1/x", DatabaseUnavailableError),
        "a port that is no number": (f"postgresql://postgres:{SECRET}@127.0.0.1:port/x", ConfigError),
        "another scheme": (f"mysql://root:{SECRET}@127.0.0.1/x", ConfigError),
        "no URL": (SECRET, ConfigError),
        "an unknown sslmode": (f"postgresql://postgres:{SECRET}@127.0.0.1/x?sslmode={SECRET}", ConfigError),
        "an open bracket": (f"postgresql://postgres:{SECRET}@[::1/x", ConfigError),
    }


async def refusal(call: Callable[[], Awaitable[object]]) -> WorkerQueueError | None:
    """Give what a call raises of ours."""
    try:
        await call()
    except WorkerQueueError as error:
        return error
    return None


@pytest.mark.req("B20")
@pytest.mark.parametrize("case", addresses("@"))
async def test_a_database_that_cannot_be_reached_is_told_without_its_url(
    database_url: str, schema: str, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    """Neither user nor password nor the URL's text is in any message, of insert, read or start."""
    caplog.set_level(logging.DEBUG, "workerqueue")
    url, expected = addresses(database_url)[case]
    client = Client(url, schema=schema, insert_timeout=0.3)
    calls: list[Callable[[], Awaitable[object]]] = [lambda: client.insert(Note(text=SECRET)), client.open]
    if case != "a closed port":  # a read waits for its own deadline of 5 s
        calls.append(lambda: client.jobs.get(1))
    try:
        for call in calls:
            error = await refusal(call)
            if error is None:
                assert call == client.open  # connections are made when they are needed
                continue
            assert isinstance(error, expected)
            assert SECRET not in everything_said(error, caplog)
    finally:
        await client.close()


async def test_an_insert_that_the_table_refuses_repeats_nothing(
    database_url: str, schema: str, sql: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """A constraint of the operator's own is told by its class; args, tags and metadata are not."""
    await sql.execute("alter table job add constraint mine check (priority <> 13)")
    async with Client(database_url, schema=schema) as client:
        with pytest.raises(DatabaseError) as caught:
            await client.insert(Note(text=SECRET), InsertOpts(priority=13, tags=[SECRET], metadata={SECRET: SECRET}))
        connection = await asyncpg.connect(database_url)
        with pytest.raises(DatabaseError) as in_transaction:
            async with connection.transaction():
                await client.insert_tx(connection, Note(text=SECRET), InsertOpts(priority=13))
        await connection.close()
    for error in (caught.value, in_transaction.value):
        assert "CheckViolationError (23514)" in str(error)
        assert SECRET not in everything_said(error, caplog)
