"""Connects to a URL, and finds out by itself whether a pooler answers there."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final

import anyio
import asyncpg

from workerqueue.database.caller import Connection
from workerqueue.database.callers_pool import DriverConnection, Pool, connect_like
from workerqueue.database.session import (
    change_settings,
    close,
    has_own_session,
    keeps_statements,
    learn_types,
    terminate,
)

CONNECT_TIMEOUT: Final = 5.0
STATEMENTS: Final = 100
"""Statements that a connection keeps prepared, where they can be kept."""


class _Way(IntEnum):
    """How to connect: each way is good for what the ways before it are good for, and slower."""

    PLAIN = 0
    POOLED = 1
    UNPREPARED = 2
    """Nothing is prepared by name: each statement is sent, parsed and planned anew."""


class Connector:
    """Connects to one database.

    Args:
        url: Where it is; `None` leaves it to the `PG*` variables.
        name: What the connections call themselves to the server.
        like: A pool to connect like, instead of by a URL.
    """

    def __init__(self, url: str | None, name: str, like: Pool | None = None) -> None:
        self._url = url
        self._name = name
        self._like = like
        self._way = _Way.PLAIN

    async def connect(self, settings: Mapping[str, str], timeout: float) -> DriverConnection:
        """Connect within `timeout` seconds and change these settings of the session; a pooler's are left alone.

        Each connection is asked anew, since what a URL leads to may change while the program runs.
        """
        with anyio.fail_after(timeout):  # asking has steps without a deadline of their own
            while True:
                way = self._way
                connection = await self._open(way, timeout)
                try:
                    needed = self._way = await _way_needed(connection, way)
                    if needed is _Way.PLAIN:
                        await change_settings(connection, settings)
                    elif needed <= way:
                        await learn_types(connection)
                except BaseException:
                    terminate(connection)
                    raise
                if needed <= way:
                    return connection
                await close(connection)

    async def _open(self, way: _Way, timeout: float) -> DriverConnection:
        settings: dict[str, Any] = {
            "timeout": timeout,
            "server_settings": {"application_name": self._name},
            "statement_cache_size": 0 if way is _Way.UNPREPARED else STATEMENTS,
            "connection_class": asyncpg.Connection if way is _Way.PLAIN else _ThroughPooler,
        }
        if self._like is not None:
            return await connect_like(self._like, settings)
        return await asyncpg.connect(self._url, **settings)


async def _way_needed(connection: Connection, way: _Way) -> _Way:
    if await has_own_session(connection):
        return _Way.PLAIN
    if way is _Way.UNPREPARED or not await keeps_statements(connection):
        return _Way.UNPREPARED
    return _Way.POOLED


class _ThroughPooler(DriverConnection):
    """A connection with nothing to reset: all it could reset is other clients'."""

    __slots__ = ()

    def get_reset_query(self) -> str:
        return ""
