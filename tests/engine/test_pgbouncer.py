"""Through PgBouncer in transaction mode: the same results, nothing left in its sessions, and polling alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator
from datetime import timedelta

import asyncpg
import pytest

from tests.client.proxy import proxy
from tests.conftest import MakeClient
from tests.engine.jobs import Other, Recorder, Work, until_none_live, until_state, within
from tests.pgbouncer import PgBouncer, pgbouncer
from tests.waiting import eventually, lateness
from workerqueue import (
    Client,
    ConfigError,
    Fixed,
    InsertOpts,
    Job,
    JobCancel,
    JobSnooze,
    JobState,
    Workers,
    current_client,
    migrate,
)
from workerqueue.database import Connection, Database, listening
from workerqueue.database.session import has_own_session, share_sessions
from workerqueue.engine import notifier
from workerqueue.errors import DatabaseError

KEPT_BY_THE_POOLER = {"application_name", "client_encoding", "DateStyle", "TimeZone", "standard_conforming_strings"}
"""Settings that PgBouncer knows of: it gives each of its clients its own."""

DEFAULTS = """
    select current_setting('enable_seqscan'), current_setting('plan_cache_mode'),
           current_setting('synchronous_commit'), current_setting('jit')
"""

OLD_AND_NEW = pytest.mark.parametrize("statements", [0, 100], ids=["no prepared statements", "prepared statements"])


@pytest.fixture
def bouncer(database_url: str) -> Generator[PgBouncer]:
    """A pooler with two sessions that keeps no prepared statements."""
    with pgbouncer(database_url) as running:
        yield running


def workers() -> Workers:
    """Make workers that end in every way: by `n`, well, after a retry, after a snooze, cancelled, discarded."""
    made = Workers()

    @made.worker
    async def work(job: Job[Work]) -> str:
        if job.args.n == 1 and job.attempt == 1:
            raise ValueError("once more")
        if job.args.n == 2 and "snoozed" not in seen:
            seen.add("snoozed")
            raise JobSnooze(timedelta(0))
        if job.args.n == 3:
            raise JobCancel("not wanted")
        if job.args.n == 4:
            raise ValueError("never")
        if job.args.n == 5:
            async with current_client().transaction() as tx:
                await current_client().insert_tx(tx, Other(n=5))
        return "done"

    @made.worker
    async def other(job: Job[Other]) -> None: ...

    seen: set[str] = set()
    return made


async def life(client: Client, sql: Connection) -> list[tuple[object, ...]]:
    """Insert in every way and work all of it; give what is then stored of each job."""
    at_once = InsertOpts(retry=Fixed(timedelta(0)), max_attempts=2)
    await client.start()
    await asyncio.gather(*(client.insert(Work(n=n), at_once) for n in range(6)))
    await client.insert_many([Work(n=n) for n in range(6, 600)])
    await client.insert_kind("work", {"n": 600}, InsertOpts(tags=["a", "b"], metadata={"by": "name"}))
    await client.insert(Work(n=601), InsertOpts(scheduled_at=timedelta(seconds=0.1)))
    async with client.transaction() as tx:
        await client.insert_many_tx(tx, [Work(n=602), Work(n=603)])
    parked = await client.insert(Work(n=604), InsertOpts(pending=True))
    await client.jobs.release(parked.job.id)
    await until_none_live(sql)
    await client.stop()
    rows = await sql.fetch(
        "select kind, args::text, state, attempt, tags, metadata::text, output::text, jsonb_array_length(errors)"
        " from job_finalized order by kind, (args ->> 'n')::integer"
    )
    return [tuple(row) for row in rows]


@OLD_AND_NEW
async def test_a_client_does_through_it_what_it_does_without(
    make_client: MakeClient, sql: Connection, database_url: str, statements: int
) -> None:
    """Inserts of every form, retries, snoozes, cancels, discards and follow-ups end alike, and the client stops."""
    with pgbouncer(database_url, statements=statements) as bouncer:
        through = await life(make_client(workers(), database=bouncer.url), sql)
    await sql.execute("truncate job_finalized")
    assert through == await life(make_client(workers()), sql)
    assert len(through) == 606


@OLD_AND_NEW
async def test_statements_are_prepared_where_the_pooler_keeps_them(
    make_client: MakeClient, sql: Connection, database_url: str, statements: int
) -> None:
    """There they are parsed once, as without a pooler; elsewhere none is ever prepared by a name."""
    with pgbouncer(database_url, statements=statements, sessions=1) as bouncer:
        await make_client(database=bouncer.url).insert(Work())
        other = await asyncpg.connect(bouncer.url, statement_cache_size=0)
        names = [row["name"] for row in await other.fetch("select name from pg_prepared_statements")]
        await other.close()
    ours = [name for name in names if name]
    assert bool(ours) == bool(statements), names


@OLD_AND_NEW
async def test_migrations_run_through_it(database_url: str, empty_schema: str, statements: int) -> None:
    """Several processes at once, on fewer sessions than processes: one applies the steps, the others find them done."""
    with pgbouncer(database_url, statements=statements) as bouncer:
        applied = await asyncio.gather(*(migrate(bouncer.url, empty_schema) for _ in range(4)))
    assert sorted(map(bool, applied)) == [False, False, False, True]


@OLD_AND_NEW
@pytest.mark.parametrize("sessions", [1, 2])
async def test_another_application_finds_its_sessions_as_they_were(
    make_client: MakeClient, sql: Connection, database_url: str, sessions: int, statements: int
) -> None:
    """No setting, no statement and no channel of ours is left in the pooler's sessions, while we work and after."""
    left: list[asyncpg.Record] = []
    with pgbouncer(database_url, sessions=sessions, statements=statements) as bouncer:
        client = make_client(workers(), database=bouncer.url)
        others = [await asyncpg.connect(bouncer.url, statement_cache_size=0) for _ in range(sessions)]
        await client.start()
        for _ in range(2):
            await client.insert_many([Work()] * 100)
            await client.insert(Work())
            await until_none_live(sql)
            for each in others:  # all sessions there are, since each transaction holds one
                await each.execute("begin")
            for each in others:
                left += await each.fetch(
                    "select name, setting from pg_settings where source = 'session' and not name = any ($1::text[])"
                    " union all select 'channel', pg_listening_channels()"
                    " union all select 'statement', name from pg_prepared_statements"
                    " where name not like 'PGBOUNCER%' and name <> ''",
                    sorted(KEPT_BY_THE_POOLER),
                )
                assert await each.fetchrow(DEFAULTS) == await sql.fetchrow(DEFAULTS)
            for each in others:
                await each.execute("commit")
        await client.stop()
        for each in others:
            await each.close()
    assert left == []


