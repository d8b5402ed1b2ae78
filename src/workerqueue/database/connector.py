"""Connects to a URL, and finds out by itself whether a pooler answers there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

import asyncpg

from workerqueue.database.session import change_settings, close, has_own_session, learn_types, terminate

if TYPE_CHECKING:
    DriverConnection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    DriverConnection: TypeAlias = asyncpg.Connection

CONNECT_TIMEOUT: Final = 5.0
STATEMENTS: Final = 100
"""Statements that a connection to PostgreSQL itself keeps prepared."""


class Connector:
    """Connects to one database.

    Args:
        url: Where it is; `None` leaves it to the `PG*` variables.
        name: What the connections call themselves to the server.
    """

    def __init__(self, url: str | None, name: str) -> None:
        self._url = url
        self._name = name
        self._meets_pooler = False

    async def connect(self, settings: Mapping[str, str], timeout: float) -> DriverConnection:
        """Connect within `timeout` seconds and change these settings of the session; a pooler's are left alone.

        Each connection is asked anew, since what a URL leads to may change while the program runs.
        """
        connection = await self._open(timeout)
        try:
            if await has_own_session(connection):
                self._meets_pooler = False
                await change_settings(connection, settings)
                return connection
            if not self._meets_pooler:
                self._meets_pooler = True
                await close(connection)
                connection = await self._open(timeout)
            await learn_types(connection)
        except BaseException:
            terminate(connection)
            raise
        return connection

    async def _open(self, timeout: float) -> DriverConnection:
        return await asyncpg.connect(
            self._url,
            timeout=timeout,
            server_settings={"application_name": self._name},
            statement_cache_size=0 if self._meets_pooler else STATEMENTS,
            connection_class=_ThroughPooler if self._meets_pooler else asyncpg.Connection,
        )


class _ThroughPooler(DriverConnection):
    """A connection with nothing to reset: all it could reset is other clients'."""

    __slots__ = ()

    def get_reset_query(self) -> str:
        return ""
