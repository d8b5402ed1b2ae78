"""The traps of storage that were met before, each held by what must stay true: design.md, section 4."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import date, timedelta
from importlib.resources import files

import asyncpg
import pytest

from tests.calls import HOT, RARE, Call
from tests.claiming import claim_jobs
from tests.client.proxy import proxy
from tests.waiting import PATIENCE, eventually
from workerqueue import Client, DatabaseUnavailableError, Fixed, InsertOpts, Job, JobArgs, JobState, Workers
from workerqueue.config import Config
from workerqueue.database import Connection, Database, Finished
from workerqueue.database import control as control_statements
from workerqueue.database import events as event_statements
from workerqueue.database import jobs as job_statements
from workerqueue.database import keys as key_statements
from workerqueue.database import queues as queue_statements
from workerqueue.database import schedules as schedule_statements
from workerqueue.database import state as state_statements
from workerqueue.database.statements import whole
from workerqueue.outcome import COMPLETED, Outcome


class Note(JobArgs):
    text: str = ""

    @classmethod
    def kind(cls) -> str:
        return "note"


@pytest.fixture
async def client(database_url: str, schema: str) -> AsyncGenerator[Client]:
    """A client that inserts."""
    async with Client(database_url, schema=schema, config=Config(), strict=False) as made:
        yield made


@pytest.fixture
async def tx(database_url: str, schema: str) -> AsyncGenerator[Connection]:
    """An application's own connection."""
    connection = await asyncpg.connect(database_url, server_settings={"search_path": schema})
    yield connection
    await connection.close()


# NOTIFY takes one lock of the whole database until the commit


class Ear:
    """Hears the notifications that a schema's statements send."""

    def __init__(self, connection: Connection, channel: str) -> None:
        self._connection = connection
        self._channel = channel
        self._heard: list[str] = []

    def hear(self, *notification: object) -> None:
        self._heard.append(str(notification[-1]))

    async def heard(self) -> list[str]:
        """Give everything that was sent since the last time: notifications arrive in the order of their commits."""
        await self._connection.execute("select pg_notify($1, 'last')", self._channel)

        async def last() -> bool:
            return "last" in self._heard

        await eventually(last)
        heard, self._heard = self._heard, []
        return heard[:-1]


@pytest.fixture
async def ear(sql: Connection, door: Database) -> AsyncGenerator[Ear]:
    """An ear on the channel of the test's schema."""
    made = Ear(sql, door.channel)
    await sql.add_listener(door.channel, made.hear)
    yield made
    await sql.remove_listener(door.channel, made.hear)


async def mark(door: Database, sql: Connection, pool: str, seconds: float = 60) -> None:
    """Say that a client waits for the jobs of a pool."""
    await door.jobs.mark_idle(sql, client="c1", pools=[pool], seconds=seconds)


InsertTx = Callable[[Client, Connection], Awaitable[object]]

IN_TRANSACTION: dict[str, InsertTx] = {
    "insert_tx": lambda client, tx: client.insert_tx(tx, Note()),
    "insert_many_tx": lambda client, tx: client.insert_many_tx(tx, [Note()] * 3),
}
in_transaction = pytest.mark.parametrize("insert", IN_TRANSACTION.values(), ids=IN_TRANSACTION.keys())


@in_transaction
async def test_a_callers_transaction_takes_the_lock_only_while_a_client_is_idle(
    client: Client, door: Database, sql: Connection, tx: Connection, ear: Ear, insert: InsertTx
) -> None:
    """With nobody marked, another pool marked or a mark run out, nothing is sent; else one notification a pool."""

    async def heard() -> list[str]:
        async with tx.transaction():
            await insert(client, tx)
            await insert(client, tx)
        return await ear.heard()

    assert await heard() == []
    await mark(door, sql, "other")
    assert await heard() == []
    await mark(door, sql, "default", seconds=-1)
    assert await heard() == []
    await mark(door, sql, "default")
    assert await heard() == ["default"]


