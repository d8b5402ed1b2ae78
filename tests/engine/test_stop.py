"""Stopping: softly, then by cancelling; nothing of a stopped client stays `running` and no attempt is lost."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator
from datetime import timedelta

import anyio
import pytest

from tests.conftest import MakeClient
from tests.database.observer import sessions
from tests.engine.jobs import Recorder, Work, until_none_live, until_state, within
from tests.waiting import PATIENCE, eventually
from workerqueue import Client, InsertOpts, Job, JobState, Workers
from workerqueue.database import Connection


class Gate:
    """A worker that says it has started and waits to be let through."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.open = asyncio.Event()
        self.cancelled = 0
        self.workers = Workers()

        @self.workers.worker
        async def work(job: Job[Work]) -> str:
            self.started.set()
            try:
                await self.open.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            return "finished"


@pytest.fixture
def gate() -> Gate:
    """A worker under the test's control."""
    return Gate()


class Stubborn:
    """A worker that no cancellation ends, until the test lets it go."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.released = asyncio.Event()
        self.cancelled = 0
        self.workers = Workers()

        @self.workers.worker
        async def work(job: Job[Work]) -> str:
            self.started.set()
            while not self.released.is_set():
                try:
                    await self.released.wait()
                except asyncio.CancelledError:
                    self.cancelled += 1
            return "at last"


@pytest.fixture
async def stubborn() -> AsyncGenerator[Stubborn]:
    """A worker that ignores cancellation; it is let go behind the test."""
    made = Stubborn()
    yield made
    made.released.set()


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give cancelled workers for ever to clean up: what ends all the same has not waited for that."""
    monkeypatch.setattr("workerqueue.engine.engine.CANCEL_GRACE", 3600.0)


async def stopping(client: Client, timeout: float) -> asyncio.Task[None]:
    """Begin to stop a client, and come back when it waits for its runs."""
    task = asyncio.create_task(client.stop(timeout=timeout))

    async def waits() -> bool:
        engine = client._engine  # pyright: ignore[reportPrivateUsage] - nothing public tells how far a stop is
        return engine is not None and engine._grace is not None  # pyright: ignore[reportPrivateUsage]

    await eventually(waits)
    return task


async def stored(sql: Connection, job_id: int) -> tuple[str, int, int | None]:
    """Read a job's state, attempt and lease from the tables."""
    row = await sql.fetchrow("select state, attempt, lease from job where id = $1", job_id)
    assert row is not None
    return row["state"], row["attempt"], row["lease"]


@pytest.mark.req("D19")
async def test_a_soft_stop_waits_for_running_jobs(make_client: MakeClient, gate: Gate, sql: Connection) -> None:
    """A running job finishes, what waits stays available, and nothing is claimed any more."""
    client = make_client(gate.workers)
    await client.start(queues={"default": 1})
    running = await client.insert(Work())
    await within(gate.started)
    waiting = await client.insert(Work())
    stop = await stopping(client, 30)
    gate.open.set()
    await asyncio.wait_for(stop, PATIENCE)

    job = await client.jobs.get(running.job.id)
    assert job is not None
    assert (job.state, job.output, gate.cancelled) == (JobState.COMPLETED, "finished", 0)
    assert await stored(sql, waiting.job.id) == ("available", 0, None)


@pytest.mark.req("D19")
async def test_a_job_cut_off_by_a_stop_goes_back_and_loses_no_attempt(
    make_client: MakeClient, gate: Gate, sql: Connection
) -> None:
    """Past its grace a stop cancels; the job is available, attempt 0, no lease, its place kept, and runs again."""
    client = make_client(gate.workers)
    events = Recorder(client)
    await client.start()
    inserted = await client.insert(Work(), InsertOpts(max_attempts=1))
    await within(gate.started)
    await asyncio.wait_for(client.stop(timeout=0.05), PATIENCE)

    assert gate.cancelled == 1
    assert await stored(sql, inserted.job.id) == ("available", 0, None)
    job = await client.jobs.get(inserted.job.id)
    assert job is not None
    assert (job.scheduled_at, job.errors, job.attempted_by) == (inserted.job.scheduled_at, [], [client.id])
    assert events.types(job.id) == ["started", "interrupted"]

    gate.open.set()
    await client.start()
    again = await client.jobs.wait(inserted.job.id, PATIENCE)
    assert (again.state, again.attempt) == (JobState.COMPLETED, 1)