async def test_the_application_can_go_by_its_name(make_client: MakeClient, sql: Connection, bouncer: PgBouncer) -> None:
    """The sessions bear the client's name, as they do without a pooler."""
    client = make_client(database=bouncer.url, id="by-its-name")
    await client.insert(Work())
    seen = await sql.fetchval(
        "select count(*) from pg_stat_activity where application_name = 'workerqueue by-its-name'"
    )
    assert seen == 1


@pytest.mark.req("K19")
async def test_where_nothing_is_delivered_a_worker_polls_and_nobody_is_told(
    make_client: MakeClient, sql: Connection, bouncer: PgBouncer, caplog: pytest.LogCaptureFixture
) -> None:
    """It says so once, with the cure, marks itself idle nowhere, and starts what comes within the poll interval."""
    client = make_client(workers(), database=bouncer.url, poll_interval=0.2)
    recorder = Recorder(client)
    await client.start()

    async def told() -> bool:
        return bool(warnings(caplog))

    await eventually(told)
    async with lateness() as late:
        for _ in range(5):
            inserted = await client.insert(Work())
            await recorder.until(inserted.job.id, "completed")
            assert await sql.fetchval("select count(*) from idle") == 0
    waits = await sql.fetch("select extract(epoch from attempted_at - created_at)::float8 as wait from job_finalized")
    assert max(row["wait"] for row in waits) < 0.2 * 1.1 + 1 + late()
    (said,) = warnings(caplog)
    assert "direct URL" in said


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the engine warned of."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "workerqueue.engine" and record.levelno == logging.WARNING
    ]


