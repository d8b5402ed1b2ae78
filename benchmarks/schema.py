"""Schemas: a fresh migrated one per case, and what their tables hold."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import asyncpg

from benchmarks.connection import Connection, statement
from workerqueue import migrate

CHUNK: Final = 1_000_000
"""Rows that one statement copies: a transaction of ten million would hold back vacuum for as long as it takes."""


@dataclass(frozen=True)
class Table:
    """A table that holds rows, or one partition of it, as SQL names it."""

    name: str
    bytes: int


def new_name() -> str:
    """Make up a schema's name that nothing has used."""
    return f"bench_{secrets.token_hex(6)}"


@asynccontextmanager
async def fresh_schema(url: str, connection: Connection) -> AsyncGenerator[str]:
    """Migrate a new schema, give its name, and drop it in the end."""
    name = new_name()
    await migrate(url, name)
    try:
        yield name
    finally:
        await drop(connection, name)


async def drop(connection: Connection, schema: str) -> None:
    """Drop a schema and write out what it left."""
    await connection.execute(f"drop schema if exists {schema} cascade")
    await checkpoint(connection)


async def checkpoint(connection: Connection) -> None:
    """Write out what is dirty, so that the next case does not."""
    with suppress(asyncpg.InsufficientPrivilegeError):  # on a server that is not ours
        await connection.execute("checkpoint")


async def tables(connection: Connection, schema: str) -> list[Table]:
    """Give the tables of a schema, whatever the library calls them."""
    return [Table(*row) for row in await connection.fetch(statement("tables_of_schema"), schema)]


async def bytes_per_finished_job(connection: Connection, schema: str, jobs: int) -> float:
    """Give the size on disk, indexes included, of the tables that hold jobs after all were worked."""
    held, size = 0, 0
    for table in await tables(connection, schema):
        rows = int(await connection.fetchval(f"select count(*) from {table.name}"))  # noqa: S608 - from the catalog
        # Smaller ones are bookkeeping. The live table is empty by now.
        if rows >= jobs / 10:
            held += rows
            size += table.bytes
    return size / held if held else 0.0


async def table_of_job(connection: Connection, schema: str, job: int) -> str:
    """Find the table in which a job lies."""
    for table in await tables(connection, schema):
        columns = {row["name"] for row in await connection.fetch(statement("columns_of_table"), table.name)}
        if not {"id", "kind", "args"} <= columns:
            continue
        if await connection.fetchval(f"select exists (select from {table.name} where id = $1)", job):  # noqa: S608 - from the catalog
            return table.name
    raise LookupError(f"job {job} is in no table of {schema}")


async def copy_job(connection: Connection, schema: str, job: int, times: int, changed: Mapping[str, str]) -> None:
    """Copy the row of a job, wherever the library keeps it, under new ids.

    Args:
        connection: Where.
        schema: The library's schema.
        job: The job's id.
        times: How many copies.
        changed: Columns that differ, as SQL over `copy.n`, which counts from 1.
    """
    table = await table_of_job(connection, schema, job)
    columns = [row["name"] for row in await connection.fetch(statement("columns_of_table"), table)]
    values = ", ".join({"id": "1000000000 + copy.n", **changed}.get(name, f"job.{name}") for name in columns)
    sql = (
        f"insert into {table} ({', '.join(columns)}) overriding system value "  # noqa: S608 - from the catalog
        f"select {values} from {table} as job, generate_series($2::bigint, $3::bigint) as copy (n) where job.id = $1"
    )
    for start in range(1, times + 1, CHUNK):
        await connection.execute(sql, job, start, min(start + CHUNK - 1, times))
