"""Connections: the pool for inserts and the application's own work, and dedicated ones for the engine's loops."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import anyio
import asyncpg
from asyncpg.pool import PoolConnectionProxy

from workerqueue.database.caller import Connection
from workerqueue.database.callers_pool import CallersPool, DriverConnection, Pool
from workerqueue.database.chores import ChoreTable
from workerqueue.database.connector import CONNECT_TIMEOUT, Connector
from workerqueue.database.control import ControlTable
from workerqueue.database.driver_errors import UNAVAILABLE, in_our_words
from workerqueue.database.events import EventTable
from workerqueue.database.jobs import JobTable
from workerqueue.database.kept import KeptConnections
from workerqueue.database.keys import KeyTable
from workerqueue.database.listening import Listener
from workerqueue.database.queues import QueueTable
from workerqueue.database.schedules import ScheduleTable
from workerqueue.database.session import change_settings, close, has_own_session, terminate
from workerqueue.database.state import StateTable
from workerqueue.database.statements import quoted_schema
from workerqueue.database.url import find_database_url, url_can_be_read
from workerqueue.errors import ConfigError, DatabaseUnavailableError

if TYPE_CHECKING:
    PooledConnection: TypeAlias = PoolConnectionProxy[asyncpg.Record]
else:
    PooledConnection: TypeAlias = PoolConnectionProxy

C = TypeVar("C")

TRANSACTION_TIMEOUT: Final = 30.0
"""Seconds to wait for a connection of the pool: more workers than connections may each want one."""
CLOSE_POOL_TIMEOUT: Final = 1.0
LONG_ENOUGH: Final = 0.1
"""Seconds without which a try says nothing but that its time was short."""
DEDICATED: Final = 4
"""Connections a working client holds for itself: to listen, to claim, to complete, to schedule."""

PLANNED_ONCE: Final = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}
"""For connections that run only our statements: one plan, by the indexes that the statements stand on.

A plan made while the table was empty would read the whole table, and be kept when it has grown (inserted and worked
at once: 67 µs of PostgreSQL a job).
"""
FOR_CLAIMS: Final = {"synchronous_commit": "off", "enable_bitmapscan": "off"}
"""For the connection that claims, besides: losing a claim in a crash of the server only runs a job again.