async def test_a_worker_listens_again_when_that_works(
    make_client: MakeClient,
    sql: Connection,
    database_url: str,
    bouncer: PgBouncer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What its URL leads to changes from the pooler to PostgreSQL: from then on it is told of jobs, and says so."""
    monkeypatch.setattr(notifier, "TRY_AGAIN", 0.1)
    caplog.set_level(logging.INFO, "workerqueue.engine")
    async with proxy(bouncer.url) as changing:
        client = make_client(workers(), database=changing.url, poll_interval=60)
        await client.start()

        async def told() -> bool:
            return bool(warnings(caplog))

        await eventually(told)
        changing.lead_to(database_url)

        async def is_marked() -> bool:
            marks: int = await sql.fetchval("select count(*) from idle")
            return marks > 0

        await eventually(is_marked)
        await make_client().insert(Work())
        await until_none_live(sql)
        await client.close()
    assert [record.getMessage() for record in caplog.records].count("Notifications arrive again") == 1


@pytest.mark.parametrize("sessions", [1, 2, 3])
@pytest.mark.parametrize("in_turn", [False, True], ids=["the last used first", "in turn"])
async def test_sharing_is_seen_however_sessions_are_handed_out(database_url: str, sessions: int, in_turn: bool) -> None:
    """With few sessions or many, the last used first or one after the other."""
    with pgbouncer(database_url, sessions=sessions, in_turn=in_turn) as bouncer:
        clients = [await asyncpg.connect(bouncer.url, statement_cache_size=0) for _ in range(3)]
        for each in clients[:sessions]:  # so that there are as many as there can be
            await each.execute("begin")
        for each in clients[:sessions]:
            await each.execute("commit")
        assert await share_sessions(clients[0], clients[1])
        assert not await has_own_session(clients[0])
        for each in clients:
            await each.close()


async def test_sharing_that_was_not_seen_is_noticed_by_what_does_not_arrive(
    bouncer: PgBouncer, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pooler that hides what it is takes LISTEN and delivers nothing: the client's own notification is missed."""

    async def seems_not(*_: object) -> bool:
        return False

    monkeypatch.setattr(listening, "share_sessions", seems_not)
    monkeypatch.setattr(listening, "CHECK_TIMEOUT", 0.5)
    hints: list[str | None] = []
    database = Database(bouncer.url, schema)
    await database.listen(hints.append)
    assert (hints, database.hears) == ([], False)
    await database.close()


async def test_a_pooler_in_session_mode_delivers(make_client: MakeClient, sql: Connection, database_url: str) -> None:
    """There LISTEN is worth its while: with a poll of a minute, a job starts at once."""
    with pgbouncer(database_url, mode="session", sessions=20) as bouncer:
        client = make_client(workers(), database=bouncer.url, poll_interval=60)
        await client.start()

        async def is_marked() -> bool:
            marks: int = await sql.fetchval("select count(*) from idle")
            return marks > 0

        await eventually(is_marked)
        await make_client(database=bouncer.url).insert(Work())
        await until_none_live(sql)  # long before the next poll
        assert await sql.fetchval("select count(*) from job_finalized where state = 'completed' and attempt = 1") == 1
        await client.close()


@OLD_AND_NEW
async def test_a_callers_pool_may_lead_to_it(
    make_client: MakeClient, sql: Connection, database_url: str, statements: int
) -> None:
    """Made with `statement_cache_size=0` it does all that a direct one does, and stays as it was."""
    with pgbouncer(database_url, statements=statements) as bouncer:
        async with asyncpg.create_pool(bouncer.url, min_size=0, max_size=8, statement_cache_size=0) as pool:
            through = await life(make_client(workers(), database=pool), sql)
            async with pool.acquire() as connection:
                assert await connection.fetchval("select current_setting('enable_seqscan')") == "on"
    await sql.execute("truncate job_finalized")
    assert through == await life(make_client(workers()), sql)


async def test_a_callers_pool_that_prepares_is_refused_where_statements_are_lost(
    make_client: MakeClient, bouncer: PgBouncer
) -> None:
    """Inserting and starting are refused at once, with the cure, instead of failing now and then."""
    async with asyncpg.create_pool(bouncer.url, min_size=0, max_size=8) as pool:
        client = make_client(workers(), database=pool)
        with pytest.raises(ConfigError, match="statement_cache_size=0"):
            await client.insert(Work())
        with pytest.raises(ConfigError, match="statement_cache_size=0"):
            await client.start()


async def test_a_callers_pool_that_prepares_is_taken_where_statements_are_kept(
    make_client: MakeClient, sql: Connection, database_url: str
) -> None:
    """A PgBouncer that keeps prepared statements needs nothing of the caller."""
    with pgbouncer(database_url, statements=100) as bouncer:
        async with asyncpg.create_pool(bouncer.url, min_size=0, max_size=8) as pool:
            assert len(await life(make_client(workers(), database=pool), sql)) == 606


async def test_a_callers_pool_that_prepares_is_taken_in_session_mode(
    make_client: MakeClient, sql: Connection, database_url: str
) -> None:
    """There a session is the client's own, and its statements stay."""
    with pgbouncer(database_url, mode="session", sessions=20) as bouncer:
        async with asyncpg.create_pool(bouncer.url, min_size=0, max_size=8) as pool:
            assert len(await life(make_client(workers(), database=pool), sql)) == 606


async def test_statements_lost_in_a_callers_own_transaction_name_the_cure(
    make_client: MakeClient, bouncer: PgBouncer
) -> None:
    """A connection that the client never saw before can't be refused ahead; the error says what to change."""
    client = make_client()
    preparing, other = await asyncpg.connect(bouncer.url), await asyncpg.connect(bouncer.url, statement_cache_size=0)
    async with preparing.transaction():
        await client.insert_tx(preparing, Work())
    async with other.transaction():  # holds the session that knows the statement
        with pytest.raises(DatabaseError, match="statement_cache_size=0"):
            async with preparing.transaction():
                await client.insert_tx(preparing, Work())
    await preparing.close()
    await other.close()


async def test_work_goes_on_after_the_pooler_was_started_again(
    make_client: MakeClient, sql: Connection, bouncer: PgBouncer
) -> None:
    """A job under way when it ends is completed once it is back, and later ones run."""
    started, gate = asyncio.Event(), asyncio.Event()
    made = Workers()

    @made.worker
    async def work(job: Job[Work]) -> None:
        started.set()
        await gate.wait()

    client = make_client(made, database=bouncer.url)
    await client.start()
    first = await client.insert(Work())
    await within(started)
    bouncer.stop()
    gate.set()
    bouncer.start()
    second = await make_client(database=bouncer.url).insert(Work())
    for inserted in (first, second):
        await until_state(make_client(), inserted.job.id, JobState.COMPLETED)
    await client.close()
    assert {row["attempt"] for row in await sql.fetch("select attempt from job_finalized")} == {1}


async def test_who_wants_to_hear_of_all_processes_is_told_that_nothing_arrives(
    make_client: MakeClient, bouncer: PgBouncer
) -> None:
    """A subscription that would never hear anything can't be entered; the cure is named."""
    with pytest.raises(ConfigError, match="give a direct URL"):
        await make_client(database=bouncer.url).subscribe(cluster=True).__aenter__()