@in_transaction
async def test_a_notification_is_sent_by_the_commit_and_not_before(
    client: Client, door: Database, sql: Connection, tx: Connection, ear: Ear, insert: InsertTx
) -> None:
    """Who is told finds the job; a transaction that is rolled back tells nobody."""
    await mark(door, sql, "default")
    transaction = tx.transaction()
    await transaction.start()
    await insert(client, tx)
    assert await ear.heard() == []
    await transaction.commit()
    assert await ear.heard() == ["default"]

    transaction = tx.transaction()
    await transaction.start()
    await insert(client, tx)
    await transaction.rollback()
    assert await ear.heard() == []


@pytest.mark.parametrize("opts", [InsertOpts(scheduled_at=60), InsertOpts(pending=True)], ids=["scheduled", "parked"])
async def test_a_job_that_cannot_run_yet_notifies_nobody(
    client: Client, door: Database, sql: Connection, ear: Ear, opts: InsertOpts
) -> None:
    """There is nothing to look for, by either statement that inserts."""
    await mark(door, sql, "default")
    await client.insert(Note(), opts)
    await client.insert_many([(Note(), opts)] * 2)
    assert await ear.heard() == []


async def test_promoting_notifies_only_while_a_client_is_idle(
    client: Client, door: Database, sql: Connection, ear: Ear
) -> None:
    """A scheduler that makes jobs available in batches sends nothing while everybody works."""

    async def heard() -> list[str]:
        await client.insert_many([(Note(), InsertOpts(scheduled_at=3600))] * 3)
        await sql.execute("update job set scheduled_at = now() where state = 'scheduled'")
        assert (await door.jobs.promote_due_jobs(sql, 10))[0] == 3
        return await ear.heard()

    assert await heard() == []
    await mark(door, sql, "default")
    assert await heard() == ["default"]


# What the schema is made of


async def test_the_path_has_no_triggers_functions_or_generalised_indexes(sql: Connection, schema: str) -> None:
    """Each would be paid for with every job: rows have three B-tree entries at most, and nothing fires.

    Those of a dynamic queue have one more, which their turn goes by.
    """
    triggers = (
        "select tgname from pg_trigger join pg_class on pg_class.oid = tgrelid where relnamespace = $1::regnamespace"
    )
    assert await sql.fetch(triggers, f'"{schema}"') == []
    assert await sql.fetch("select proname from pg_proc where pronamespace = $1::regnamespace", f'"{schema}"') == []
    indexes = await sql.fetch(
        """
        select indexrelid::regclass::text as name, amname
        from pg_index
        join pg_class on pg_class.oid = indexrelid
        join pg_am on pg_am.oid = relam
        where indrelid in ('job'::regclass, 'job_finalized'::regclass)
        """
    )
    assert {(each["name"], each["amname"]) for each in indexes} == {
        ("job_pkey", "btree"),
        ("job_ready", "btree"),
        ("job_due", "btree"),
        ("job_lane", "btree"),
        ("job_asked", "btree"),
        ("job_counted", "btree"),
        ("job_turn", "btree"),
        ("job_finalized_pkey", "btree"),
    }


async def test_numbers_that_grow_for_ever_have_64_bits(sql: Connection) -> None:
    """Ids and leases are bigint in both tables."""
    rows = await sql.fetch(
        """
        select attrelid::regclass::text || '.' || attname as name, format_type(atttypid, null) as type
        from pg_attribute
        where attrelid in ('job'::regclass, 'job_finalized'::regclass) and attname in ('id', 'lease')
        """
    )
    assert {row["name"] for row in rows} == {"job.id", "job.lease", "job_finalized.id"}
    assert {row["type"] for row in rows} == {"bigint"}


