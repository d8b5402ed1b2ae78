"""The statements on the path of a job: what a claim takes, what an outcome writes, what falls due."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, Sequence
from datetime import date, timedelta
from typing import NamedTuple

import asyncpg
import pytest

from tests.claiming import claim_jobs
from tests.waiting import PATIENCE
from workerqueue import InsertOpts, JobArgs, JobState
from workerqueue.client import Client
from workerqueue.config import Config
from workerqueue.database import Claimed, ClientRow, Connection, Database, Finished, Mark
from workerqueue.outcome import COMPLETED, INTERRUPTED, Outcome

_leases = itertools.count(2**62)


class Note(JobArgs):
    text: str = ""

    @classmethod
    def kind(cls) -> str:
        return "note"


class Sorry(JobArgs):
    text: str = ""

    @classmethod
    def kind(cls) -> str:
        return "sorry"


@pytest.fixture
async def client(database_url: str, schema: str) -> AsyncGenerator[Client]:
    """A client that inserts."""
    async with Client(database_url, schema=schema, config=Config(), strict=False) as made:
        yield made


async def claim(
    door: Database, connection: Connection, wanted: dict[str, int] | None = None, kinds: Sequence[str] = ("note",)
) -> list[Claimed]:
    """Claim as a producer does, under a lease of its own."""
    return (
        await claim_jobs(
            door.jobs,
            connection,
            lease=next(_leases),
            client="c1",
            number=1,
            wanted=wanted or {"default": 100},
            kinds=kinds,
        )
    ).jobs


async def live(sql: Connection, job_id: int) -> asyncpg.Record:
    """Read a live row."""
    row = await sql.fetchrow("select * from job where id = $1", job_id)
    assert row is not None
    return row


async def test_a_claim_takes_each_pools_first_jobs_in_order(client: Client, door: Database, sql: Connection) -> None:
    """By priority, due time and id within each pool, at most as many as asked, from the pools asked for only."""
    past = await sql.fetchval("select statement_timestamp() - interval '1 hour'")
    plan = {
        "a": [(5, None), (1, None), (1, None), (1, past), (-3, None)],
        "b": [(1, None), (0, None)],
        "c": [(1, None)],
    }
    made: dict[tuple[str, int], int] = {}
    for queue, jobs in plan.items():
        for place, (priority, due) in enumerate(jobs):
            opts = InsertOpts(queue=queue, priority=priority, scheduled_at=due)
            made[queue, place] = (await client.insert(Note(), opts)).job.id

    claimed = await claim(door, sql, {"a": 3, "b": 5, "empty": 4})
    assert [job.id for job in claimed if job.pool == "a"] == [made["a", 4], made["a", 3], made["a", 1]]
    assert [job.id for job in claimed if job.pool == "b"] == [made["b", 1], made["b", 0]]
    assert len(claimed) == 5
    rest = await claim(door, sql, {"a": 100})
    assert [job.id for job in rest] == [made["a", 2], made["a", 0]]
    assert await claim(door, sql, {"a": 100, "b": 100}) == []
    assert (await live(sql, made["c", 0]))["state"] == "available"


async def test_a_claim_binds_its_lease_and_counts_the_start(client: Client, door: Database, sql: Connection) -> None:
    """Every row of a claim has its lease, one more attempt, the client's id and the database's time."""
    inserted = await client.insert(Note(text="hi"), InsertOpts(tags=["x"], metadata={"m": [1]}))
    before = await sql.fetchval("select statement_timestamp()")
    number = await door.jobs.register_client(sql, ClientRow("me", "h", 1, [], []))
    (job,) = (
        await claim_jobs(
            door.jobs, sql, lease=2**63 - 1, client="me", number=number, wanted={"default": 9}, kinds=["note"]
        )
    ).jobs
    row = await live(sql, inserted.job.id)
    assert (row["state"], row["lease"], row["attempt"], row["client"]) == ("running", 2**63 - 1, 1, number)
    assert before <= row["attempted_at"] <= await sql.fetchval("select statement_timestamp()")
    made = job.to_job(json.loads(job.args))
    assert (job.lease, made.id, made.attempt, made.attempted_by) == (2**63 - 1, inserted.job.id, 1, ["me"])
    assert (made.args, made.tags, made.metadata, made.state) == ({"text": "hi"}, ["x"], {"m": [1]}, JobState.RUNNING)


async def test_a_job_names_all_clients_that_started_it(client: Client, door: Database, sql: Connection) -> None:
    """Oldest first, the newest hundred."""
    inserted = await client.insert(Note())
    numbers = [await door.jobs.register_client(sql, ClientRow(name, "h", 1, [], [])) for name in ("a", "b")]
    expected: list[str] = []
    for turn in range(103):
        name, number = ("a", numbers[0]) if turn % 3 else ("b", numbers[1])
        (job,) = (
            await claim_jobs(
                door.jobs, sql, lease=next(_leases), client=name, number=number, wanted={"default": 1}, kinds=["note"]
            )
        ).jobs
        expected = [*expected, name][-100:]
        assert job.to_job(None).attempted_by == expected
        await door.jobs.record_outcomes(sql, [Finished(job, INTERRUPTED)])
    stored = await client.jobs.get(inserted.job.id)
    assert stored is not None
    assert stored.attempted_by == expected


@pytest.mark.parametrize(
    ("wanted", "kinds"), [({"default": 5}, ()), ({}, ("note",)), ({"other": 5}, ("note",)), ({"default": 0}, ("note",))]
)
async def test_a_claim_of_nothing_takes_nothing(
    client: Client, door: Database, sql: Connection, wanted: dict[str, int], kinds: tuple[str, ...]
) -> None:
    """No kinds, no pools, another pool or no free worker: no row changes."""
    inserted = await client.insert(Note())
    assert (
        (await claim_jobs(door.jobs, sql, lease=next(_leases), client="c1", number=1, wanted=wanted, kinds=kinds)).jobs
    ) == []
    assert (await live(sql, inserted.job.id))["attempt"] == 0


async def test_a_claim_takes_only_what_is_available_and_known(client: Client, door: Database, sql: Connection) -> None:
    """Scheduled, parked and foreign jobs stay, whatever their place in the order."""
    await client.insert(Note(), InsertOpts(priority=-5, scheduled_at=60))
    await client.insert(Note(), InsertOpts(priority=-5, pending=True))
    await client.insert(Sorry(), InsertOpts(priority=-5))
    ready = await client.insert(Note())
    assert [job.id for job in await claim(door, sql)] == [ready.job.id]


async def test_two_claims_at_once_share_the_jobs_and_wait_for_nothing(
    client: Client, door: Database, sql: Connection, database_url: str
) -> None:
    """A claim passes over rows that another holds, without waiting for its commit."""
    ids = [result.job.id for result in await client.insert_many([Note()] * 10)]
    other = await asyncpg.connect(database_url)
    async with sql.transaction():
        first = await claim(door, sql, {"default": 4})
        async with asyncio.timeout(PATIENCE):
            second = await claim(door, other, {"default": 100})
    await other.close()
    assert [job.id for job in first] == ids[:4]
    assert [job.id for job in second] == ids[4:]


class Written(NamedTuple):
    """An outcome, and the row it leaves behind."""

    outcome: Outcome
    state: str
    attempt: int
    delay: timedelta | None
    errors: int
    output: str | None = None


ENTRY = json.dumps({"attempt": 1, "type": "ValueError", "error": "x", "trace": None, "client": "c1"})
HOUR = timedelta(hours=1)

OUTCOMES = {
    "completed": Written(COMPLETED, "completed", 1, None, 0),
    "completed with an output": Written(
        Outcome("completed", JobState.COMPLETED, output='{"a": 1}'), "completed", 1, None, 0, '{"a": 1}'
    ),
    "completed with null": Written(
        Outcome("completed", JobState.COMPLETED, output="null"), "completed", 1, None, 0, "null"
    ),
    "cancelled": Written(Outcome("cancelled", JobState.CANCELLED, error=ENTRY), "cancelled", 1, None, 1),
    "discarded": Written(Outcome("discarded", JobState.DISCARDED, error=ENTRY), "discarded", 1, None, 1),
    "failed": Written(Outcome("failed", JobState.RETRYABLE, HOUR, error=ENTRY), "retryable", 1, HOUR, 1),
    "snoozed": Written(Outcome("snoozed", JobState.SCHEDULED, HOUR, counts=False), "scheduled", 0, HOUR, 0),
    "interrupted": Written(INTERRUPTED, "available", 0, None, 0),
}
LEFT_ALONE = (
    "id kind queue pool priority max_attempts timeout_seconds created_at attempted_at client attempted_by args tags"
    " metadata retry on_discard"
)


@pytest.mark.parametrize("written", OUTCOMES.values(), ids=OUTCOMES.keys())
async def test_an_outcome_changes_what_it_says_and_nothing_else(
    client: Client, door: Database, sql: Connection, written: Written
) -> None:
    """The whole row before and after, in the live table or the finalized one, never in both."""
    inserted = await client.insert(
        Note(text="é"), InsertOpts(tags=["a,b", '"'], metadata={"m": 1}, timeout=7, priority=9, dynamic_queue="q")
    )
    (job,) = await claim(door, sql)
    before = await live(sql, job.id)
    assert await door.jobs.record_outcomes(sql, [Finished(job, written.outcome)]) == {job.id}
    now = await sql.fetchval("select statement_timestamp()")

    homes = [await sql.fetchrow(f"select * from {table}") for table in ("job", "job_finalized")]  # noqa: S608
    final = JobState(written.state).is_final
    assert [home is not None for home in homes] == [not final, final]
    row = homes[final]
    assert row is not None
    assert {name: row[name] for name in LEFT_ALONE.split()} == {name: before[name] for name in LEFT_ALONE.split()}
    assert (row["state"], row["attempt"]) == (written.state, written.attempt)
    assert len(json.loads(row["errors"] or "[]")) == written.errors
    if final:
        assert row["output"] == written.output
        assert before["attempted_at"] <= row["finalized_at"] <= now
    else:
        assert row["lease"] is None
    if written.delay is None:
        assert row["scheduled_at"] == inserted.job.scheduled_at
    else:
        assert now - timedelta(minutes=1) < row["scheduled_at"] - written.delay <= now


async def test_a_batch_writes_what_is_current_and_refuses_what_is_stale(
    client: Client, door: Database, sql: Connection
) -> None:
    """Each kind of outcome is refused without its lease, its row stays as it was, and its neighbours are written."""
    await client.insert_many([Note()] * 2 * len(OUTCOMES))
    jobs = await claim(door, sql)
    outcomes = [written.outcome for written in OUTCOMES.values()] * 2
    current, stale = jobs[: len(OUTCOMES)], jobs[len(OUTCOMES) :]
    await sql.execute("update job set lease = lease - 1 where id = any ($1)", [job.id for job in stale])
    before = await sql.fetch("select * from job where id = any ($1) order by id", [job.id for job in stale])

    # In any order: a batch comes as its runs have ended.
    runs = [Finished(job, outcome) for job, outcome in zip(jobs, outcomes, strict=True)][::-1]
    assert await door.jobs.record_outcomes(sql, runs) == {job.id for job in current}
    after = await sql.fetch("select * from job where id = any ($1) order by id", [job.id for job in stale])
    assert [tuple(row) for row in after] == [tuple(row) for row in before]
    assert await sql.fetchval("select count(*) from job_all") == len(jobs)
    assert await door.jobs.record_outcomes(sql, runs) == set()


async def test_a_run_is_written_once(client: Client, door: Database, sql: Connection) -> None:
    """A second write of the same run is stale, also after the job was released and claimed again."""
    await client.insert(Note())
    (first,) = await claim(door, sql)
    assert await door.jobs.record_outcomes(sql, [Finished(first, INTERRUPTED)]) == {first.id}
    assert await door.jobs.record_outcomes(sql, [Finished(first, COMPLETED)]) == set()
    (second,) = await claim(door, sql)
    assert await door.jobs.record_outcomes(sql, [Finished(first, COMPLETED)]) == set()
    assert (await live(sql, first.id))["lease"] == second.lease
    assert await door.jobs.record_outcomes(sql, [Finished(second, COMPLETED)]) == {first.id}


async def test_nothing_to_write_is_written(door: Database, sql: Connection) -> None:
    """An empty batch is no error."""
    assert await door.jobs.record_outcomes(sql, []) == set()


@pytest.mark.parametrize("name", OUTCOMES.keys())
async def test_a_follow_up_is_inserted_by_a_discard_and_by_nothing_else(
    client: Client, door: Database, sql: Connection, name: str
) -> None:
    """It comes in the commit of the discard, with its own settings, and not when the write is stale."""
    await client.insert(Note(), InsertOpts(on_discard=Sorry(text="\u2603")))
    (job,) = await claim(door, sql)
    outcome = OUTCOMES[name].outcome
    await door.jobs.record_outcomes(sql, [Finished(job._replace(lease=1), outcome)])
    assert await sql.fetchval("select count(*) from job where kind = 'sorry'") == 0
    transaction = sql.transaction()
    await transaction.start()
    await door.jobs.record_outcomes(sql, [Finished(job, outcome)])
    await transaction.rollback()
    assert await sql.fetchval("select count(*) from job where kind = 'sorry'") == 0
    await door.jobs.record_outcomes(sql, [Finished(job, outcome)])
    rows = await sql.fetch(
        "select args, queue, pool, state, priority, attempt, max_attempts, timeout_seconds, errors, tags, on_discard"
        " from job where kind = 'sorry'"
    )
    expected = [('{"text": "☃"}', None, "default", "available", 1, 0, 3, 60, None, None, None)]
    assert [tuple(row) for row in rows] == (expected if name == "discarded" else [])


@pytest.mark.parametrize("state", [JobState.RETRYABLE, JobState.DISCARDED])
@pytest.mark.parametrize(("had", "kept"), [(0, 1), (99, 100), (100, 100)])
async def test_the_newest_hundred_errors_are_kept(
    client: Client, door: Database, sql: Connection, state: JobState, had: int, kept: int
) -> None:
    """The oldest makes room for the newest, and each carries the database's time."""
    inserted = await client.insert(Note())
    if had:
        old = json.dumps([{"attempt": n} for n in range(had)])
        await sql.execute("update job set errors = $1::text::jsonb", old)
    (job,) = await claim(door, sql)
    await door.jobs.record_outcomes(sql, [Finished(job, Outcome("failed", state, HOUR, error=ENTRY))])
    errors = json.loads(await sql.fetchval("select errors from job_all where id = $1", inserted.job.id))
    assert len(errors) == kept
    assert errors[-1]["type"] == "ValueError"
    assert errors[-1]["at"]
    assert [each["attempt"] for each in errors[:-1]] == list(range(had))[-99:]


