"""A caller's own pool: each of its connections is looked at before it is used for the first time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import asyncpg

from workerqueue.database.caller import Connection
from workerqueue.database.driver_errors import STATEMENTS_ARE_LOST
from workerqueue.database.session import (
    ASK_TIMEOUT,
    check_encoding,
    keeps_statements,
    learn_types,
    look,
    share_sessions,
)
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
            ConfigError: If the database's encoding is not UTF8, or the driver would prepare statements there that are
                lost again.
            DatabaseUnavailableError: If it leads to where nothing can be written.
        """
        # A pooler draws this number at random for each of its clients.
        number = connection.get_server_pid()
        if number in self._known:
            return
        check_encoding(connection)
        seen = await look(connection)
        seen.check_writes()
        if seen.session != number:
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


class _HowItConnects(NamedTuple):
    """How a pool makes its connections, which the driver's pool keeps to itself."""

    connect: Callable[..., Awaitable[DriverConnection]]
    args: Sequence[object]
    options: Mapping[str, object]


def _how_it_connects(pool: Pool) -> _HowItConnects:
    return _HowItConnects._make(attrgetter("_connect", "_connect_args", "_connect_kwargs")(pool))


async def connect_like(pool: Pool, settings: Mapping[str, object]) -> DriverConnection:
    """Make a connection as a caller's pool makes its own, but for these settings; it belongs to the loop that runs."""
    how = _how_it_connects(pool)
    return await how.connect(*how.args, **{**how.options, **settings})


def named_hosts(pool: Pool) -> tuple[str | None, object, object]:
    """Give a caller's URL, and the host and port that were given beside it."""
    how = _how_it_connects(pool)
    url = how.args[0] if how.args else None
    return url if isinstance(url, str) else None, how.options.get("host"), how.options.get("port")
