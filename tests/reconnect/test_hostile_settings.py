"""Whatever defaults a role or a database has: the same results, or a refusal at start that names its cure."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.waiting import eventually
from workerqueue import Client, Fixed, InsertOpts, Job, JobArgs, JobState, Workers, migrate
from workerqueue.database import Database
from workerqueue.errors import ConfigError, DatabaseError, DatabaseUnavailableError

HOSTILE = {
    "serializable": {"default_transaction_isolation": "serializable"},
    "repeatable read": {"default_transaction_isolation": "repeatable read"},
    "deferrable": {"default_transaction_isolation": "serializable", "default_transaction_deferrable": "on"},
    "timeouts": {
        "statement_timeout": "50ms",
        "lock_timeout": "1ms",
        "idle_in_transaction_session_timeout": "50ms",
        "idle_session_timeout": "50ms",
    },
    "a search path of rubbish": {"search_path": "no_such_schema"},
    "tables and functions of our names": {"search_path": "evil, pg_catalog"},
    "time zone": {"timezone": "Pacific/Apia"},
    "dates": {"datestyle": "SQL, DMY", "intervalstyle": "sql_standard"},
    "text": {
        "bytea_output": "escape",
        "standard_conforming_strings": "off",
        "extra_float_digits": "-15",
        "client_encoding": "LATIN1",
        "array_nulls": "off",
    },
    "plans": {"plan_cache_mode": "force_custom_plan", "jit": "on", "jit_above_cost": "0", "enable_indexscan": "off"},
    "rows": {"row_security": "off", "transform_null_equals": "on", "synchronize_seqscans": "off"},
}

EVIL = """
create schema evil;
create table evil.job (x integer);
create table evil.client (x integer);
create table evil.idle (x integer);
create function evil.statement_timestamp() returns timestamptz language sql as $$ select 'epoch'::timestamptz $$;
create function evil.pg_notify(text, text) returns void language plpgsql as $$ begin raise 'evil'; end $$;
create function evil.make_interval(secs float8) returns interval language sql as $$ select interval '1 year' $$;
create function evil.array_append(integer[], integer) returns integer[] language sql as $$ select null::integer[] $$;
"""


class Told(JobArgs):
    text: str
    fails: bool = False

    @classmethod
    def kind(cls) -> str:
        return "told"


def telling() -> Workers:
    """A worker that gives back what it was told; one that is told to fails at its first attempt."""
    workers = Workers()

    @workers.worker
    async def tell(job: Job[Told]) -> dict[str, str]:
        if job.args.fails and job.attempt == 1:
            raise ValueError(job.args.text)
        return {"text": job.args.text}

    return workers


async def set_defaults(url: str, settings: dict[str, str]) -> None:
    """Make settings the defaults of a database."""
    connection = await asyncpg.connect(url)
    name = urlsplit(url).path[1:]
    for setting, value in settings.items():
        right = value if setting == "search_path" else f"'{value}'"
        await connection.execute(f"alter database {name} set {setting} = {right}")
    await connection.close()


async def until_completed(client: Client, job_id: int) -> Job[object]:
    """Wait until a job is completed."""

    async def look() -> Job[object] | None:
        job = await client.jobs.get(job_id)
        return job if job is not None and job.state is JobState.COMPLETED else None

    found = await eventually(look)
    assert found is not None
    return found


async def check_results(url: str) -> None:
    """Insert by every door, work it, and compare what comes out."""
    text = "Zoë 🐘 'quoted' \\ C:\\new"
    async with AsyncExitStack() as stack:
        await migrate(url)
        client = await stack.enter_async_context(Client(url, workers=telling(), poll_interval=0.2))
        await client.start()
        ids = [(await client.insert(Told(text=text))).job.id]
        ids += [each.job.id for each in await client.insert_many([Told(text=text)] * 3)]
        soon = InsertOpts(scheduled_at=timedelta(milliseconds=100))
        ids.append((await client.insert(Told(text=text), soon)).job.id)
        ids.append(
            (
                await client.insert(Told(text=text, fails=True), InsertOpts(retry=Fixed(timedelta(milliseconds=100))))
            ).job.id
        )
        async with client.transaction() as tx:
            ids.append((await client.insert_tx(tx, Told(text=text))).job.id)
            async with tx.transaction():
                ids += [each.job.id for each in await client.insert_many_tx(tx, [Told(text=text)] * 2)]
        for job_id in ids:
            job = await until_completed(client, job_id)
            assert job.output == {"text": text}
            assert job.finalized_at is not None
            assert timedelta(0) <= job.finalized_at - job.created_at < timedelta(minutes=1)
            assert job.attempted_by == [client.id] * job.attempt


@pytest.mark.parametrize("name", HOSTILE)
async def test_the_same_results_under_hostile_defaults(own_database: str, name: str) -> None:
    """Single, many, later, failing and transactional inserts give what they give anywhere."""
    connection = await asyncpg.connect(own_database)
    await connection.execute(EVIL)
    await connection.close()
    await set_defaults(own_database, HOSTILE[name])
    await check_results(own_database)


async def test_a_transaction_of_the_application_has_the_settings_of_its_role(own_database: str) -> None:
    """What our statements want is theirs alone; and the next statement of ours has it again."""
    await set_defaults(own_database, {"search_path": "mine", "default_transaction_isolation": "repeatable read"})
    await migrate(own_database)
    async with Client(own_database, workers=telling()) as client:
        for _ in range(2):
            async with client.transaction() as tx:
                assert await tx.fetchval("select current_setting('search_path')") == "mine"
                assert await tx.fetchval("select current_setting('transaction_isolation')") == "repeatable read"
                inserted = await client.insert_tx(tx, Told(text="x"))
            assert await client.jobs.get(inserted.job.id) is not None
    database = Database(own_database, "workerqueue")
    async with database.transaction():
        pass
    async with database.acquire() as connection:
        assert await connection.fetchval("select current_setting('search_path')") == "pg_catalog"
    await database.close()


@pytest.mark.parametrize("by_pool", [False, True], ids=["a URL", "a caller's pool"])
async def test_a_server_that_only_reads_is_refused_at_start(own_database: str, by_pool: bool) -> None:
    """The refusal says what it is and what to do; a start goes well as soon as that is done."""
    await migrate(own_database)
    await set_defaults(own_database, {"default_transaction_read_only": "on"})
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(asyncpg.create_pool(own_database, min_size=0)) if by_pool else None
        client = await stack.enter_async_context(Client(pool or own_database, workers=telling(), insert_timeout=3))
        with pytest.raises(DatabaseUnavailableError, match=r"takes no writes.*default_transaction_read_only = off"):
            await client.start()
        with pytest.raises(DatabaseUnavailableError, match="takes no writes"):
            await client.insert(Told(text="x"))
        connection = await asyncpg.connect(own_database, server_settings={"default_transaction_read_only": "off"})
        await connection.execute(
            f"alter database {urlsplit(own_database).path[1:]} reset default_transaction_read_only"
        )
        await connection.close()
        await client.start()
        await until_completed(client, (await client.insert(Told(text="x"))).job.id)


@pytest.mark.parametrize("own_database", ["SQL_ASCII", "LATIN1"], indirect=True)
async def test_a_database_that_cannot_hold_every_text_is_refused(own_database: str) -> None:
    """Before anything is made in it, with the cure."""
    with pytest.raises(ConfigError, match=r"encoding is \w+.*encoding 'UTF8'"):
        await migrate(own_database)
    async with asyncpg.create_pool(own_database, min_size=0) as pool:
        with pytest.raises(ConfigError, match=r"encoding is \w+.*encoding 'UTF8'"):
            await migrate(pool)


async def test_a_callers_transaction_keeps_its_own_settings(own_database: str) -> None:
    """An insert in it is as the transaction is: read-only refuses it, and nothing of the caller's is changed."""
    await migrate(own_database)
    connection = await asyncpg.connect(own_database, server_settings={"search_path": "nowhere"})
    async with Client(own_database, workers=telling()) as client:
        async with connection.transaction(isolation="serializable"):
            inserted = await client.insert_tx(connection, Told(text="x"))
            assert await connection.fetchval("select current_setting('search_path')") == "nowhere"
        with pytest.raises(DatabaseError, match="takes no writes"):
            async with connection.transaction(readonly=True):
                await client.insert_tx(connection, Told(text="x"))
        assert await client.jobs.get(inserted.job.id) is not None
    await connection.close()