async def test_only_due_jobs_are_promoted(client: Client, door: Database, sql: Connection) -> None:
    """Scheduled and retryable jobs whose time has come, the longest due first, at most the limit."""
    results = await client.insert_many(
        [(Note(text=str(n)), InsertOpts(scheduled_at=3600, priority=n)) for n in range(6)]
        + [(Note(), InsertOpts(pending=True)), (Note(), InsertOpts())]
    )
    ids = [result.job.id for result in results]
    await sql.execute(
        "update job set scheduled_at = now() - make_interval(mins => 7 - id::int % 2) where id = any ($1)", ids[:4]
    )
    await sql.execute("update job set state = 'retryable' where id = any ($1)", ids[2:6:2])
    due = [
        row["id"]
        for row in await sql.fetch(
            "select id from job where state in ('scheduled', 'retryable') and scheduled_at < now()"
            " order by scheduled_at, id"
        )
    ]
    assert len(due) == 4
    due_times = {row["id"]: row["scheduled_at"] for row in await sql.fetch("select id, scheduled_at from job")}

    assert (await door.jobs.promote_due_jobs(sql, 3))[0] == 3
    available = await sql.fetch("select id from job where state = 'available' order by id")
    assert [row["id"] for row in available] == sorted([*due[:3], ids[7]])
    assert (await door.jobs.promote_due_jobs(sql, 3))[0] == 1
    assert (await door.jobs.promote_due_jobs(sql, 3))[0] == 0
    assert {row["id"]: row["scheduled_at"] for row in await sql.fetch("select id, scheduled_at from job")} == due_times
    states = {row["id"]: row["state"] for row in await sql.fetch("select id, state from job")}
    assert [states[each] for each in ids[4:7]] == ["retryable", "scheduled", "pending"]