async def test_no_statement_calls_what_a_sharded_database_refuses(sql: Connection) -> None:
    """Every function that a claim, a write or a look calls is stable or immutable; only telling somebody is not."""
    volatile: dict[str, set[str]] = {}
    for each in files("workerqueue.database").joinpath("sql").iterdir():
        if not each.is_file():
            continue
        code = re.sub(r"--.*|'[^']*'", "", whole(each.name.removesuffix(".sql")))
        called = set(re.findall(r"\b([a-z_][a-z_0-9]*)\s*\(", code))
        rows = await sql.fetch("select proname from pg_proc where proname = any ($1) and provolatile = 'v'", called)
        volatile[each.name] = {row["proname"] for row in rows} - {"pg_notify"}
    assert {name: calls for name, calls in volatile.items() if calls} == {
        "lock_migrations.sql": {"pg_advisory_xact_lock"},
        # On no job's path, but for an insert that may be repeated: it draws the id that its key names.
        "list_days.sql": {"pg_relation_size"},
        "register_client.sql": {"set_config"},
        "insert_jobs_once.sql": {"nextval"},
    }


# The history: one level of partitions, which retention drops whole


async def finish(door: Database, sql: Connection, client: Client) -> int:
    """Have one job completed, and give its id."""
    inserted = await client.insert(Note())
    (job,) = (
        await claim_jobs(door.jobs, sql, lease=1, client="c1", number=1, wanted={"default": 1}, kinds=["note"])
    ).jobs
    await door.jobs.record_outcomes(sql, [Finished(job, COMPLETED)])
    return inserted.job.id


async def test_dropping_a_day_takes_its_jobs_and_no_others(client: Client, door: Database, sql: Connection) -> None:
    """Each day (UTC) is one plain table: what it held is gone with it, and all else is read as before."""
    today: date = await sql.fetchval("select (now() at time zone 'UTC')::date")
    yesterday = today - timedelta(days=1)
    await sql.execute("set time zone 'Pacific/Kiritimati'")  # where it is another day already
    for day in (yesterday, today):
        await door.jobs.make_partition(sql, day)
    kept = await finish(door, sql, client)
    await sql.execute(
        """
        insert into job_finalized (
            id, kind, pool, state, priority, attempt, max_attempts, timeout_seconds, created_at, scheduled_at,
            args, finalized_at
        )
        select -n, kind, pool, state, priority, attempt, max_attempts, timeout_seconds, created_at, scheduled_at,
               args, $1::date::timestamp at time zone 'UTC' + n * interval '1 day'
        from job_finalized, unnest('{0, 0.5, 0.99999}'::float8[]) as n
        """,
        yesterday,
    )
    live = (await client.insert(Note())).job.id
    assert await sql.fetchval(f"select count(*) from job_finalized_{yesterday:%Y%m%d}") == 3  # noqa: S608

    await sql.execute(f"drop table job_finalized_{yesterday:%Y%m%d}")

    rows = await sql.fetch("select id, state from job_all order by id")
    assert [tuple(row) for row in rows] == [(kept, "completed"), (live, "available")]
    kinds = await sql.fetch(
        "select relkind from pg_inherits join pg_class on oid = inhrelid where inhparent = 'job_finalized'::regclass"
    )
    assert {row["relkind"] for row in kinds} == {b"r"}  # a plain table, itself without parts


async def test_a_job_is_seen_once_wherever_it_lives(client: Client, door: Database, sql: Connection) -> None:
    """The view holds each job exactly once from its insert to its end, with what both tables know of it."""

    async def seen() -> list[tuple[object, ...]]:
        rows = await sql.fetch("select id, state, finalized_at is not null, output from job_all")
        return [tuple(row) for row in rows]

    job_id = (await client.insert(Note())).job.id
    assert await seen() == [(job_id, "available", False, None)]
    (job,) = (
        await claim_jobs(door.jobs, sql, lease=1, client="c1", number=1, wanted={"default": 1}, kinds=["note"])
    ).jobs
    assert await seen() == [(job_id, "running", False, None)]
    await door.jobs.record_outcomes(sql, [Finished(job, Outcome("completed", JobState.COMPLETED, output="1"))])
    assert await seen() == [(job_id, "completed", True, "1")]
    columns = await sql.fetch(
        "select attname from pg_attribute where attrelid = 'job_finalized'::regclass and attnum > 0"
    )
    shown = await sql.fetch("select attname from pg_attribute where attrelid = 'job_all'::regclass and attnum > 0")
    # Clients are shown by their ids, and a timeout as an interval.
    stored = {row["attname"] for row in columns} - {"client", "timeout_seconds"} | {"timeout"}
    assert {row["attname"] for row in shown} == stored


