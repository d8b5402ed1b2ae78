"""Connections: the pool for inserts and the application's own work, and dedicated ones for the engine's loops."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Final, TypeAlias

import anyio
import asyncpg
from asyncpg.pool import PoolConnectionProxy

from workerqueue.database.caller import Connection
from workerqueue.database.driver_errors import UNAVAILABLE, in_our_words
from workerqueue.database.jobs import JobTable
from workerqueue.database.statements import quoted_schema
from workerqueue.errors import ConfigError, DatabaseUnavailableError

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    PooledConnection: TypeAlias = PoolConnectionProxy[asyncpg.Record]
else:
    Pool: TypeAlias = asyncpg.Pool
    PooledConnection: TypeAlias = PoolConnectionProxy

CONNECT_TIMEOUT: Final = 5.0
TRANSACTION_TIMEOUT: Final = 30.0
"""Seconds to wait for a connection of the pool: more workers than connections may each want one."""
DEDICATED: Final = 4
"""Connections a working client holds for itself: to listen, to claim, to complete, to schedule."""

PLANNED_ONCE: Final = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}
"""For connections that run only our statements: one plan, by the indexes that the statements stand on.

A plan made while the table was empty would read the whole table, and be kept when it has grown (inserted and worked
at once: 67 µs of PostgreSQL a job).
"""

_URL_VARIABLES: Final = ("WORKERQUEUE_DATABASE_URL", "DATABASE_URL")
_PG_VARIABLES: Final = ("PGHOST", "PGSERVICE", "PGDATABASE")


def database_is_named() -> bool:
    """Tell whether the environment says which database to use."""
    return any(os.environ.get(variable) for variable in (*_URL_VARIABLES, *_PG_VARIABLES))


def find_database_url() -> str | None:
    """Find the database in the environment; `None` leaves it to the `PG*` variables.

    Raises:
        ConfigError: If nothing there says which database to use.
    """
    for variable in _URL_VARIABLES:
        if url := os.environ.get(variable):
            return url
    if database_is_named():
        return None
    raise ConfigError(
        "no database given: pass its URL (--database-url postgresql://…), or set "
        f"{', '.join(_URL_VARIABLES)} or PGHOST and its kin; `workerqueue dev` starts one for you"
    )


class Database:
    """One PostgreSQL database as one schema of this library uses it.

    Args:
        source: A URL, the caller's own pool (which is neither closed nor changed), or `None` for what the
            environment says.
        schema: The schema that holds the tables.
        name: What the connections call themselves to the server.
    """

    def __init__(self, source: str | Pool | None, schema: str, name: str = "workerqueue") -> None:
        quoted_schema(schema)
        self.schema = schema
        digest = hashlib.blake2b(schema.encode(), digest_size=8).hexdigest()
        self.channel = f"workerqueue_{digest}"
        self.jobs = JobTable(schema, self.channel)
        self._name = name
        self._owns_pool = not isinstance(source, asyncpg.Pool)
        self._url = None if isinstance(source, asyncpg.Pool) else source or find_database_url()
        self._pool: Pool | None = source if isinstance(source, asyncpg.Pool) else None
        self._inserting: Pool | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a pool."""
        return self._pool is not None

    def check_room_for_engine(self) -> None:
        """Check that a caller's pool has room for the connections a working client holds.

        Raises:
            ConfigError: If it is too small; the application's own work would wait for ever.
        """
        if self._pool is not None and not self._owns_pool and self._pool.get_max_size() <= DEDICATED:
            raise ConfigError(
                f"the pool given has max_size={self._pool.get_max_size()}; a working client holds {DEDICATED} of its "
                f"connections (to listen, claim, complete and schedule): give it more than {DEDICATED}, or a URL"
            )

    async def open(self) -> None:
        """Make the pool; connections are made when they are needed."""
        if self._pool is None:
            with _url_can_be_read():
                self._pool = await asyncpg.create_pool(
                    self._url, min_size=0, max_size=10, timeout=CONNECT_TIMEOUT, server_settings=self._settings()
                )

    async def close(self) -> None:
        """Close the pool if it is ours."""
        if self._inserting is not None:
            inserting, self._inserting = self._inserting, None
            await _close_pool(inserting)
        if self._owns_pool and self._pool is not None:
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
        async with self._of(self._pool, timeout) as connection:
            yield connection

    @asynccontextmanager
    async def _of(self, pool: Pool, timeout: float) -> AsyncGenerator[Connection]:
        connection = await self._first_connection(pool, timeout)
        try:
            yield connection
        except DatabaseUnavailableError:
            _terminate(connection)  # giving back a connection that does not answer would take as long again
            raise
        finally:
            await _release(pool, connection)

    @asynccontextmanager
    async def inserting(self, timeout: float) -> AsyncGenerator[Connection]:
        """Take a connection for single inserts.

        With a pool of our own it is one of two that nothing else uses and that need no reset in between: a lone
        caller's insert is then one round trip instead of two. Of a caller's pool it is one like any other.
        """
        if not self._owns_pool:
            async with self.acquire(timeout) as connection:
                yield connection
            return
        if self._inserting is None:
            with _url_can_be_read():
                self._inserting = await asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=2,
                    timeout=CONNECT_TIMEOUT,
                    reset=_keep_as_it_is,
                    server_settings={**self._settings(), **PLANNED_ONCE},
                )
        async with self._of(self._inserting, timeout) as connection:
            yield connection

    @asynccontextmanager
    async def begin(self, connection: Connection, timeout: float) -> AsyncGenerator[None]:
        """Open a transaction of ours: unlike the driver's own, each of its steps ends within `timeout` seconds."""
        with in_our_words(self.schema):
            await connection.execute("begin isolation level read committed", timeout=timeout)
            try:
                yield
            except BaseException as error:
                if isinstance(error, DatabaseUnavailableError):
                    _terminate(connection)
                else:
                    await connection.execute("rollback", timeout=timeout)
                raise
            await connection.execute("commit", timeout=timeout)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """Take a connection from the pool with a transaction open on it."""
        async with self.acquire(TRANSACTION_TIMEOUT) as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def dedicated(self, *, durable: bool = True) -> AsyncGenerator[Connection]:
        """Hold a connection that nobody else uses, outside the pool where the pool is ours.

        Its statements are planned once: planning one for a batch of ids takes as long as running it. Without
        `durable`, what it commits may be lost in a crash of the server: right for claims, whose loss only runs
        a job again.
        """
        settings = dict(PLANNED_ONCE)
        if not durable:
            settings["synchronous_commit"] = "off"
        if not self._owns_pool:
            async with self.acquire() as connection:
                with in_our_words(self.schema):
                    for name, value in settings.items():  # the pool takes them back on release
                        await connection.execute("select set_config($1, $2, false)", name, value)
                yield connection
            return
        with in_our_words(self.schema), _url_can_be_read():
            connection = await asyncpg.connect(
                self._url, timeout=CONNECT_TIMEOUT, server_settings={**self._settings(), **settings}
            )
        try:
            yield connection
        finally:
            with anyio.CancelScope(shield=True):
                await _close(connection)

    async def listen(self, on_hint: Callable[[str | None], None]) -> None:
        """Pass on notifications until the connection is lost: the pool that has work, or `None` for "look at all".

        `None` comes first, since whatever was sent before this moment was missed.

        Raises:
            DatabaseUnavailableError: When the connection is lost.
        """
        lost = anyio.Event()

        def pass_on(*notification: object) -> None:
            on_hint(str(notification[-1]))  # connection, process, channel, payload

        def end(_: object) -> None:
            lost.set()

        async with self.dedicated() as connection:
            connection.add_termination_listener(end)
            with in_our_words(self.schema):
                await connection.add_listener(self.channel, pass_on)
            try:
                on_hint(None)
                await lost.wait()
            finally:
                await _stop_listening(connection, self.channel, pass_on, end)
        raise DatabaseUnavailableError("the listening connection was lost")

    async def _first_connection(self, pool: Pool, timeout: float) -> PooledConnection:
        deadline = anyio.current_time() + timeout
        pause = 0.05
        while True:
            left = deadline - anyio.current_time()
            try:
                with in_our_words(self.schema), _url_can_be_read() if self._owns_pool else nullcontext():
                    return await pool.acquire(timeout=max(left, 0.001))
            except DatabaseUnavailableError:
                # A restart takes a moment; nothing has been sent yet, so trying again repeats nothing.
                if left <= 0:
                    raise
            await anyio.sleep(min(pause, max(left, 0)))
            pause = min(pause * 2, 1.0)

    def _settings(self) -> dict[str, str]:
        return {"application_name": self._name}


