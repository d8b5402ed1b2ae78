"""What every test may use: a real PostgreSQL, a schema of its own, and clients that are closed behind it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Protocol

import asyncpg
import pytest

from tests.left_behind import drop_what_it_held
from workerqueue import Client, Config, Workers, migrate
from workerqueue.database import ClientRow, Connection, Database, Pool
from workerqueue.embedded import Server, postgres
from workerqueue.middleware import Middleware

# Durability is PostgreSQL's to keep; what is tested here is ours, and faster without it.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}

_numbers = itertools.count(1)


@pytest.hookimpl(trylast=True)
def pytest_exception_interact(call: pytest.CallInfo[object]) -> None:
    """After a failure has been reported, and looked into with --pdb, let go of what the test left open."""
    if call.excinfo is not None:
        drop_what_it_held(call.excinfo.value)


@pytest.fixture(scope="session")
def server() -> Generator[Server]:
    """A PostgreSQL for the whole run: found or started, by the same chain as `workerqueue dev`."""
    with postgres(settings=FAST) as running:
        yield running


@pytest.fixture(scope="session")
def database_url(server: Server) -> str:
    """Where that PostgreSQL is."""
    return server.url


@pytest.fixture
async def empty_schema(database_url: str) -> AsyncGenerator[str]:
    """A schema's name that nothing has used, dropped behind the test."""
    schema = f"test_{next(_numbers)}"
    yield schema
    connection = await asyncpg.connect(database_url)
    await connection.execute(f'drop schema if exists "{schema}" cascade')
    await connection.close()


@pytest.fixture
async def schema(database_url: str, empty_schema: str) -> str:
    """A migrated schema of the test's own."""
    await migrate(database_url, empty_schema)
    return empty_schema


@pytest.fixture
async def pool(database_url: str) -> AsyncGenerator[Pool]:
    """An application's own pool."""
    async with asyncpg.create_pool(database_url, min_size=0, max_size=10) as made:
        yield made


@pytest.fixture
async def sql(database_url: str, schema: str) -> AsyncGenerator[Connection]:
    """A connection whose search path is the test's schema: to see what the tables hold, and to write plain SQL."""
    connection = await asyncpg.connect(database_url, server_settings={"search_path": schema})
    yield connection
    await connection.close()


@pytest.fixture
async def other(database_url: str, schema: str) -> AsyncGenerator[Connection]:
    """A second connection like `sql`, for what happens at once."""
    connection = await asyncpg.connect(database_url, server_settings={"search_path": schema})
    yield connection
    await connection.close()


@pytest.fixture
async def door(database_url: str, schema: str, sql: Connection) -> AsyncGenerator[Database]:
    """The database of the test's schema, and a client there that works: `c1`, which has the number 1."""
    made = Database(database_url, schema)
    await made.jobs.register_client(sql, ClientRow("c1", "h", 1, [], []))
    yield made
    await made.close()


class MakeClient(Protocol):
    """Makes a client of the test's schema; see `Client` for the settings."""

    def __call__(
        self,
        workers: Workers | None = None,
        *,
        config: Config | None = None,
        database: str | Pool | None = None,
        schema: str | None = None,
        strict: bool = True,
        id: str | None = None,  # noqa: A002 - as the client has it
        concurrency: int | None = None,
        poll_interval: float = 0.2,
        stop_timeout: float = 10.0,
        heartbeat_interval: float = 3.0,
        lease_ttl: float = 10.0,
        insert_timeout: float = 10.0,
        middleware: Sequence[Middleware] = (),
    ) -> Client:
        """Make it."""
        ...


@pytest.fixture
async def make_client(database_url: str, schema: str) -> AsyncGenerator[MakeClient]:
    """A factory of clients, not a client: what is yielded inside a task group breaks at teardown."""
    made: list[Client] = []
    own_schema = schema

    def make(
        workers: Workers | None = None,
        *,
        config: Config | None = None,
        database: str | Pool | None = None,
        schema: str | None = None,
        strict: bool = True,
        id: str | None = None,  # noqa: A002 - as the client has it
        concurrency: int | None = None,
        poll_interval: float = 0.2,
        stop_timeout: float = 10.0,
        heartbeat_interval: float = 3.0,
        lease_ttl: float = 10.0,
        insert_timeout: float = 10.0,
        middleware: Sequence[Middleware] = (),
    ) -> Client:
        client = Client(
            database or database_url,
            config=config,
            workers=workers,
            schema=schema or own_schema,
            strict=strict,
            id=id,
            concurrency=concurrency,
            poll_interval=poll_interval,
            stop_timeout=stop_timeout,
            heartbeat_interval=heartbeat_interval,
            lease_ttl=lease_ttl,
            insert_timeout=insert_timeout,
            middleware=middleware,
        )
        made.append(client)
        return client

    yield make
    for client in made:
        await client.close()
