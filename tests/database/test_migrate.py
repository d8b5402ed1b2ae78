"""Migrations: up, down and where a schema is; two at once; names that are no schema's; the printed script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

import asyncpg
import pytest

from tests.waiting import PATIENCE
from workerqueue import ConfigError, InsertOpts, JobArgs, MigrationError, SchemaError, Workers, migrate
from workerqueue.client import Client
from workerqueue.database import Connection, Database, Migrations, Pool, migrations_script
from workerqueue.job import Job


class Note(JobArgs):
    text: str = ""

    @classmethod
    def kind(cls) -> str:
        return "note"


@pytest.fixture
async def admin(database_url: str) -> AsyncGenerator[Connection]:
    """A connection that belongs to no schema."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


MigrationsOf = Callable[[str], Migrations]


@pytest.fixture
async def migrations_of(database_url: str) -> AsyncGenerator[MigrationsOf]:
    """A factory of the migrations of a schema."""
    doors: list[Database] = []

    def make(schema: str) -> Migrations:
        doors.append(Database(database_url, schema))
        return Migrations(doors[-1])

    yield make
    for door in doors:
        await door.close()


async def shape(connection: Connection, schema: str) -> list[tuple[object, ...]]:
    """Describe every table, column, default, constraint and index of a schema, without its name."""
    rows = await connection.fetch(
        """
        select 'column' as what, table_name || '.' || column_name as name,
               concat_ws(' ', data_type, is_nullable, column_default, is_identity, identity_generation) as how
        from information_schema.columns where table_schema = $1
        union all
        select 'constraint', conrelid::regclass::text || ' ' || conname, pg_get_constraintdef(oid)
        from pg_constraint where connamespace = $1::regnamespace
        union all
        select 'index', indexname, indexdef from pg_indexes where schemaname = $1
        union all
        select 'view', viewname, definition from pg_views where schemaname = $1
        order by 1, 2, 3
        """,
        schema,
    )
    return [tuple(str(value).replace(schema, "…").replace('"…"', "…") for value in row) for row in rows]


@pytest.mark.req("D5")
async def test_up_down_and_up_again_end_where_up_does(
    migrations_of: MigrationsOf, empty_schema: str, admin: Connection
) -> None:
    """Down takes everything back but the record of migrations, and up makes the same tables again."""
    migrations = migrations_of(empty_schema)
    assert [step.applied_at for step in await migrations.status()] == [None]

    assert [step.version for step in await migrations.up()] == [1]
    made = await shape(admin, empty_schema)
    assert [step.applied_at is not None for step in await migrations.status()] == [True]
    assert await migrations.up() == []
    assert await shape(admin, empty_schema) == made

    assert [step.version for step in await migrations.down()] == [1]
    left = await admin.fetch("select table_name from information_schema.tables where table_schema = $1", empty_schema)
    assert [row["table_name"] for row in left] == ["migration"]
    assert [step.applied_at for step in await migrations.status()] == [None]
    assert await migrations.down() == []

    await migrations.up()
    assert await shape(admin, empty_schema) == made


async def test_migrations_go_to_a_version(migrations_of: MigrationsOf, empty_schema: str) -> None:
    """`to` says where to stop, both ways; there is no going to a version that does not exist."""
    migrations = migrations_of(empty_schema)
    assert await migrations.up(to=0) == []
    assert [step.version for step in await migrations.up(to=1)] == [1]
    assert await migrations.down(to=1) == []
    assert [step.version for step in await migrations.down(to=0)] == [1]
    for move in (migrations.up, migrations.down):
        with pytest.raises(MigrationError, match="there is no version 99; there are 0 to 1"):
            await move(to=99)


@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
@pytest.mark.parametrize("count", [2, 8])
async def test_several_that_migrate_at_once_apply_each_step_once(
    database_url: str, empty_schema: str, count: int, isolation: str
) -> None:
    """One of them applies, the others find nothing left to do, whatever isolation the server defaults to."""
    url = f"{database_url}?default_transaction_isolation={isolation.replace(' ', '%20')}"
    applied = await asyncio.gather(*(migrate(url, empty_schema) for _ in range(count)))
    assert sorted(len(steps) for steps in applied) == [0] * (count - 1) + [1]


async def test_migrating_takes_a_pool_and_leaves_it_open(pool: Pool, empty_schema: str) -> None:
    """The caller's pool works on."""
    assert len(await migrate(pool, empty_schema)) == 1
    assert await pool.fetchval("select 1") == 1


