"""The traps of a running client that were met before, each held by what must stay true: design.md, section 4."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import asyncpg
import pytest

from tests.claiming import claim_jobs
from tests.conftest import MakeClient
from tests.engine.jobs import Work, until_none_live, within
from tests.waiting import PATIENCE, eventually
from workerqueue import Client, Config, Job, JobState, QueueConfig, Workers
from workerqueue.database import Claimed, Connection, Database, Finished, Runner
from workerqueue.database.jobs import JobTable
from workerqueue.engine import completer as completer_module
from workerqueue.engine.completer import MAX_BATCH, Completer
from workerqueue.engine.turns import Turns
from workerqueue.engine.unanswered import Unanswered
from workerqueue.outcome import COMPLETED

NOW = datetime.now(UTC)


def doing_nothing() -> Workers:
    """Make workers that are done at once."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None: ...

    return workers


# A snapshot that is held anywhere keeps every dead index entry


@asynccontextmanager
async def held_snapshot(database_url: str) -> AsyncGenerator[None]:
    """Hold a transaction open as a report or a backup does: vacuum removes nothing meanwhile."""
    connection = await asyncpg.connect(database_url)
    async with connection.transaction(isolation="repeatable_read"):
        await connection.execute("select 1")
        yield
    await connection.close()


async def test_a_held_snapshot_does_not_make_claims_slower(
    make_client: MakeClient, sql: Connection, database_url: str, schema: str
) -> None:
    """Claims don't walk again what was claimed before them: each entry is read a few times, not at every claim."""
    jobs = 20_000
    await sql.execute(
        "insert into job (kind, scheduled_at) select 'work', now() - interval '1 hour' from generate_series(1, $1)",
        jobs,
    )
    async with held_snapshot(database_url):
        # In claims of at most a hundred jobs: two hundred of them at least, which would read two million entries.
        client = make_client(doing_nothing(), concurrency=100, poll_interval=60)
        await client.start()
        await until_none_live(sql)
        await client.close()

    async def entries_read() -> int:
        """Ask for the index entries that claims have read, once they have been told to the server."""
        await sql.execute("select pg_stat_clear_snapshot()")
        count: int = await sql.fetchval(
            "select idx_tup_read from pg_stat_user_indexes where schemaname = $1 and indexrelname = 'job_ready'", schema
        )
        return count if count >= jobs else 0

    # Less than half of that, however many small claims, and looks that seemed slow, a busy machine makes of it.
    assert await eventually(entries_read) < 40 * jobs


# What is durable, and what need not be


