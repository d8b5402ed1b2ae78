"""Making the catalog's tables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
from asyncpg import Connection, Record

from tasks import database

TABLES = "select count(*) from pg_tables where schemaname = 'catalog'"


@asynccontextmanager
async def new_database(url: str) -> AsyncGenerator[str]:
    """Make a database without the catalog; gives its name."""
    name = f"catalog_{uuid4().hex}"
    connection: Connection[Record] = await asyncpg.connect(url)
    try:
        await connection.execute(f"create database {name}")
        yield name
        await connection.execute(f"drop database {name} with (force)")
    finally:
        await connection.close()


async def create(url: str, name: str) -> int:
    """Make the tables over a connection of its own; gives how many there are."""
    connection: Connection[Record] = await asyncpg.connect(url, database=name)
    try:
        await database.create(connection)
        tables: int = await connection.fetchval(TABLES)
    finally:
        await connection.close()
    return tables


async def test_created_at_once_and_again(database_url: str) -> None:
    """Processes that start together make the tables together, and doing it again changes nothing."""
    async with new_database(database_url) as name:
        counts = await asyncio.gather(*(create(database_url, name) for _ in range(4)))
        assert {*counts, await create(database_url, name)} == {22}