async def test_promoting_passes_over_rows_that_another_holds(
    client: Client, door: Database, sql: Connection, database_url: str, schema: str
) -> None:
    """Two schedulers at once promote each job once and do not wait for each other."""
    await client.insert_many([(Note(), InsertOpts(scheduled_at=3600))] * 5)
    await sql.execute("update job set scheduled_at = now()")
    other = await asyncpg.connect(database_url)
    async with sql.transaction():
        assert (await door.jobs.promote_due_jobs(sql, 2))[0] == 2
        async with asyncio.timeout(PATIENCE):
            assert (await door.jobs.promote_due_jobs(other, 100))[0] == 3
    await other.close()
    assert await sql.fetchval("select count(*) from job where state = 'available'") == 5


async def test_the_next_due_job_is_told_in_seconds(client: Client, door: Database, sql: Connection) -> None:
    """`None` with nothing to wait for; else the seconds until the nearest of what is still to come."""
    await client.insert(Note())
    await client.insert(Note(), InsertOpts(pending=True))
    assert await door.jobs.promote_due_jobs(sql, 9) == (0, None, False)
    await client.insert(Note(), InsertOpts(scheduled_at=1000))
    await client.insert(Note(), InsertOpts(scheduled_at=100))
    late = await client.insert(Note(), InsertOpts(scheduled_at=50))
    await sql.execute("update job set scheduled_at = now() - interval '5 s' where id = $1", late.job.id)
    promoted, seconds, _ = await door.jobs.promote_due_jobs(sql, 9)
    assert (promoted, seconds is not None and 50 < seconds <= 100) == (1, True)