class Durability:
    """What `synchronous_commit` was for each statement of a client, noted as it was sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: dict[str, set[object]] = {}
        claim, record = JobTable.claim_jobs, JobTable.record_outcomes
        insert_one, insert_many = JobTable.insert_job, JobTable.insert_jobs

        async def claim_jobs(self_: JobTable, connection: Connection, *args: object, **kwargs: object) -> object:
            self._note("claim_jobs", await connection.fetchval("show synchronous_commit"))
            return await claim(self_, connection, *args, **kwargs)  # type: ignore[arg-type]  # as they came

        async def record_outcomes(self_: JobTable, connection: Connection, *args: object, **kwargs: object) -> object:
            self._note("record_outcomes", await connection.fetchval("show synchronous_commit"))
            return await record(self_, connection, *args, **kwargs)  # type: ignore[arg-type]  # as they came

        async def insert_job(self_: JobTable, runner: Runner, *args: object) -> object:
            self._note("insert_job", (await runner.fetch("show synchronous_commit", timeout=5))[0][0])
            return await insert_one(self_, runner, *args)  # type: ignore[arg-type]  # as they came

        async def insert_jobs(self_: JobTable, runner: Runner, *args: object) -> object:
            self._note("insert_jobs", (await runner.fetch("show synchronous_commit", timeout=5))[0][0])
            return await insert_many(self_, runner, *args)  # type: ignore[arg-type]  # as they came

        for spy in (claim_jobs, record_outcomes, insert_job, insert_jobs):
            monkeypatch.setattr(JobTable, spy.__name__, spy)

    def _note(self, name: str, setting: object) -> None:
        self.seen.setdefault(name, set()).add(setting)


@pytest.mark.parametrize("whose", ["the client's connections", "a caller's pool"])
async def test_only_claims_may_be_lost_in_a_crash_of_the_server(
    make_client: MakeClient, database_url: str, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    """A claim that is lost runs its job again; an insert or a completion that was answered is on disk."""
    durability = Durability(monkeypatch)
    # The server of the tests is told not to be durable; connections of this test are, as by default.
    durable = f"{database_url}?synchronous_commit=on"
    async with asyncpg.create_pool(durable, min_size=0, max_size=6) as pool:
        client = make_client(doing_nothing(), database=durable if whose == "the client's connections" else pool)
        await client.start()
        one = await client.insert(Work())
        await client.insert_many([Work()] * 2)
        async with client.transaction() as tx:
            last = await client.insert_tx(tx, Work())
        for result in (one, last):
            assert (await client.jobs.wait(result.job.id, PATIENCE)).state is JobState.COMPLETED
        await client.close()

        # A caller's connections come back as they were given.
        for connection in [await pool.acquire() for _ in range(pool.get_size())]:
            for name, value in (("synchronous_commit", "on"), ("plan_cache_mode", "auto"), ("enable_seqscan", "on")):
                assert await connection.fetchval(f"show {name}") == value
            await pool.release(connection)
    assert durability.seen == {
        "claim_jobs": {"off"},
        "record_outcomes": {"on"},
        "insert_job": {"on"},
        "insert_jobs": {"on"},
    }


# Completions: no timer, and no more in memory than there is room for


class Writing:
    """Writes of outcomes, which a test holds up; unless `for_real`, what is written is thrown away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, for_real: bool = False) -> None:
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self.sizes: list[int] = []
        record = JobTable.record_outcomes

        async def record_outcomes(
            jobs: JobTable, connection: Connection, runs: Sequence[Finished], *, with_follow_ups: bool
        ) -> set[int]:
            assert with_follow_ups
            self.sizes.append(len(runs))
            self.begun.set()
            await self.gate.wait()
            if for_real:
                return await record(jobs, connection, runs)
            return {run.job.id for run in runs}

        monkeypatch.setattr(JobTable, "record_outcomes", record_outcomes)


def no_turns(door: Database) -> Turns:
    """Give what sees to dynamic queues where there are none."""

    def take(run: Claimed) -> None:
        raise AssertionError(f"{run} waits in no dynamic queue")

    return Turns(door, lambda _: None, take, Unanswered(door), lambda: None)


def finished(job_id: int) -> Finished:
    """Give a run that has completed its job."""
    job = Claimed(job_id, "work", "{}", None, "default", 1, 1, 3, 60.0, NOW, NOW, NOW, None, "c1", 1)
    return Finished(job, COMPLETED)


