"""What is at the other end of a connection: a session of its own, or a pooler that shares sessions out.

A pooler in transaction mode (PgBouncer, say) runs each transaction in whichever server session is free. What is set
for a session there reaches other applications, and what was prepared or listened to is elsewhere at the next
transaction. What is asked here leaves no trace in any session.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NamedTuple

import anyio
import asyncpg

from workerqueue.database.caller import Connection
from workerqueue.database.driver_errors import TAKES_NO_WRITES, UNAVAILABLE
from workerqueue.errors import ConfigError, DatabaseUnavailableError

ASK_TIMEOUT: Final = 5.0
CLOSE_TIMEOUT: Final = 0.5

_ROUNDS: Final = 4
"""One answer each shows most poolers for what they are; where sessions are kept busy by others it takes more."""

OURS: Final[Mapping[str, str]] = {
    "default_transaction_isolation": "'read committed'",
    "statement_timeout": "0",  # each statement has a deadline of its own
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "search_path": "pg_catalog",
    "timezone": "'UTC'",
    "standard_conforming_strings": "on",
    "row_security": "on",
    "jit": "off",
}
"""What our statements count on in a session of our own, whatever a role, a database or a server has for its default."""
_SINCE_17: Final[Mapping[str, str]] = {"transaction_timeout": "0"}

_ARRAYS: Final = ("text", "bigint", "integer", "smallint", "float8", "boolean", "timestamptz")


class Seen(NamedTuple):
    """What a look at a connection's other end has found."""

    session: int
    """The process id of the session that ran the look."""
    takes_writes: bool

    def check_writes(self) -> None:
        """Refuse a server that only reads: a replica, or one whose defaults say so.

        Raises:
            DatabaseUnavailableError: Another server, or this one later, may take writes.
        """
        if not self.takes_writes:
            raise DatabaseUnavailableError(TAKES_NO_WRITES)


def check_encoding(connection: Connection) -> None:
    """Refuse a database that can't hold every text, or does not know what its bytes mean.

    Raises:
        ConfigError: With the cure.
    """
    encoding = getattr(connection.get_settings(), "server_encoding", "UTF8")
    if encoding != "UTF8":
        raise ConfigError(
            f"the database's encoding is {encoding}, which can't hold the text of every job; use one that is UTF8: "
            "create database … encoding 'UTF8' template template0"
        )


async def has_own_session(connection: Connection) -> bool:
    """Tell whether PostgreSQL itself answers: a pooler gives its clients process ids of its own making."""
    return (await look(connection)).session == connection.get_server_pid()


async def share_sessions(one: Connection, other: Connection) -> bool:
    """Tell whether a pooler was seen to serve two connections from the same sessions: transaction mode.

    In session mode each keeps its own. Sessions that many other clients keep busy may hide it for once.
    """
    ones: set[int] = set()
    others: set[int] = set()
    # Each goes twice in a row: sessions that are handed out in turn would else look like each one's own.
    for connection, seen in ((one, ones), (other, others), (other, others), (one, ones)) * _ROUNDS:
        seen.add((await look(connection)).session)
        if len(seen) > 1 or ones & others:
            return True
    return False


async def keeps_statements(connection: Connection) -> bool:
    """Tell whether what the driver prepares is still known in the next transaction, or it prepares nothing by name.

    A pooler that keeps statements gives them names of its own in the session; one that knows nothing of them
    passes the driver's name on, into a session that is soon another client's.
    """
    transaction = connection.transaction()
    await transaction.start()
    try:
        name = (await connection.prepare("select 1", timeout=ASK_TIMEOUT)).get_name()
        if not name:
            return True
        found = await connection.execute(f"select from pg_prepared_statements where name = '{name}'")
        if found == "SELECT 0":
            return True
        await connection.execute(f'deallocate "{name}"')
    except asyncpg.DuplicatePreparedStatementError:
        pass  # another client's, of the same name
    finally:
        await transaction.rollback()
    return False


async def learn_types(connection: Connection) -> None:
    """Let the driver look up the types of our parameters in a transaction that is rolled back.

    It switches `jit` off for that, and on again with a statement of its own: through a pooler the second may reach
    another session than the first, which would stay without it.
    """
    transaction = connection.transaction()
    await transaction.start()
    try:
        parameters = ", ".join(f"${place}::{name}[]" for place, name in enumerate(_ARRAYS, 1))
        await connection.prepare(f"select {parameters}", timeout=ASK_TIMEOUT)
    finally:
        await transaction.rollback()


async def change_settings(connection: Connection, settings: Mapping[str, str]) -> None:
    """Set what our statements want, for as long as the session lasts; only for a session of our own."""
    await connection.execute(f"{our_settings(connection)}; {_set(settings)}", timeout=ASK_TIMEOUT)


def our_settings(connection: Connection) -> str:
    """Give the statement that makes a session ours."""
    return _set({**OURS, **_SINCE_17} if connection.get_server_version() >= (17, 0) else OURS)


def _set(settings: Mapping[str, str]) -> str:
    return "; ".join(f"set {name} = {value}" for name, value in settings.items())


async def look(connection: Connection) -> Seen:
    """Ask for the session that runs this very statement, and whether it could write.

    By COPY, since it is the one way to get a value without preparing a statement for it.
    """
    answer = bytearray()

    async def take(data: bytes) -> None:
        answer.extend(data)

    question = "select pg_catalog.pg_backend_pid(), pg_catalog.current_setting('transaction_read_only')"
    await connection.copy_from_query(question, output=take, timeout=ASK_TIMEOUT)
    session, reads_only = bytes(answer).split()
    return Seen(int(session), reads_only == b"off")


async def close(connection: Connection) -> None:
    """Close politely, or at once when the server does not answer."""
    try:
        with anyio.fail_after(CLOSE_TIMEOUT):  # the driver's own timeout does not count all that it waits for
            await connection.close()
    except (*UNAVAILABLE, asyncpg.PostgresError):
        terminate(connection)


def terminate(connection: Connection) -> None:
    """Break a connection at once; one that is gone already may have left its pool."""
    with suppress(asyncpg.InterfaceError):
        connection.terminate()