@pytest.mark.usefixtures("endless")
async def test_a_thread_cut_off_by_a_stop_is_left_behind(make_client: MakeClient, sql: Connection) -> None:
    """A sync worker can't be cancelled: the stop ends in time and its job is released."""
    release, started = threading.Event(), threading.Event()
    workers = Workers()

    @workers.worker
    def work(job: Job[Work]) -> None:
        started.set()
        release.wait(PATIENCE)

    client = make_client(workers)
    await client.start()
    inserted = await client.insert(Work())
    assert await asyncio.to_thread(started.wait, PATIENCE)
    async with asyncio.timeout(PATIENCE):
        await client.stop(timeout=0.05)
    assert await stored(sql, inserted.job.id) == ("available", 0, None)
    release.set()


@pytest.mark.usefixtures("endless")
async def test_a_worker_that_ignores_cancellation_is_released(
    make_client: MakeClient, stubborn: Stubborn, sql: Connection
) -> None:
    """A stop without grace ends at once, its job is available, and what it still makes of it changes nothing."""
    client = make_client(stubborn.workers)
    await client.start()
    inserted = await client.insert(Work())
    await within(stubborn.started)
    async with asyncio.timeout(PATIENCE):
        await client.stop(timeout=0)
    assert stubborn.cancelled == 1
    assert await stored(sql, inserted.job.id) == ("available", 0, None)

    stubborn.released.set()

    async def gone() -> bool:
        return not [task for task in asyncio.all_tasks() if task.get_name().startswith("workerqueue")]

    await eventually(gone)
    assert await stored(sql, inserted.job.id) == ("available", 0, None)


@pytest.mark.usefixtures("endless")
@pytest.mark.parametrize("kind", ["a worker that ends when cancelled", "a worker that ignores it"])
async def test_a_second_stop_without_grace_hurries_the_first(
    make_client: MakeClient, gate: Gate, stubborn: Stubborn, sql: Connection, kind: str
) -> None:
    """While one stop waits, another with a timeout of 0 releases what runs at once."""
    worker = gate if kind == "a worker that ends when cancelled" else stubborn
    client = make_client(worker.workers)
    await client.start()
    inserted = await client.insert(Work())
    await within(worker.started)
    first = await stopping(client, 3600)
    await asyncio.wait_for(client.stop(timeout=0), PATIENCE)
    await asyncio.wait_for(first, PATIENCE)
    assert await stored(sql, inserted.job.id) == ("available", 0, None)


@pytest.mark.usefixtures("endless")
async def test_a_second_stop_hurries_the_first_from_its_first_moment(
    make_client: MakeClient, gate: Gate, sql: Connection
) -> None:
    """A hurry that comes before the first stop waits for its runs is not lost."""
    client = make_client(gate.workers)
    await client.start()
    inserted = await client.insert(Work())
    await within(gate.started)
    first = asyncio.create_task(client.stop(timeout=3600))
    await asyncio.sleep(0)
    with anyio.fail_after(PATIENCE):
        await client.stop(timeout=0)
    await first
    assert await stored(sql, inserted.job.id) == ("available", 0, None)


async def test_a_claim_under_way_at_a_stop_strands_no_job(make_client: MakeClient, gate: Gate, sql: Connection) -> None:
    """What a claim brings while its client is stopping goes back available, its attempt not counted."""
    client = make_client(gate.workers)
    await client.insert_many([Work()] * 50)
    async with sql.transaction():
        await sql.execute("lock table job in exclusive mode")
        await client.start()

        async def claim_waits() -> bool:
            await sql.execute("select pg_stat_clear_snapshot()")  # a transaction sees the activity of its start
            waiting: int = await sql.fetchval(
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
                " and query like '-- Claim the next jobs%' and application_name = $1",
                f"workerqueue {client.id}"[:63],
            )
            return waiting == 1

        await eventually(claim_waits)
        stop = asyncio.create_task(client.stop(timeout=0))
        await asyncio.sleep(0)
    await asyncio.wait_for(stop, PATIENCE)
    rows = await sql.fetch("select state, attempt, lease, count(*) from job group by 1, 2, 3")
    assert [tuple(row) for row in rows] == [("available", 0, None, 50)]


