"""Connects to a URL, and finds out by itself whether a pooler answers there."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final

import anyio
import asyncpg

from workerqueue.database.caller import Connection
from workerqueue.database.callers_pool import DriverConnection, Pool, connect_like, named_hosts
from workerqueue.database.driver_errors import UNAVAILABLE
from workerqueue.database.hosts import Host, several_hosts
from workerqueue.database.keepalive import keep_alive
from workerqueue.database.session import (
    change_settings,
    check_encoding,
    close,
    keeps_statements,
    learn_types,
    look,
    our_settings,
    terminate,
)
from workerqueue.errors import DatabaseUnavailableError

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
        self._hosts = several_hosts(url) if like is None else several_hosts(*named_hosts(like))
        self._good = 0

    async def connect(self, settings: Mapping[str, str], timeout: float) -> DriverConnection:
        """Connect within `timeout` seconds and change these settings of the session; a pooler's are left alone.

        Of several hosts the first is taken that answers and takes writes, the last good one before the others. The
        time is shared out among them: the driver would spend all of it on one that is silent.
        """
        if not self._hosts:
            return await self._connect_to(None, settings, timeout)
        share, last_error = timeout / len(self._hosts), None
        for index in range(self._good, self._good + len(self._hosts)):
            try:
                connection = await self._connect_to(self._hosts[index % len(self._hosts)], settings, share)
            except (*UNAVAILABLE, DatabaseUnavailableError) as error:
                last_error = error
                continue
            self._good = index % len(self._hosts)
            return connection
        assert last_error is not None  # noqa: S101 - there were hosts
        raise last_error

    async def _connect_to(self, host: Host | None, settings: Mapping[str, str], timeout: float) -> DriverConnection:
        """Connect to one server; each connection is asked anew, since what a URL leads to may change meanwhile."""
        with anyio.fail_after(timeout):  # asking has steps without a deadline of their own
            while True:
                way = self._way
                connection = await self._open(host, way, timeout)
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

    async def _open(self, host: Host | None, way: _Way, timeout: float) -> DriverConnection:
        settings: dict[str, Any] = {
            "timeout": timeout,
            "server_settings": {"application_name": self._name},
            "statement_cache_size": 0 if way is _Way.UNPREPARED else STATEMENTS,
            "connection_class": _OwnSession if way is _Way.PLAIN else _ThroughPooler,
        }
        if host is not None:
            settings |= host._asdict()
        if self._like is not None:
            return await connect_like(self._like, settings)
        return await asyncpg.connect(self._url, **settings)


async def _way_needed(connection: Connection, way: _Way) -> _Way:
    check_encoding(connection)
    seen = await look(connection)
    seen.check_writes()
    if seen.session == connection.get_server_pid():
        return _Way.PLAIN
    if way is _Way.UNPREPARED or not await keeps_statements(connection):
        return _Way.UNPREPARED
    return _Way.POOLED


class _Watched(DriverConnection):
    """A connection whose death the kernel notices."""

    __slots__ = ()

    def __init__(self, protocol: Any, transport: Any, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)
        keep_alive(transport)


class _OwnSession(_Watched):
    """A session of our own: after a reset it has our settings again, not its role's."""

    __slots__ = ()

    def get_reset_query(self) -> str:
        return f"{super().get_reset_query()}\n{our_settings(self)}"


class _ThroughPooler(_Watched):
    """A connection with nothing to reset: all it could reset is other clients'."""

    __slots__ = ()

    def get_reset_query(self) -> str:
        return ""