async def test_a_days_table_takes_the_jobs_that_are_finalized_on_it(
    client: Client, door: Database, sql: Connection
) -> None:
    """It is made once, and what ends today lands there and is read as before."""
    today: date = await sql.fetchval("select (now() at time zone 'UTC')::date")
    name = f"job_finalized_{today:%Y%m%d}"
    assert await door.jobs.find_partition(sql, today) is False
    for _ in range(2):
        await door.jobs.make_partition(sql, today)
    assert await door.jobs.find_partition(sql, today) is True

    inserted = await client.insert(Note())
    (job,) = await claim(door, sql)
    await door.jobs.record_outcomes(sql, [Finished(job, COMPLETED)])

    assert await sql.fetchval("select tableoid::regclass::text from job_finalized") == name
    found = await client.jobs.get(inserted.job.id)
    assert found is not None
    assert found.state is JobState.COMPLETED


async def test_an_insert_notifies_only_while_a_client_of_its_pool_is_idle(
    client: Client, door: Database, sql: Connection
) -> None:
    """Nobody marked, another pool marked, or a mark that has run out: silence; a mark that holds: one notification."""
    heard: list[str] = []

    def hear(*notification: object) -> None:
        heard.append(str(notification[-1]))

    await sql.add_listener(door.channel, hear)
    await client.insert(Note())
    await door.jobs.mark_idle(sql, client="c1", pools=["other"], seconds=60)
    await client.insert(Note())
    await door.jobs.mark_idle(sql, client="c1", pools=["default"], seconds=-1)
    await client.insert(Note())
    await door.jobs.mark_idle(sql, client="c1", pools=["default"], seconds=60)
    await client.insert_many([Note()] * 3)
    await sql.execute("select 1")  # what was sent before has arrived by now
    assert heard == ["default"]

    await door.jobs.unmark_idle(sql, client="c1")
    await client.insert(Note())
    await sql.execute("select 1")
    assert heard == ["default"]
    await sql.remove_listener(door.channel, hear)


