"""Migrations: numbered SQL, up and down, one transaction each, safe when several processes run them at once."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Final

import asyncpg

from workerqueue.database.caller import Connection
from workerqueue.database.callers_pool import Pool
from workerqueue.database.connection import Database
from workerqueue.database.driver_errors import in_our_words
from workerqueue.database.statements import fill, quoted_schema, read, statement
from workerqueue.errors import MigrationError, SchemaError

_FILE: Final = re.compile(r"(\d{3})_(\w+)\.up\.sql")

LOCK_TIMEOUT: Final = 60.0
"""Seconds a migration waits for another process that migrates."""

STEP_TIMEOUT: Final = 600.0
"""Seconds one step may take."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema, as the files have it and as the database has it."""

    version: int
    name: str
    applied_at: datetime | None = None

    def sql(self, direction: str, schema: str) -> str:
        """Give the step's SQL: `direction` is `up` or `down`."""
        return fill(read("migrations", f"{self.version:03}_{self.name}.{direction}.sql"), schema)


@cache
def all_migrations() -> tuple[Migration, ...]:
    """Every step there is, in order."""
    names = sorted(file.name for file in files("workerqueue.database").joinpath("migrations").iterdir())
    steps = [match for match in map(_FILE.fullmatch, names) if match]
    return tuple(Migration(int(match[1]), match[2]) for match in steps)


class Migrations:
    """Moves one schema up and down, and says where it is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def up(self, to: int | None = None) -> list[Migration]:
        """Apply every step up to a version (default: the last), and give those that were applied.

        Raises:
            MigrationError: If there is no such version, or the schema is newer than this library.
        """
        target = _last_version() if to is None else _existing(to)
        async with self._alone() as connection:
            applied = await self._applied(connection)
            self._refuse_newer(applied)
            steps = [step for step in all_migrations() if step.version not in applied and step.version <= target]
            for step in steps:
                await connection.execute(step.sql("up", self._database.schema), timeout=STEP_TIMEOUT)
                await connection.execute(self._statement("record_migration"), step.version, step.name)
            times = await self._applied(connection)
        return [replace(step, applied_at=times[step.version]) for step in steps]

    async def down(self, to: int | None = None) -> list[Migration]:
        """Take back every step above a version (default: one step), and give those that were taken back.

        At version 0 nothing is left in the schema but the table that records migrations.

        Raises:
            MigrationError: If there is no such version.
        """
        async with self._alone() as connection:
            applied = await self._applied(connection)
            self._refuse_newer(applied)
            target = max(max(applied, default=0) - 1, 0) if to is None else _existing(to)
            steps = [step for step in reversed(all_migrations()) if step.version in applied and step.version > target]
            for step in steps:
                await connection.execute(step.sql("down", self._database.schema), timeout=STEP_TIMEOUT)
                await connection.execute(self._statement("forget_migration"), step.version)
        return steps

    async def status(self) -> list[Migration]:
        """Give every step, with the time it was applied where it was."""
        async with self._database.acquire() as connection:
            with in_our_words(self._database.schema):
                applied = await self._applied(connection)
        return [Migration(step.version, step.name, applied.get(step.version)) for step in all_migrations()]

    async def check(self) -> None:
        """Check that the schema is at the version this library needs.

        Raises:
            SchemaError: If it is older or not there; with the cure. A newer one is taken: it can be read.
        """
        pending = [step for step in await self.status() if step.applied_at is None]
        if pending:
            schema = self._database.schema
            raise SchemaError(
                f"schema {schema!r} lacks {len(pending)} of {len(all_migrations())} migrations: "
                f"run `workerqueue migrate up --schema {schema}`, or await migrate(database, schema={schema!r})"
            )

    @asynccontextmanager
    async def _alone(self) -> AsyncGenerator[Connection]:
        """Open a transaction in which no other process migrates this schema, its own table made."""
        schema = self._database.schema
        async with self._database.acquire() as connection:
            with in_our_words(schema):
                async with connection.transaction(isolation="read_committed"):
                    await connection.execute(self._statement("lock_migrations"), schema, timeout=LOCK_TIMEOUT)
                    await connection.execute(self._statement("create_schema"))
                    await connection.execute(self._statement("create_migration_table"))
                    yield connection

    async def _applied(self, connection: Connection) -> dict[int, datetime]:
        """Give the versions that are applied; none where the table is not there."""
        try:
            rows = await connection.fetch(self._statement("list_migrations"))
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
            return {}
        return {row["version"]: row["applied_at"] for row in rows}

    def _statement(self, name: str) -> str:
        return statement(name, self._database.schema)

    def _refuse_newer(self, applied: dict[int, datetime]) -> None:
        newest = max(applied, default=0)
        if newest > _last_version():
            raise MigrationError(
                f"schema {self._database.schema!r} is at version {newest}, newer than this library knows "
                f"({_last_version()}): upgrade the library"
            )


def _last_version() -> int:
    return all_migrations()[-1].version


def _existing(version: int) -> int:
    if version != 0 and version not in {step.version for step in all_migrations()}:
        raise MigrationError(f"there is no version {version}; there are 0 to {_last_version()}")
    return version


def migrations_script(schema: str) -> str:
    """Give one script that does what `Migrations.up` does to an empty schema."""
    parts = [
        f"-- workerqueue: every migration of schema {quoted_schema(schema)}, in one transaction.",
        "begin;",
        f"{_code('create_schema', schema)};",
        f"{_code('create_migration_table', schema)};",
    ]
    for step in all_migrations():
        recorded = _code("record_migration", schema).replace("$1", str(step.version)).replace("$2", f"'{step.name}'")
        parts += [step.sql("up", schema).rstrip(), f"{recorded};"]
    return "\n\n".join([*parts, "commit;"]) + "\n"


def _code(name: str, schema: str) -> str:
    """Give a statement without its head comment, which speaks of parameters."""
    lines = statement(name, schema).splitlines()
    return "\n".join(line for line in lines if not line.startswith("--"))


async def migrate(database: str | Pool, schema: str = "workerqueue") -> list[Migration]:
    """Bring a schema up to date, and give the steps that were applied; safe from several processes at once.

    Args:
        database: A URL, or a pool, which stays open.
        schema: The schema to hold the tables; it is created if it is not there.
    """
    door = Database(database, schema, name="workerqueue migrate")
    await door.open()
    try:
        return await Migrations(door).up()
    finally:
        await door.close()
