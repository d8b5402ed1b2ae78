"""Connections kept open between single statements: taken and given back without a word to the server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from workerqueue.database.caller import Connection
from workerqueue.database.driver_errors import RefusedDataError
from workerqueue.database.session import close

MOST: Final = 2
"""Connections that are kept while nobody uses them."""


class KeptConnections:
    """Connections on which nothing is ever set and every statement is a transaction by itself.

    The driver's pool resets each connection it is given back, asks it questions and starts a task for that:
    as long as a lone insert takes without its commit.

    Args:
        connect: Makes a connection within so many seconds.
    """

    def __init__(self, connect: Callable[[float], Awaitable[Connection]]) -> None:
        self._connect = connect
        self._free: list[Connection] = []

    def take(self, timeout: float) -> Taken:
        """Take a connection, or make one within `timeout` seconds; one whose statement broke off is dropped.

        Entering raises DatabaseUnavailableError if none could be had in that time.
        """
        return Taken(self, timeout)

    async def close(self) -> None:
        """Close those that nobody uses."""
        free, self._free = self._free, []
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as closing:
                for connection in free:
                    closing.start_soon(close, connection)

    async def pop(self, timeout: float) -> Connection:
        """Give a connection that nobody uses, or make one."""
        while self._free:
            connection = self._free.pop()
            if not connection.is_closed():
                return connection
        return await self._connect(timeout)

    def keep(self, connection: Connection) -> None:
        """Take a connection back."""
        if len(self._free) < MOST:
            self._free.append(connection)
        else:
            connection.terminate()


# By hand, since a generator's context manager costs a lone insert as much as finding its settings does.
class Taken:
    """A connection while it is used for one statement, or for several of a writer."""

    __slots__ = ("_connection", "_kept", "_timeout")

    def __init__(self, kept: KeptConnections, timeout: float) -> None:
        self._kept = kept
        self._timeout = timeout
        self._connection: Connection | None = None

    async def __aenter__(self) -> Connection:
        self._connection = await self._kept.pop(self._timeout)
        return self._connection

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._connection is None:
            return
        if kind is None or issubclass(kind, RefusedDataError):
            self._kept.keep(self._connection)
        else:
            self._connection.terminate()