async def test_two_schemas_of_one_database_are_strangers(database_url: str, schema: str) -> None:
    """A schema's name is the caller's choice, mixed case too, and jobs stay in theirs."""
    other = f"Mixed_{schema}"
    try:
        await migrate(database_url, other)
        async with Client(database_url, schema=schema) as first, Client(database_url, schema=other) as second:
            inserted = await first.insert(Note(), InsertOpts(priority=7))
            there = await second.jobs.get(inserted.job.id)
            assert there is None
            assert isinstance(await first.jobs.get(inserted.job.id), Job)
    finally:
        connection = await asyncpg.connect(database_url)
        await connection.execute(f'drop schema if exists "{other}" cascade')
        await connection.close()


HOSTILE = [
    "",
    " ",
    'a"b',
    "a'b",
    'x"; drop schema public cascade; --',
    "a;b",
    "a b",
    "a.b",
    "a-b",
    "1a",
    "é",
    "schéma",
    "%",
    "%s",
    "$1",
    "{schema}",
    "a\0",
    "a\n",
    "x" * 64,
]


@pytest.mark.req("S-2")
@pytest.mark.parametrize("name", HOSTILE)
async def test_a_name_that_is_no_plain_identifier_is_refused(database_url: str, name: str) -> None:
    """Neither client nor migration takes it, before anything is sent."""
    with pytest.raises(ConfigError, match="schema: expected a letter or underscore"):
        Client(database_url, schema=name)
    with pytest.raises(ConfigError, match="schema: expected a letter or underscore"):
        await migrate(database_url, name)
    with pytest.raises(ConfigError, match="schema: expected a letter or underscore"):
        migrations_script(name)


async def test_a_name_of_63_characters_works_end_to_end(database_url: str, admin: Connection) -> None:
    """The longest name PostgreSQL keeps is migrated, and its notifications have a channel that is short enough."""
    name = "s" * 63
    workers = Workers()

    @workers.worker
    async def note(job: Job[Note]) -> None: ...

    try:
        await migrate(database_url, name)
        async with Client(database_url, schema=name, workers=workers, poll_interval=60) as client:
            await client.start()
            inserted = await client.insert(Note())
            assert (await client.jobs.wait(inserted.job.id, PATIENCE)).state.is_final
    finally:
        await admin.execute(f'drop schema if exists "{name}" cascade')


async def test_the_printed_script_makes_what_migrating_makes(
    migrations_of: MigrationsOf, schema: str, admin: Connection
) -> None:
    """Run by hand, it gives the same tables and records its versions, so that nothing is left to migrate."""
    by_hand = f"{schema}_by_hand"
    try:
        await admin.execute(migrations_script(by_hand))
        expected = await shape(admin, schema)
        assert [
            tuple(str(value).replace(by_hand, "…") for value in row) for row in await shape(admin, by_hand)
        ] == expected
        assert await migrations_of(by_hand).up() == []
        await migrations_of(by_hand).check()
    finally:
        await admin.execute(f'drop schema if exists "{by_hand}" cascade')


async def test_the_printed_script_is_all_or_nothing(schema: str, admin: Connection) -> None:
    """Run where the tables are already, it fails and changes nothing."""
    before = await shape(admin, schema)
    with pytest.raises(asyncpg.DuplicateObjectError):
        await admin.execute(migrations_script(schema))
    await admin.execute("rollback")
    assert await shape(admin, schema) == before


async def test_a_schema_newer_than_the_library_is_left_alone(
    migrations_of: MigrationsOf, schema: str, admin: Connection
) -> None:
    """Neither up nor down touches what it does not know, and the error says what to do."""
    await admin.execute(f"insert into {schema}.migration (version, name) values (999, 'future')")  # noqa: S608
    migrations = migrations_of(schema)
    for move in (migrations.up, migrations.down):
        with pytest.raises(MigrationError, match=r"at version 999, newer than .*: upgrade the library"):
            await move()


async def test_a_schema_that_is_not_migrated_is_named_with_its_cure(
    database_url: str, migrations_of: MigrationsOf, empty_schema: str
) -> None:
    """Insert, start, get and wait raise `SchemaError`, whether schema or tables are missing."""
    workers = Workers()

    @workers.worker
    async def note(job: Job[Note]) -> None: ...

    cure = rf"run `workerqueue migrate up --schema {empty_schema}`, or await migrate\(database, schema='{empty_schema}'"
    async with Client(database_url, schema=empty_schema, workers=workers) as client:
        for _ in range(2):
            with pytest.raises(SchemaError, match=cure):
                await client.insert(Note())
            with pytest.raises(SchemaError, match=cure):
                await client.start()
            with pytest.raises(SchemaError, match=cure):
                await client.jobs.get(1)
            await migrations_of(empty_schema).up(to=0)
