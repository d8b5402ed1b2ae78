"""The plans of the statements that a working client runs: by their indexes, whatever the table holds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib.resources import files
from typing import NamedTuple

import asyncpg
import pytest
import pytest_asyncio

from tests.calls import HOT, NOW, RARE
from tests.plans import Plan, Prepared, fill, prepare, without_indexes
from workerqueue import migrate
from workerqueue.database import Connection, Database
from workerqueue.database.statements import read, whole

# One table of 1,000,000 rows for all tests of a state, and so one loop for all tests.
pytestmark = pytest.mark.asyncio(loop_scope="module")


class Promise(NamedTuple):
    """What the head of a statement says about its plan."""

    indexes: frozenset[str]
    reads_whole: tuple[str, ...]


def promise(name: str) -> Promise:
    """Read it."""
    text = read("sql", f"{name}.sql")
    stands_on = " ".join(re.findall(r"^-- Stands on: ([^.:]*)", text, re.MULTILINE))
    indexes = re.findall(
        r"job_ready|job_due|job_turn|job_lane|job_counted|job_asked|queue_barred|insert_key_old|job_key_ttl", stands_on
    )
    if "primary key" in stands_on:
        indexes += [
            f"{table}_pkey"
            for table in re.findall(
                r"\b(job_finalized|job_key|job|idle|insert_key|dynamic_queue|queue|gate)(?:'s| and)", stands_on
            )
        ]
    tables = {
        "the live table": "job",
        "all of idle": "idle",
        "all of queue": "queue",
        "dynamic_queue": "dynamic_queue",
    }
    reads = re.findall(
        r"^-- Reads (the live table|all of idle|all of queue|dynamic_queue)( twice)?", text, re.MULTILINE
    )
    whole = [tables[each] for each, twice in reads for _ in range(2 if twice else 1)]
    return Promise(frozenset(indexes), tuple(whole))


# The states of the table

ANALYSE = "analyze job, idle, job_finalized, insert_key, dynamic_queue, queue, gate"


async def leave_empty(connection: Connection) -> None:
    """Never used, never analysed."""


async def fill_and_analyse(connection: Connection) -> None:
    """1,000,000 jobs and 5,000 idle marks, all known to the planner."""
    await connection.execute("alter table job set unlogged")
    await without_indexes(connection, fill(connection, 1_000_000))
    await add_others(connection)
    await connection.execute(ANALYSE)


async def make_ready(connection: Connection) -> None:
    """300,000 jobs of one pool, and every one of them ready: what a claim may take is most of the table."""
    await connection.execute("alter table job set unlogged")
    await without_indexes(connection, fill(connection, 300_000, pools=1, all_in="available"))
    await add_others(connection)
    await connection.execute(ANALYSE)


async def outgrow(connection: Connection) -> None:
    """Analysed while empty, then filled."""
    await connection.execute(ANALYSE)
    await fill(connection, 100_000)
    await add_others(connection)


async def change(connection: Connection) -> None:
    """Analysed while all jobs were scheduled for a time far off; most of what is there has come since."""
    await fill(connection, 20_000, all_in="scheduled")
    await connection.execute(ANALYSE)
    await fill(connection, 100_000)
    await add_others(connection)


async def drain(connection: Connection) -> None:
    """Analysed while full, then emptied."""
    await outgrow(connection)
    await connection.execute(ANALYSE)
    for name in ("job", "idle", "dynamic_queue", "queue", "gate"):
        await connection.execute(f"delete from {name}")  # noqa: S608 - ours


async def add_others(connection: Connection) -> None:
    """Fill the other tables: marks of 1,000 clients, and finalized jobs with and without a day's table.

    And jobs of dynamic queues, jobs in a thousand lanes, and what was said of queues at run time, which is of others.
    """
    await connection.execute(
        """
        insert into idle (pool, client, until)
        select 'p' || n % 5, 'client ' || n, statement_timestamp() + '1 minute' from generate_series(1, 5000) as n;
        insert into job_finalized (
            id, kind, queue, pool, state, priority, attempt, max_attempts, timeout_seconds,
            created_at, scheduled_at, args, finalized_at
        )
        select -n, 'k1', null, 'p1', 'completed', 1, 1, 3, 60,
               now(), now(), '{}', now() - make_interval(days => n % 2)
        from generate_series(1, 10000) as n;
        insert into dynamic_queue (name, jobs, most, waiting)
        select 'q' || n, array[n * 7], 1, n % 2 = 0 from generate_series(0, 4999) as n;
        insert into job (kind, pool, state, queue, scheduled_at)
        select 'k' || n % 20, 'p' || n % 5, 'waiting', 'q' || n % 5000, statement_timestamp() - n * interval '1 s'
        from generate_series(1, 20000) as n;
        insert into job (kind, pool, lane, scheduled_at)
        select 'k' || n % 20, 'p' || n % 5, n % 50 || chr(31) || 'k' || n % 20 || chr(31) || n % 1000,
               statement_timestamp() - n * interval '1 s'
        from generate_series(1, 20000) as n;
        insert into queue (name, paused_at, max_workers)
        select 'other ' || n, case when n % 100 = 0 then statement_timestamp() end, 10
        from generate_series(1, 1000) as n;
        insert into gate (name, started, starts)
        select 'queue:other ' || n, array[statement_timestamp()], array[n] from generate_series(1, 20000) as n;
        insert into insert_key (insert_id, job, created_at)
        select lpad(to_hex(n), 32, '0')::uuid, case n % 3 when 0 then -n else n end,
               now() - make_interval(hours => n % 48)
        from generate_series(1, 10000) as n;
        insert into job_key (key, job, ttl_seconds)
        select 'k' || n, case n % 3 when 0 then -n else n end, case when n % 50 = 0 then 60 end
        from generate_series(1, 10000) as n
        """
    )


STATES = {
    "empty": leave_empty,
    "full": fill_and_analyse,
    "ready": make_ready,
    "outgrown": outgrow,
    "changed": change,
    "drained": drain,
}


class Table(NamedTuple):
    """A schema whose tables are in some state."""

    state: str
    database: Database
    url: str
    planned_before: dict[str, Prepared]
    """Statements planned by a connection of ours before the first job came."""


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=STATES)
async def table(request: pytest.FixtureRequest, database_url: str) -> AsyncGenerator[Table]:
    """A schema in one of the states, which it keeps: autovacuum leaves it alone, and tests roll back."""
    state: str = request.param
    schema = f"test_plans_{state}"
    await migrate(database_url, schema)
    admin = await asyncpg.connect(database_url, server_settings={"search_path": schema})
    for name in ("job", "idle", "job_finalized_default", "insert_key", "job_key", "dynamic_queue", "queue", "gate"):
        await admin.execute(f"alter table {name} set (autovacuum_enabled = off)")
    database = Database(database_url, schema)
    await database.jobs.make_partition(admin, NOW.date())
    await admin.execute(
        "insert into client (id, host, pid, pools, kinds) select 'c' || n, 'h', n, '{}', '{}'"
        " from generate_series(1, 1000) as n"
    )
    async with database.dedicated() as early:
        planned = {name: await prepare(early, database.jobs, call) for name, call in HOT.items()}
        for each in planned.values():
            await each.explain()
        await STATES[state](admin)
        yield Table(state, database, database_url, planned)
    await database.close()
    await admin.execute(f"drop schema {schema} cascade")
    await admin.close()


# The connections: settings decide about plans, too


@asynccontextmanager
async def of_ours(table: Table) -> AsyncGenerator[Connection]:
    """Open a connection as a loop of the engine holds it."""
    async with table.database.dedicated() as connection:
        yield connection


@asynccontextmanager
async def of_a_caller(table: Table, plan_cache_mode: str) -> AsyncGenerator[Connection]:
    """Open a connection as an application does, planning anew for each execution or once for all."""
    connection = await asyncpg.connect(table.url, server_settings={"plan_cache_mode": plan_cache_mode})
    yield connection
    await connection.close()


Connecting = Callable[[Table], AbstractAsyncContextManager[Connection]]

CONNECTIONS: dict[str, Connecting] = {
    "ours": of_ours,
    "a caller's, planned anew": partial(of_a_caller, plan_cache_mode="force_custom_plan"),
    "a caller's, planned once": partial(of_a_caller, plan_cache_mode="force_generic_plan"),
}
by_any_connection = pytest.mark.parametrize("connecting", CONNECTIONS.values(), ids=CONNECTIONS.keys())


PAGES = dict.fromkeys(
    [
        *["claim_jobs", "claim_chosen", "choose_jobs", "note_starts", "record_outcomes", "record_turns", "hand_over"],
        *["insert_jobs", "insert_jobs_once", "find_inserted", "promote_due_jobs"],
        *["take_keys", "find_keys", "give_keys", "cancel_jobs"],
    ],
    5_000,
) | dict.fromkeys(
    [
        "find_attempt",
        "fail_job",
        "complete_job",
        "update_job",
        "insert_job",
        "replace_job",
        "find_key",
        "has_work",
        "release_job",
        "get_job",
        "mark_idle",
        "hold_gates",
    ],
    200,
)
"""How many pages a statement may touch, called as above; 1,000,000 rows have 17,000, and 9,000 in their indexes."""


# The tests


@pytest.mark.parametrize("name", HOT)
@by_any_connection
async def test_a_statement_keeps_to_what_its_head_says(table: Table, connecting: Connecting, name: str) -> None:
    """It uses the indexes it stands on, and reads no table whole unless it says so."""
    async with connecting(table) as connection:
        plan = await (await prepare(connection, table.database.jobs, HOT[name])).explain()
    promised = promise(name)
    if table.state == "empty" and connecting is not of_ours:
        # Reading a table without a page is right; it is planned again when it has some.
        assert set(plan.read_whole) - set(promised.reads_whole) <= await without_pages(table)
    else:
        assert_kept(promised, plan)


@pytest.mark.parametrize("name", HOT)
async def test_a_plan_made_while_the_table_was_empty_is_kept_without_harm(table: Table, name: str) -> None:
    """A connection of ours plans once: what it planned before the first job came is right for all that come."""
    assert_kept(promise(name), await table.planned_before[name].explain())


async def without_pages(table: Table) -> set[str]:
    """Name the tables that hold nothing."""
    connection = await asyncpg.connect(table.url)
    rows = await connection.fetch(
        "select relname from pg_class where relnamespace = to_regnamespace($1) and relkind in ('r', 'p')"
        " and pg_relation_size(oid) = 0",
        table.database.schema,
    )
    await connection.close()
    return {row["relname"] for row in rows}


def assert_kept(promised: Promise, plan: Plan) -> None:
    """Compare a plan to what its statement promises."""
    of_days = {"job_finalized_pkey" for each in plan.indexes if re.fullmatch(r"job_finalized_\w+_pkey", each)}
    assert promised.indexes <= plan.indexes | of_days, plan.text
    # As many rows as queues were paused or changed, and as there are subscribers.
    read_whole = [each for each in plan.read_whole if each not in ("queue", "subscriber")]
    assert Counter(read_whole) <= Counter(promised.reads_whole), plan.text


@pytest.mark.parametrize("table", ["full", "ready"], indirect=True)
@by_any_connection
@pytest.mark.parametrize(("name", "most"), PAGES.items(), ids=PAGES.keys())
async def test_a_statement_touches_what_it_needs_of_a_million_rows(
    table: Table, connecting: Connecting, name: str, most: int
) -> None:
    """What it does depends on the size of its batch and not on that of the table."""
    async with connecting(table) as connection:
        statement = await prepare(connection, table.database.jobs, HOT[name])
        plan = await run_and_take_back(connection, statement)
        if plan.pages >= most:  # what a session reads of catalogs, it reads once
            plan = await run_and_take_back(connection, statement)
    assert 0 < plan.pages < most, plan.text


async def run_and_take_back(connection: Connection, statement: Prepared) -> Plan:
    """Run a statement in a transaction that is rolled back."""
    transaction = connection.transaction()
    await transaction.start()
    plan = await statement.run()
    await transaction.rollback()
    return plan


async def test_every_statement_of_a_working_client_is_held() -> None:
    """A statement that is new is held here, too; what runs once in a while, or in a migration, is not."""
    migrations = re.compile(r"\w*_migrations?|create_\w+")
    on_tables = {
        each.name.removesuffix(".sql")
        for each in files("workerqueue.database").joinpath("sql").iterdir()
        if each.is_file() and "{schema}." in whole(each.name.removesuffix(".sql"))
    }
    assert {name for name in on_tables if not migrations.fullmatch(name)} == {*HOT, *RARE}