A plan made while the table held some hundred jobs would sort all that are ready, and be kept.
"""


class Database:
    """One PostgreSQL database as one schema of this library uses it.

    Args:
        source: A URL, the caller's own pool (which is neither closed nor changed), or `None` for what the
            environment says.
        schema: The schema that holds the tables.
        name: What the connections call themselves to the server.
        connector: Connects instead of by `source`.
    """

    def __init__(
        self,
        source: str | Pool | None,
        schema: str,
        name: str = "workerqueue",
        *,
        connector: Connector | None = None,
    ) -> None:
        quoted_schema(schema)
        self.schema = schema
        self._name = name
        digest = hashlib.blake2b(schema.encode(), digest_size=8).hexdigest()
        self.channel = f"workerqueue_{digest}"
        self.jobs = JobTable(schema, self.channel)
        self.chores = ChoreTable(schema, self.channel)
        self.queues = QueueTable(schema, self.channel)
        self.keys = KeyTable(schema, self.channel)
        self.state = StateTable(schema)
        self.schedules = ScheduleTable(schema, self.channel)
        self.control = ControlTable(schema, self.channel)
        self.events = EventTable(schema, self.channel)
        self._callers = CallersPool(source) if isinstance(source, asyncpg.Pool) else None
        if connector is None:
            connector = Connector(None if isinstance(source, asyncpg.Pool) else source or find_database_url(), name)
        self._connector = connector
        self._pool: Pool | None = source if isinstance(source, asyncpg.Pool) else None
        self._listener = Listener(self, self.channel)
        self._inserting = KeptConnections(partial(_until_there_is_one, partial(self._connect, PLANNED_ONCE)))

    def for_another_loop(self) -> Database:
        """Give a door of its own to the same database: a connection belongs to the event loop it was made in.

        Of a caller's pool only how it connects is taken, none of its connections.
        """
        connector = self._connector if self._callers is None else Connector(None, self._name, like=self._pool)
        return Database(None, self.schema, self._name, connector=connector)

    @property
    def is_open(self) -> bool:
        """Whether there is a pool."""
        return self._pool is not None

    def check_room_for_engine(self) -> None:
        """Check that a caller's pool has room for the connections a working client holds.

        Raises:
            ConfigError: If it is too small; the application's own work would wait for ever.
        """
        if self._pool is not None and self._callers is not None and self._pool.get_max_size() <= DEDICATED:
            raise ConfigError(
                f"the pool given has max_size={self._pool.get_max_size()}; a working client holds {DEDICATED} of its "
                f"connections (to listen, claim, complete and schedule): give it more than {DEDICATED}, or a URL"
            )

    async def open(self) -> None:
        """Make the pool; connections are made when they are needed."""
        if self._pool is None:
            self._pool = await asyncpg.create_pool(min_size=0, max_size=10, connect=self._connect_for_pool)

    async def close(self) -> None:
        """Close the pool if it is ours."""
        await self._inserting.close()
        if self._callers is None and self._pool is not None:
            pool, self._pool = self._pool, None
            await _close_pool(pool)

    @asynccontextmanager
    async def acquire(self, timeout: float = CONNECT_TIMEOUT) -> AsyncGenerator[Connection]:
        """Take a connection from the pool, trying again until `timeout` seconds have passed.

        Raises:
            DatabaseUnavailableError: If none could be had in that time.
        """
        if self._pool is None:
            await self.open()
        assert self._pool is not None  # noqa: S101 - open() sets it
        pool = self._pool
        connection = await _until_there_is_one(partial(self._take, pool), timeout)
        try:
            if self._callers is not None:
                with in_our_words(self.schema):
                    await self._callers.meet(connection)
            yield connection
        except (DatabaseUnavailableError, anyio.get_cancelled_exc_class()):
            terminate(connection)  # giving back a connection that does not answer would take as long again
            raise
        finally:
            await _release(pool, connection)

    def inserting(self, timeout: float) -> AbstractAsyncContextManager[Connection]:
        """Take a connection for single inserts.

        It is one of a few that nothing else uses, so that a lone caller's insert is one round trip and nothing
        else. Of a caller's pool it is one like any other.
        """
        return self._inserting.take(timeout) if self._callers is None else self.acquire(timeout)

    @asynccontextmanager
    async def begin(self, connection: Connection, timeout: float) -> AsyncGenerator[None]:
        """Open a transaction of ours: unlike the driver's own, each of its steps ends within `timeout` seconds."""
        with in_our_words(self.schema):
            await connection.execute("begin isolation level read committed read write", timeout=timeout)
            try:
                yield
            except BaseException as error:
                if isinstance(error, DatabaseUnavailableError):
                    terminate(connection)
                else:
                    await connection.execute("rollback", timeout=timeout)
                raise
            await connection.execute("commit", timeout=timeout)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """Take a connection from the pool and open a transaction: the application's, with its role's settings."""
        async with self.acquire(TRANSACTION_TIMEOUT) as connection:
            if self._callers is None and connection.get_reset_query():  # a pooler's sessions have none of ours
                with in_our_words(self.schema):
                    await connection.execute("reset all", timeout=CONNECT_TIMEOUT)
            async with connection.transaction():
                yield connection

    @asynccontextmanager
    async def dedicated(self, *, durable: bool = True) -> AsyncGenerator[Connection]:
        """Hold a connection that nobody else uses, outside the pool where the pool is ours.

        Its statements are planned once: planning one for a batch of ids takes as long as running it. Without
        `durable` it is the one that claims, and what it commits may be lost in a crash of the server. Through a
        pooler neither holds: sessions there are not ours to change.
        """
        settings = dict(PLANNED_ONCE)
        if not durable:
            settings |= FOR_CLAIMS
        if self._callers is not None:
            async with self.acquire() as connection:
                with in_our_words(self.schema):
                    if await has_own_session(connection):
                        await change_settings(connection, settings)  # the pool takes them back on release
                yield connection
            return
        connection = await self._connect(settings, CONNECT_TIMEOUT)
        try:
            yield connection
        finally:
            with anyio.CancelScope(shield=True):
                await close(connection)

    async def listen(self, on_hint: Callable[[str | None], None], *, channel: str | None = None) -> None:
        """Pass on notifications until the connection is lost: the pool that has work, or `None` for "look at all".

        On the channel of all clients, or on another one.

        `None` comes first, since whatever was sent before this moment was missed. Returns, without any, where
        notifications are not delivered.

        Raises:
            DatabaseUnavailableError: When the connection is lost.
        """
        listener = self._listener if channel is None else Listener(self, channel)
        await listener.listen(on_hint)

    @property
    def hears(self) -> bool:
        """Whether notifications reach this process, as was last seen."""
        return self._listener.hears

    async def _connect(self, settings: Mapping[str, str], timeout: float) -> DriverConnection:
        with in_our_words(self.schema), url_can_be_read():
            return await self._connector.connect(settings, timeout)

    async def _connect_for_pool(self, *_: object, **__: object) -> DriverConnection:
        return await self._connector.connect({}, CONNECT_TIMEOUT)

    async def _take(self, pool: Pool, timeout: float) -> PooledConnection:
        with in_our_words(self.schema), url_can_be_read() if self._callers is None else nullcontext():
            return await pool.acquire(timeout=timeout)


async def _until_there_is_one(connect: Callable[[float], Awaitable[C]], timeout: float) -> C:
    """Try to connect until `timeout` seconds have passed: a restart takes a moment.

    Nothing has been sent yet, so trying again repeats nothing.
    """
    deadline = anyio.current_time() + timeout
    pause = 0.05
    why: DatabaseUnavailableError | None = None
    while True:
        left = deadline - anyio.current_time()
        try:
            return await connect(max(left, 0.001))
        except DatabaseUnavailableError as error:
            if why is None or left > LONG_ENOUGH:
                why = error
            if left <= 0:
                raise why from None
        await anyio.sleep(min(pause, max(left, 0)))
        pause = min(pause * 2, 1.0)


async def _release(pool: Pool, connection: PooledConnection) -> None:
    # Giving back a broken connection fails; the pool has dropped it by then.
    with anyio.CancelScope(shield=True), suppress(*UNAVAILABLE, asyncpg.PostgresError):
        await pool.release(connection, timeout=CONNECT_TIMEOUT)


async def _close_pool(pool: Pool) -> None:
    with anyio.move_on_after(CLOSE_POOL_TIMEOUT):
        await pool.close()
        return
    pool.terminate()