async def test_a_stop_in_a_cancelled_scope_still_releases_what_runs(
    make_client: MakeClient, gate: Gate, sql: Connection
) -> None:
    """Leaving `async with client` because a task group was cancelled leaves no job running and no task behind."""
    client = make_client(gate.workers, stop_timeout=0.1)
    inserted = await client.insert(Work())
    with anyio.CancelScope() as scope:
        async with client:
            await client.start()
            await within(gate.started)
            scope.cancel()
            await anyio.sleep_forever()

    async def released() -> bool:
        return await sql.fetchval("select state = 'available' from job where id = $1", inserted.job.id) is True

    await eventually(released)
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("workerqueue")] == []


@pytest.mark.req("C19", "D18")
async def test_start_and_stop_may_be_repeated_and_the_client_started_again(
    make_client: MakeClient, sql: Connection
) -> None:
    """A second start makes no second engine, a second stop does nothing, and a restarted client works."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None: ...

    client = make_client(workers)
    await client.stop()
    for _ in range(3):
        await asyncio.gather(client.start(), client.start())
        await client.start()
        assert [task.get_name() for task in asyncio.all_tasks()].count("workerqueue engine") == 1
        inserted = await client.insert(Work())
        assert (await client.jobs.wait(inserted.job.id, PATIENCE)).state is JobState.COMPLETED
        await asyncio.gather(client.stop(), client.stop())
        await client.stop()
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("workerqueue")] == []
    await client.close()
    name = f"workerqueue {client.id}"[:63]

    async def gone() -> bool:
        return await sessions(sql, name) == 0

    await eventually(gone)


async def test_a_stop_says_how_many_jobs_it_waits_for(
    make_client: MakeClient, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    """The lines of a stop carry their facts as fields."""
    caplog.set_level(logging.INFO, "workerqueue")
    client = make_client(gate.workers)
    await client.start()
    await client.insert(Work())
    await within(gate.started)
    stop = await stopping(client, 30)
    gate.open.set()
    await stop
    said = {record.getMessage(): record for record in caplog.records}
    assert vars(said["Waiting for 1 running job"])["running"] == 1
    (stopped,) = (record for text, record in said.items() if text.startswith("Stopped"))
    assert vars(stopped).get("left_behind", 0) == 0


async def test_a_job_whose_lease_has_changed_is_stale(make_client: MakeClient, gate: Gate, sql: Connection) -> None:
    """The result of a run that lost its lease is refused, the row is untouched, and an event says so."""
    client = make_client(gate.workers)
    events = Recorder(client)
    await client.start()
    inserted = await client.insert(Work())
    await within(gate.started)
    before = await sql.fetchrow("update job set lease = 4711 returning job.*")
    gate.open.set()
    event = await events.until(inserted.job.id, "stale")
    assert before is not None
    after = await sql.fetchrow("select * from job")
    assert after is not None
    assert tuple(after) == tuple(before)
    assert events.types(inserted.job.id) == ["started", "stale"]
    assert event.duration is not None
    assert timedelta() < event.duration < timedelta(seconds=PATIENCE)
    await client.stop()
    await sql.execute("update job set state = 'available', lease = null")
    await client.start()
    await until_none_live(sql)


async def test_a_row_deleted_while_it_runs_is_stale(make_client: MakeClient, gate: Gate, sql: Connection) -> None:
    """A job that somebody deleted meanwhile does no harm; its client goes on."""
    client = make_client(gate.workers)
    events = Recorder(client)
    await client.start()
    inserted = await client.insert(Work())
    await within(gate.started)
    await sql.execute("truncate job")
    gate.open.set()
    await events.until(inserted.job.id, "stale")
    after = await client.insert(Work())
    await until_state(client, after.job.id, JobState.COMPLETED)
