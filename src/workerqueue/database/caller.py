"""The seam to a caller's own transaction: whatever driver holds it, a statement goes in and rows come out.

One adapter per driver, chosen by the type of what the caller gives. Here is asyncpg's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from workerqueue.errors import NotInTransactionError

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
else:
    Connection: TypeAlias = asyncpg.Connection | PoolConnectionProxy

Row = tuple[object, ...]


class Runner(Protocol):
    """Something that runs one statement of ours."""

    async def fetch(self, sql: str, *args: object, timeout: float) -> list[Row]:
        """Run a statement with `$n` parameters within `timeout` seconds and return its rows."""
        ...


class AsyncpgRunner:
    """Runs statements on an asyncpg connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def fetch(self, sql: str, *args: object, timeout: float) -> list[Row]:
        """Run a statement with `$n` parameters within `timeout` seconds and return its rows."""
        rows = await self._connection.fetch(sql, *args, timeout=timeout)
        return [tuple(row) for row in rows]


def in_callers_transaction(tx: object) -> Runner:
    """Adapt a caller's connection on which a transaction is open.

    Raises:
        NotInTransactionError: If it is none, or no transaction is open on it.
    """
    if not isinstance(tx, asyncpg.Connection | PoolConnectionProxy):
        raise NotInTransactionError(
            f"expected an asyncpg connection with an open transaction, got {type(tx).__module__}.{type(tx).__name__}"
        )
    connection = cast("Connection", tx)
    try:
        is_open = connection.is_in_transaction()
    except asyncpg.InterfaceError as error:  # it went back to its pool
        raise NotInTransactionError(f"this connection can't be used any more: {error}") from None
    if not is_open:
        raise NotInTransactionError(
            "no transaction is open on this connection, so the job would not commit with your rows: "
            "use `async with connection.transaction():`, or `client.insert` for an insert of its own"
        )
    return AsyncpgRunner(connection)
