"""One bad row never harms another: rows as a producer in plain SQL, a restored backup or an old version leaves them."""

from __future__ import annotations

from contextlib import suppress

import asyncpg
import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import Recorder, Work
from tests.waiting import PATIENCE, eventually
from workerqueue import InsertOpts, Job, JobState, Workers
from workerqueue.database import Connection

DEEP = "[" * 3000 + "]" * 3000

BAD_ROWS = {
    "args of the wrong type": "insert into job (kind, args) values ('work', '{\"n\": \"many\"}') returning id",
    "args that are no object": "insert into job (kind, args) values ('work', '[1, 2]') returning id",
    "args that are null": "insert into job (kind, args) values ('work', 'null') returning id",
    "args with an integer of 4000 digits": (
        f"insert into job (kind, args) values ('work', '{{\"n\": 1{'0' * 4000}}}') returning id"  # noqa: S608
    ),
    "args nested too deep": (
        f"insert into job (kind, args) values ('work', '{{\"n\": {DEEP}}}') returning id"  # noqa: S608
    ),
    "metadata nested too deep": (
        f"insert into job (kind, metadata) values ('work', '{{\"m\": {DEEP}}}') returning id"  # noqa: S608
    ),
    "a history that is none": "insert into job (kind, errors) values ('work', '[{\"at\": 1}]') returning id",
    "a history that is no list": "insert into job (kind, errors) values ('work', '{\"a\": 1}') returning id",
    "a policy that is none": "insert into job (kind, retry) values ('work', '{\"policy\": \"never\"}') returning id",
    "a timeout longer than Python's": (
        "insert into job (kind, timeout) values ('work', '2000000000 days') returning id"
    ),
    "a creation beyond the year 9999": (
        "insert into job (kind, created_at) values ('work', '20000-01-01') returning id"
    ),
    "due since before the year 1": "insert into job (kind, scheduled_at) values ('work', '0100-01-01 BC') returning id",
    "due since ever": "insert into job (kind, scheduled_at) values ('work', '-infinity') returning id",
    "a follow-up that is no object": (
        "insert into job (kind, max_attempts, on_discard) values ('work', 1, '[1]') returning id"
    ),
    "a follow-up without a kind": (
        "insert into job (kind, max_attempts, on_discard) values ('work', 1, '{\"queue\": \"q\"}') returning id"
    ),
    "a follow-up of the wrong types": (
        "insert into job (kind, max_attempts, on_discard) "
        'values (\'work\', 1, \'{"kind": "other", "priority": "top"}\') returning id'
    ),
    "an id that a finalized job has": (
        "with first as (insert into job_finalized (id, kind, queue, pool, state, priority, attempt, max_attempts,"
        " timeout, created_at, scheduled_at, args) values (1000000, 'work', 'default', 'default', 'completed', 1, 1, 3,"
        " '60 s', now(), now(), '{}'))"
        " insert into job (id, kind, max_attempts) values (1000000, 'work', 1) returning id"
    ),
    "tags that are null": "insert into job (kind, tags) values ('work', '{null}') returning id",
    "a lone surrogate's escape for a queue": "insert into job (kind, queue) values ('work', '\\ud800') returning id",
}


@pytest.mark.parametrize("insert", BAD_ROWS.values(), ids=BAD_ROWS.keys())
async def test_a_bad_row_harms_no_other_job_of_its_batch(make_client: MakeClient, sql: Connection, insert: str) -> None:
    """The jobs claimed with it are completed by a client that goes on, and nothing of it stays `running`."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        if job.args.n == 0:
            raise ValueError("failed")

    client = make_client(workers)
    async with sql.transaction():
        await client.insert_many_tx(sql, [Work(n=1)] * 3)
        bad = 0
        # A CHECK that refuses the row is as good.
        with suppress(asyncpg.IntegrityConstraintViolationError, asyncpg.DataError, asyncpg.SyntaxOrAccessError):
            async with sql.transaction():
                bad = await sql.fetchval(insert)
        await client.insert_many_tx(sql, [Work(n=1)] * 3)
    await client.start(queues={"default": 7})
    await until_completed(sql, 6, besides=bad)
    await client.insert_many([Work(n=2)] * 4)
    await until_completed(sql, 10, besides=bad)

    async def none_runs() -> bool:
        return not await sql.fetchval("select count(*) from job where state = 'running'")

    await eventually(none_runs)


async def until_completed(sql: Connection, count: int, *, besides: int) -> None:
    """Wait until so many jobs are completed, not counting one."""

    async def look() -> bool:
        done: int = await sql.fetchval(
            "select count(*) from job_finalized where state = 'completed' and id <> $1", besides
        )
        return done == count

    await eventually(look)


async def test_args_that_do_not_fit_their_class_discard_their_job_at_once(
    make_client: MakeClient, sql: Connection
) -> None:
    """One start, a history that names the path and repeats no value, and the worker is not called."""
    called: list[int] = []
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        called.append(job.id)

    bad: int = await sql.fetchval(
        "insert into job (kind, args, max_attempts) values ('work', '{\"n\": \"my secret\"}', 5) returning id"
    )
    async with make_client(workers) as client:
        await client.start()
        job = await client.jobs.wait(bad, PATIENCE)

    assert (job.state, job.attempt, called) == (JobState.DISCARDED, 1, [])
    assert job.errors[0].type == "ArgsError"
    assert job.errors[0].error.startswith("args.n: ")
    assert "secret" not in await sql.fetchval("select errors::text from job_finalized where id = $1", bad)
    assert job.args == {"n": "my secret"}


@pytest.mark.req("C24")
async def test_a_row_inserted_in_plain_sql_is_worked_by_its_defaults(make_client: MakeClient, sql: Connection) -> None:
    """`insert into job (kind, args)` is enough for a job, which the poll finds without a notification."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> int:
        return job.args.n

    async with make_client(workers) as client:
        await client.start()
        job_id: int = await sql.fetchval("insert into job (kind, args) values ('work', '{\"n\": 7}') returning id")
        job = await client.jobs.wait(job_id, PATIENCE)

    assert (job.state, job.output, job.queue, job.pool) == (JobState.COMPLETED, 7, "default", "default")
    assert (job.priority, job.max_attempts, job.timeout.total_seconds()) == (1, 3, 60.0)


@pytest.mark.req("A56o")
async def test_kinds_that_nobody_here_works_wait_untouched(make_client: MakeClient, sql: Connection) -> None:
    """A client claims only kinds it has workers for; names that look like code are names."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None: ...

    strangers = [
        "os.system",
        "__import__('os')",
        "tests.engine.jobs.Work",
        "Work",
        "WORK",
        "work ",
        "wor_",
        "%",
        "héllo",
    ]
    before = await sql.fetch("insert into job (kind) select unnest($1::text[]) returning job.*", strangers)
    async with make_client(workers) as client:
        events = Recorder(client)
        await client.start()
        known = await client.insert(Work(), InsertOpts(priority=100))
        await client.jobs.wait(known.job.id, PATIENCE)

    after = await sql.fetch("select * from job order by id")
    assert [tuple(row) for row in after] == [tuple(row) for row in before]
    assert {event.kind for event in events.events} == {"work"}
