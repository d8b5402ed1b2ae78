"""The door to the catalog's own tables: making them, and reading their rows as typed values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

if TYPE_CHECKING:
    import asyncpg
    import asyncpg.pool

# In quotes, because only the stubs know these classes as generic.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
"""A connection of asyncpg, its own or a pool's."""

_SCHEMA = Path(__file__).with_name("schema.sql").read_text()


class Row(BaseModel):
    """A row read from a table; its fields are the columns that a statement selects."""

    model_config = ConfigDict(frozen=True)


R = TypeVar("R", bound=Row)


async def create(conn: Connection) -> None:
    """Create the schema `catalog` and its tables where they are missing."""
    async with conn.transaction():
        # `if not exists` alone fails when two processes start together.
        await conn.execute("select pg_advisory_xact_lock(hashtext('catalog.create'))")
        await conn.execute(_SCHEMA)


async def fetch_one(conn: Connection, row_type: type[R], statement: str, *values: object) -> R | None:
    """Run a statement and read its first row."""
    row = await conn.fetchrow(statement, *values)
    return None if row is None else row_type.model_validate(dict(row))


async def fetch_all(conn: Connection, row_type: type[R], statement: str, *values: object) -> list[R]:
    """Run a statement and read all its rows."""
    return [row_type.model_validate(dict(row)) for row in await conn.fetch(statement, *values)]


def json_text(value: object) -> str:
    """Write a value for a parameter of the form `$n::text::jsonb`; models are written by alias."""
    return to_json(value).decode()


def new_id(prefix: str) -> str:
    """Make up an id, such as `run_6f1c…`."""
    return f"{prefix}_{uuid4().hex}"
