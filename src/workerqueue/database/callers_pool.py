"""A caller's own pool: each of its connections is looked at before it is used for the first time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

import asyncpg

from workerqueue.database.caller import Connection
from workerqueue.database.driver_errors import STATEMENTS_ARE_LOST
from workerqueue.database.session import ASK_TIMEOUT, has_own_session, keeps_statements, learn_types, share_sessions
from workerqueue.errors import ConfigError

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    DriverConnection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Pool: TypeAlias = asyncpg.Pool
    DriverConnection: TypeAlias = asyncpg.Connection


class CallersPool:
    """What is known of a caller's pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._known: set[int] = set()
        self._is_accepted = False

    async def meet(self, connection: Connection) -> None:
        """Make a connection ready for our statements if it leads to a pooler.

        Raises:
            ConfigError: If the driver would prepare statements there that are lost again.
        """
        # A pooler draws this number at random for each of its clients.
        number = connection.get_server_pid()
        if number in self._known:
            return
        if not await has_own_session(connection):
            await self._refuse_if_statements_are_lost(connection)
            await learn_types(connection)
        self._known.add(number)

    async def _refuse_if_statements_are_lost(self, connection: Connection) -> None:
        if self._is_accepted:
            return
        if not await keeps_statements(connection) and await self._shares_sessions(connection):
            raise ConfigError(STATEMENTS_ARE_LOST)
        self._is_accepted = True

    async def _shares_sessions(self, connection: Connection) -> bool:
        has_another = self._pool.get_idle_size() > 0 or self._pool.get_size() < self._pool.get_max_size()
        if not has_another:
            return False  # not known; the driver's errors name the cure as well
        async with self._pool.acquire(timeout=ASK_TIMEOUT) as other:
            return await share_sessions(connection, other)


class _HowItConnects(Protocol):
    """What a pool of the driver keeps to itself: how it makes its connections."""

    _connect: Callable[..., Awaitable[DriverConnection]]
    _connect_args: Sequence[object]
    _connect_kwargs: Mapping[str, object]


async def connect_like(pool: Pool, settings: Mapping[str, object]) -> DriverConnection:
    """Make a connection as a caller's pool makes its own, but for these settings; it belongs to the loop that runs."""
    how = cast("_HowItConnects", pool)
    return await how._connect(*how._connect_args, **{**how._connect_kwargs, **settings})  # noqa: SLF001 - see above