async def test_what_ends_while_a_batch_is_written_is_the_next_batch(
    database_url: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lone outcome waits for nothing, many are written together, and nothing waits for a timer."""
    written: list[int] = []
    all_written = asyncio.Event()

    def on_written(each: Finished, accepted: bool) -> None:
        written.append(each.job.id)
        if len(written) in (501, 502, 502 + 2 * MAX_BATCH):
            all_written.set()

    door = Database(database_url, schema)
    writing = Writing(monkeypatch)
    completer = Completer(door, no_turns(door), on_written)
    running = asyncio.create_task(completer.run())

    completer.add(finished(0))
    await within(writing.begun)
    for n in range(1, 501):
        completer.add(finished(n))
    assert (writing.sizes, written) == ([1], [])
    writing.gate.set()
    await within(all_written)
    assert (writing.sizes, written) == ([1, 500], list(range(501)))

    all_written.clear()
    writing.begun.clear()
    completer.add(finished(501))
    for _ in range(10):  # turns of the loop, which a timer would outlast
        await asyncio.sleep(0)
    assert writing.begun.is_set()
    await within(all_written)
    all_written.clear()
    for n in range(502, 502 + 2 * MAX_BATCH):
        completer.add(finished(n))
    await within(all_written)
    assert writing.sizes == [1, 500, 1, MAX_BATCH, MAX_BATCH]

    await completer.close()
    await running
    await door.close()


async def test_outcomes_that_cannot_be_written_hold_up_the_work(
    make_client: MakeClient, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the database takes none, slots wait with theirs: memory stays bounded, and nothing is lost."""
    monkeypatch.setattr(completer_module, "MAX_BACKLOG", 20)
    started: list[int] = []
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        started.append(job.id)

    config = Config(queues={"default": QueueConfig(max_workers=5)})
    client = make_client(workers, config=config)
    writing = Writing(monkeypatch, for_real=True)
    await client.insert_many([Work()] * 300)
    await client.start()

    async def stuck() -> bool:
        return len(started) >= 20 + 4  # one fills the backlog and waits, and four more bring one each

    await eventually(stuck)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(started) == 20 + 4
    writing.gate.set()
    await until_none_live(sql)
    await client.close()
    assert sorted(started) == sorted(set(started))
    assert await sql.fetchval("select count(*) from job_finalized where state = 'completed'") == 300


# Notifications: only while somebody is idle, and never needed


async def until_marked(sql: Connection) -> None:
    """Wait until a client waits to be told of new jobs."""

    async def look() -> bool:
        marked: bool = await sql.fetchval("select exists (select from idle where until > now())")
        return marked

    await eventually(look)


async def test_a_client_at_work_is_told_of_nothing_and_an_idle_one_is(
    make_client: MakeClient, sql: Connection, database_url: str, schema: str
) -> None:
    """Under load it takes its mark away, so that inserts notify nobody; when it has nothing to do it marks again."""
    jobs = 20_000
    marks_at_work: list[int] = []
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        if job.args.n == jobs // 2:
            marks_at_work.append(await sql.fetchval("select count(*) from idle"))

    client = make_client(workers, poll_interval=60)
    await client.start()
    await until_marked(sql)
    await make_client().insert_many([Work(n=n) for n in range(jobs)])

    async def looked() -> bool:
        return bool(marks_at_work)

    await eventually(looked)
    assert marks_at_work == [0]
    await until_none_live(sql)
    await until_marked(sql)


async def test_a_job_whose_transaction_began_before_anybody_was_idle_is_found(
    make_client: MakeClient, sql: Connection, database_url: str, schema: str
) -> None:
    """It notified nobody, since nobody was marked, and commits after the last look: the poll finds it."""
    tx = await asyncpg.connect(database_url)
    client: Client = make_client(doing_nothing(), poll_interval=0.3)
    async with tx.transaction():
        result = await client.insert_tx(tx, Work())
        await client.start()
        await until_marked(sql)
    await tx.close()
    assert (await client.jobs.wait(result.job.id, PATIENCE)).state is JobState.COMPLETED


async def test_two_runs_of_a_job_in_one_backlog_are_told_apart(door: Database, sql: Connection) -> None:
    """A stale outcome beside the current one of the same job: one is refused, the other accepted, and so is told."""
    await sql.execute("insert into job (kind) values ('work')")
    wanted = {"default": 1}
    (stale,) = (await claim_jobs(door.jobs, sql, lease=1, client="c1", number=1, wanted=wanted, kinds=["work"])).jobs
    await sql.execute("update job set state = 'available', lease = null")  # as a rescue does
    (current,) = (await claim_jobs(door.jobs, sql, lease=2, client="c1", number=1, wanted=wanted, kinds=["work"])).jobs
    told: dict[int, bool] = {}
    both = asyncio.Event()

    def on_written(each: Finished, accepted: bool) -> None:
        told[each.job.lease] = accepted
        if len(told) == 2:
            both.set()

    completer = Completer(door, no_turns(door), on_written)
    completer.add(Finished(stale, COMPLETED))
    completer.add(Finished(current, COMPLETED))
    running = asyncio.create_task(completer.run())
    await within(both)
    assert told == {1: False, 2: True}
    await completer.close()
    await running