# A caller's codecs


Ways = Callable[[Client, Connection, Note, InsertOpts], Awaitable[object]]

WAYS: dict[str, Ways] = {
    "insert": lambda client, _, args, opts: client.insert(args, opts),
    "insert of callers who meet": lambda client, _, args, opts: _together(client, args, opts),
    "insert_kind": lambda client, _, args, opts: client.insert_kind("note", args.model_dump(), opts),
    "insert_many": lambda client, _, args, opts: client.insert_many([(args, opts)] * 2),
    "insert_tx": lambda client, tx, args, opts: client.insert_tx(tx, args, opts),
    "insert_many_tx": lambda client, tx, args, opts: client.insert_many_tx(tx, [(args, opts)] * 2),
}


async def _together(client: Client, args: Note, opts: InsertOpts) -> None:
    """Insert as callers do who come while another's insert is under way."""
    await asyncio.gather(*(client.insert(args, opts) for _ in range(3)))


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
async def test_codecs_on_a_callers_connections_change_nothing(
    database_url: str, schema: str, sql: Connection, way: Ways
) -> None:
    """JSON is stored and worked as it is, by every way in, where the caller's driver has codecs of its own for it."""

    async def with_codecs(connection: asyncpg.Connection[asyncpg.Record]) -> None:
        for name in ("json", "jsonb"):
            await connection.set_type_codec(name, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")

    worked: list[tuple[str, object]] = []
    workers = Workers()

    @workers.worker
    async def note(job: Job[Note]) -> list[str]:
        worked.append((job.args.text, job.metadata))
        return [job.args.text]

    opts = InsertOpts(metadata={"m": ['"', 1]}, tags=["t"], retry=Fixed(3), on_discard=Note())
    async with asyncpg.create_pool(database_url, min_size=0, max_size=8, init=with_codecs) as pool:
        client = Client(pool, schema=schema, workers=workers)
        async with pool.acquire() as tx, tx.transaction():
            await way(client, tx, Note(text='"☃'), opts)
        rows = await sql.fetch(
            "select args ->> 'text', metadata ->> 'm', retry ->> 'policy', on_discard ->> 'kind' from job"
        )
        await client.start()
        for n in range(1, len(rows) + 1):
            assert (await client.jobs.wait(n, PATIENCE)).output == ['"☃']
        await client.close()
    assert {tuple(row) for row in rows} == {('"☃', '["\\"", 1]', "fixed", "note")}
    assert worked == [('"☃', {"m": ['"', 1]})] * len(rows)


# A deadline on every call


CALLS = HOT | RARE
WITH_A_DEADLINE = (
    control_statements,
    event_statements,
    job_statements,
    key_statements,
    queue_statements,
    schedule_statements,
    state_statements,
)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_no_statement_waits_for_ever(
    database_url: str, schema: str, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    """On a connection from which nothing comes any more, each one ends with our error at its deadline."""
    for module in WITH_A_DEADLINE:
        monkeypatch.setattr(module, "CALL_TIMEOUT", 0.1)
    async with proxy(database_url) as network:
        door = Database(network.url, schema)
        async with door.dedicated() as connection:
            network.silent = True
            with pytest.raises(DatabaseUnavailableError):
                await call(door.jobs, connection)
            connection.terminate()
        await door.close()