async def test_work_is_left_while_any_job_is_ready_running_parked_or_due_soon(
    client: Client, door: Database, sql: Connection
) -> None:
    """Only jobs of the pools and kinds asked for count, and delayed ones only within the horizon."""

    async def left(pool: str = "default", kind: str = "note", horizon: int = 60) -> bool:
        return await door.jobs.has_work(sql, pools=[pool], kinds=[kind], horizon=timedelta(seconds=horizon))

    assert not await left()
    await client.insert(Note(), InsertOpts(scheduled_at=30))
    assert [await left(), await left(horizon=10), await left(pool="p"), await left(kind="k")] == [
        True,
        False,
        False,
        False,
    ]
    for state in ("available", "pending", "running"):
        await sql.execute(
            "update job set state = $1::text::job_state, lease = case when $1 = 'running' then 1 end,"
            " scheduled_at = now() + '1 day'",
            state,
        )
        assert await left()


CHECKS = {
    "a kind of nothing": "insert into job (kind) values ('')",
    "a kind too long": "insert into job (kind) values (repeat('k', 129))",
    "no kind": "insert into job (args) values ('{}')",
    "a queue too long": "insert into job (kind, queue) values ('k', repeat('q', 129))",
    "an unknown state": "insert into job (kind, state) values ('k', 'ready')",
    "a final state": "insert into job (kind, state) values ('k', 'completed')",
    "running without a lease": "insert into job (kind, state) values ('k', 'running')",
    "a lease without running": "insert into job (kind, lease) values ('k', 1)",
    "no attempts": "insert into job (kind, max_attempts) values ('k', 0)",
    "a negative attempt": "insert into job (kind, attempt) values ('k', -1)",
    "no time": "insert into job (kind, timeout_seconds) values ('k', 0)",
}


