"""A database of the test's own, whose defaults it may make hostile; servers that it may kill."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.reconnect.servers import OwnServer
from workerqueue.database import Connection
from workerqueue.embedded.account import account
from workerqueue.embedded.home import thrown_away

_numbers = itertools.count(1)


@pytest.fixture
async def admin(database_url: str) -> AsyncGenerator[Connection]:
    """A connection to the server's first database."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def own_database(admin: Connection, database_url: str, request: pytest.FixtureRequest) -> AsyncGenerator[str]:
    """The URL of a fresh database, of the encoding that the test asks for or UTF8."""
    encoding: str = getattr(request, "param", "UTF8")
    name = f"own_{next(_numbers)}"
    locale = "" if encoding == "UTF8" else "lc_collate 'C' lc_ctype 'C'"
    await admin.execute(f"create database {name} template template0 encoding '{encoding}' {locale}")
    yield urlsplit(database_url)._replace(path=f"/{name}").geturl()
    await admin.execute(f"drop database {name} with (force)")


@pytest.fixture(scope="module")
def folder() -> Generator[Path]:
    """A folder that a server's account can reach."""
    with thrown_away(account()) as home:
        yield home.path


@pytest.fixture(scope="module")
def own_server(folder: Path) -> Generator[OwnServer]:
    """A server that a test may kill and start again."""
    server = OwnServer(folder / "own")
    server.start()
    yield server
    server.stop()
