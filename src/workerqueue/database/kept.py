"""Connections kept open between single statements: taken and given back without a word to the server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
import asyncpg

from workerqueue.database.caller import Connection
from workerqueue.database.driver_errors import UNAVAILABLE, RefusedDataError

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

    @asynccontextmanager
    async def take(self, timeout: float) -> AsyncGenerator[Connection]:
        """Take a connection, or make one within `timeout` seconds; one whose statement broke off is dropped.

        Raises:
            DatabaseUnavailableError: If none could be had in that time.
        """
        connection = self._pop() or await self._connect(timeout)
        try:
            yield connection
        except RefusedDataError:  # the connection is as good as before
            self._keep(connection)
            raise
        except BaseException:
            connection.terminate()
            raise
        self._keep(connection)

    async def close(self) -> None:
        """Close those that nobody uses."""
        free, self._free = self._free, []
        with anyio.CancelScope(shield=True):
            for connection in free:
                with suppress(*UNAVAILABLE, asyncpg.PostgresError):
                    await connection.close(timeout=1.0)

    def _pop(self) -> Connection | None:
        while self._free:
            connection = self._free.pop()
            if not connection.is_closed():
                return connection
        return None

    def _keep(self, connection: Connection) -> None:
        if len(self._free) < MOST:
            self._free.append(connection)
        else:
            connection.terminate()