@pytest.mark.parametrize("statement", CHECKS.values(), ids=CHECKS.keys())
async def test_the_table_refuses_from_plain_sql_what_the_client_refuses(sql: Connection, statement: str) -> None:
    """The same limits hold for producers in plain SQL, as CHECK constraints."""
    with pytest.raises((asyncpg.IntegrityConstraintViolationError, asyncpg.InvalidTextRepresentationError)):
        await sql.execute(statement)


async def test_a_claim_begins_at_its_mark(client: Client, door: Database, sql: Connection) -> None:
    """What lies before a pool's mark at its own priority is passed over; what is more urgent is not."""
    early, late, urgent, lazy = [
        (await client.insert(Note(), InsertOpts(priority=priority))).job for priority in (1, 1, 0, 2)
    ]
    mark = Mark(1, early.scheduled_at, early.id)

    claimed = (
        await claim_jobs(
            door.jobs,
            sql,
            lease=next(_leases),
            client="c1",
            number=1,
            wanted={"default": 9},
            kinds=["note"],
            marks={"default": [mark]},
        )
    ).jobs

    assert [job.id for job in claimed] == [urgent.id, late.id, lazy.id]
    assert [job.id for job in await claim(door, sql)] == [early.id]


async def test_the_jobs_of_a_claim_whose_answer_was_lost_are_put_back(
    client: Client, door: Database, sql: Connection
) -> None:
    """They are available as before, by their lease alone; another claim's jobs stay."""
    await client.insert_many([Note()] * 3)
    lost, kept = next(_leases), next(_leases)
    wanted = {"default": 2}
    gone = (await claim_jobs(door.jobs, sql, lease=lost, client="c1", number=1, wanted=wanted, kinds=["note"])).jobs
    (other,) = (await claim_jobs(door.jobs, sql, lease=kept, client="c1", number=1, wanted=wanted, kinds=["note"])).jobs

    assert ((await door.jobs.release_claim(sql, lost))[0], (await door.jobs.release_claim(sql, lost))[0]) == (2, 0)

    rows = await sql.fetch("select id, state, attempt, lease from job order by id")
    assert [tuple(row) for row in rows] == [
        *((job.id, "available", 0, None) for job in gone),
        (other.id, "running", 1, kept),
    ]