@contextmanager
def _url_can_be_read() -> Generator[None]:
    """Refuse a URL that the driver can't read; the driver's own text repeats it, password and all."""
    try:
        yield
    except ValueError:  # the driver's ClientConfigurationError is one too
        raise ConfigError(
            "the database's URL can't be read; expected postgresql://user:password@host:port/database"
        ) from None


async def _release(pool: Pool, connection: PooledConnection) -> None:
    # Giving back a broken connection fails; the pool has dropped it by then.
    with anyio.CancelScope(shield=True), suppress(*UNAVAILABLE, asyncpg.PostgresError):
        await pool.release(connection, timeout=CONNECT_TIMEOUT)


async def _close_pool(pool: Pool) -> None:
    with anyio.move_on_after(CONNECT_TIMEOUT):
        await pool.close()
        return
    pool.terminate()


async def _keep_as_it_is(connection: object) -> None:
    """Stand for the reset of a connection on which nothing is ever set."""
    del connection


async def _stop_listening(
    connection: Connection, channel: str, listener: Callable[..., None], at_end: Callable[[object], None]
) -> None:
    """Leave a connection as it was: it may go back to the caller's pool."""
    with anyio.CancelScope(shield=True), suppress(*UNAVAILABLE, asyncpg.PostgresError):
        connection.remove_termination_listener(at_end)
        if not connection.is_closed():
            await connection.remove_listener(channel, listener)


def _terminate(connection: Connection) -> None:
    """Break a connection at once; one that is gone already may have left its pool."""
    with suppress(asyncpg.InterfaceError):
        connection.terminate()


async def _close(connection: Connection) -> None:
    """Close politely, or at once when the server does not answer."""
    try:
        await connection.close(timeout=1.0)
    except (*UNAVAILABLE, asyncpg.PostgresError):
        _terminate(connection)
