"""Incidents of migrations that were cut off half way."""

from __future__ import annotations

import pytest

from workerqueue import migrate
from workerqueue.database import Database, Migration, Migrations, Pool
from workerqueue.database.migrate import all_migrations
from workerqueue.errors import DatabaseError

DIE = "select pg_terminate_backend(pg_backend_pid())"


def statements(sql: str) -> list[str]:
    """Split a step, which holds no function."""
    return "\n".join(line.split("--")[0] for line in sql.splitlines()).rstrip().removesuffix(";").split(";")


CUTS = [
    (step.version, direction, cut)
    for step in all_migrations()
    for direction in ("up", "down")
    for cut in range(len(statements(step.sql(direction, "x"))) + 1)
]


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_attn_734_a_kill_at_any_statement_of_a_migration_leaves_nothing_half_done(
    database_url: str, empty_schema: str, pool: Pool, monkeypatch: pytest.MonkeyPatch, direction: str
) -> None:
    """The schema is as it was before, and the same migration then goes through."""
    real = Migration.sql
    door = Database(database_url, empty_schema)
    migrations = Migrations(door)
    for version, _, cut in [each for each in CUTS if each[1] == direction]:
        await migrations.up(version if direction == "down" else version - 1)
        before = await tables(pool, empty_schema)

        def cut_off(step: Migration, way: str, schema: str, version: int = version, cut: int = cut) -> str:
            text = real(step, way, schema)
            if (step.version, way) != (version, direction):
                return text
            parts = statements(text)
            return ";".join([*parts[:cut], DIE, *parts[cut:]])

        with monkeypatch.context() as patch:
            patch.setattr(Migration, "sql", cut_off)
            with pytest.raises(DatabaseError):
                await (migrations.up(version) if direction == "up" else migrations.down(version - 1))
        assert await tables(pool, empty_schema) == before
    await migrate(database_url, empty_schema)
    await Migrations(door).check()
    await door.close()


async def tables(pool: Pool, schema: str) -> list[str]:
    """Name all that a schema holds."""
    rows = await pool.fetch(
        "select relname::text from pg_class where relnamespace = to_regnamespace($1) order by 1", schema
    )
    return [row[0] for row in rows]
