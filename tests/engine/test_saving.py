"""What a worker says of its run while it runs: progress for whoever looks, checkpoints for the attempts after it."""

from __future__ import annotations

import asyncio
import gc
from datetime import date

import pytest
from pydantic import BaseModel

from tests.conftest import MakeClient
from tests.engine.jobs import Recorder, Work, until_state, within
from tests.waiting import PATIENCE
from workerqueue import ArgsError, Fixed, InsertOpts, Job, JobState, StaleRunError, Workers
from workerqueue.database import Connection


class Place(BaseModel):
    page: int
    day: date


@pytest.mark.req("A51o")
async def test_the_next_attempt_finds_what_was_saved(make_client: MakeClient) -> None:
    """Typed if it is asked for so; args stay as they are, and a job that has ended still shows it."""
    found: list[Place | None] = []
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        found.append(job.checkpoint_as(Place))
        if job.attempt < 3:
            await job.checkpoint(Place(page=job.attempt, day=date(2026, 1, job.attempt)))
            raise ValueError

    async with make_client(workers) as client:
        await client.start()
        inserted = await client.insert(Work(n=7), InsertOpts(retry=Fixed(0)))
        job = await client.jobs.wait(inserted.job.id, PATIENCE)
    assert found == [None, Place(page=1, day=date(2026, 1, 1)), Place(page=2, day=date(2026, 1, 2))]
    assert (job.args, job.last_checkpoint) == (Work(n=7), {"page": 2, "day": "2026-01-02"})


async def test_a_checkpoint_outlives_a_crash_and_a_retry_by_hand(make_client: MakeClient, sql: Connection) -> None:
    """Whoever ends the run; and a replaced job begins without it."""
    saved, go = asyncio.Event(), asyncio.Event()
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> object:
        if job.last_checkpoint is None:
            await job.checkpoint([1, {"a": None}])
            saved.set()
            await go.wait()
        return job.last_checkpoint

    async with make_client(workers) as client:
        await client.start()
        inserted = await client.insert(Work(), InsertOpts(max_attempts=1))
        await within(saved)
        await sql.execute("update job set client = 99")  # nobody's, as after a kill -9
        await client.jobs.rescue()
        job = await client.jobs.get(inserted.job.id)
        assert job is not None
        assert (job.state, job.last_checkpoint) == (JobState.DISCARDED, [1, {"a": None}])
        assert (await client.jobs.retry(inserted.job.id)).ok
        job = await client.jobs.wait(inserted.job.id, PATIENCE)
        assert (job.state, job.output) == (JobState.COMPLETED, [1, {"a": None}])
        go.set()


async def test_progress_is_seen_while_the_job_runs(make_client: MakeClient) -> None:
    """The newest of what was said, awaited or not, from the loop or from a thread; all of it before the run ends."""
    said, go = asyncio.Event(), asyncio.Event()
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        for n in range(100):
            job.progress(n / 100)
        await job.progress({"pages": 3})
        said.set()
        await go.wait()
        job.progress("done")

    async with make_client(workers) as client:
        await client.start()
        inserted = await client.insert(Work())
        await within(said)
        job = await client.jobs.get(inserted.job.id)
        assert job is not None
        assert (job.state, job.last_progress) == (JobState.RUNNING, {"pages": 3})
        go.set()
        assert (await client.jobs.wait(inserted.job.id, PATIENCE)).last_progress == "done"


async def test_a_thread_saves_too(make_client: MakeClient) -> None:
    """The call returns when it is written."""
    workers = Workers()

    @workers.worker
    def work(job: Job[Work]) -> object:
        if job.last_checkpoint is None:
            job.progress(0.5)
            job.checkpoint(["from a thread"])
            raise ValueError
        return job.last_checkpoint

    async with make_client(workers) as client:
        await client.start()
        inserted = await client.insert(Work(), InsertOpts(retry=Fixed(0)))
        job = await client.jobs.wait(inserted.job.id, PATIENCE)
    assert (job.output, job.last_progress) == (["from a thread"], 0.5)


async def test_a_stale_run_saves_nothing(
    make_client: MakeClient, sql: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told so, and what the current run has saved stays."""
    refused: list[str] = []
    begun, go = asyncio.Event(), asyncio.Event()
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        begun.set()
        await go.wait()
        for save in (job.progress, job.checkpoint):
            with pytest.raises(StaleRunError):
                await save("stale")
            refused.append(save.__name__)
        save(1)  # not awaited: nobody is troubled by what comes of it

    async with make_client(workers) as client:
        heard = Recorder(client)
        await client.start()
        inserted = await client.insert(Work())
        await within(begun)
        await sql.execute("update job set lease = lease + 1, progress = '1', checkpoint = '2'")
        go.set()
        await heard.until(inserted.job.id, "stale")
        job = await client.jobs.get(inserted.job.id)
    assert job is not None
    assert (job.last_progress, job.last_checkpoint, refused) == (1, 2, ["progress", "checkpoint"])
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_what_can_not_be_saved_is_refused_with_its_path(make_client: MakeClient) -> None:
    """At the call; nothing of it is written."""
    paths: list[str] = []
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        for save, value in (
            (job.progress, {"a": [float("nan")]}),
            (job.progress, "x" * 65_537),
            (job.checkpoint, {"a": "\0"}),
            (job.checkpoint, "x" * 1024 * 1024),
            (job.checkpoint, object()),
        ):
            with pytest.raises(ArgsError) as refusal:
                save(value)
            paths.append(refusal.value.path)

    async with make_client(workers) as client:
        await client.start()
        inserted = await client.insert(Work())
        job = await client.jobs.wait(inserted.job.id, PATIENCE)
    assert (job.state, job.last_progress, job.last_checkpoint) == (JobState.COMPLETED, None, None)
    assert paths == ["progress.a[0]", "progress", "checkpoint.a", "checkpoint", "checkpoint"]


async def test_only_its_worker_can_save(make_client: MakeClient) -> None:
    """A job that was only read says so at once."""
    client = make_client()
    inserted = await client.insert(Work(), InsertOpts(pending=True))
    job = await until_state(client, inserted.job.id, JobState.PENDING)
    with pytest.raises(StaleRunError, match="not being run here"):
        job.progress(1)
    with pytest.raises(StaleRunError, match="not being run here"):
        inserted.job.checkpoint(1)


async def test_an_output_is_read_as_any_type(make_client: MakeClient) -> None:
    """What Pydantic writes it reads back: models, lists of them, dates, sets."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> object:
        return [Place(page=1, day=date(2026, 1, 1))]

    async with make_client(workers) as client:
        await client.start()
        inserted = await client.insert(Work())
        job = await client.jobs.wait(inserted.job.id, PATIENCE)
    assert job.output_as(list[Place]) == [Place(page=1, day=date(2026, 1, 1))]
    assert job.output_as(tuple[dict[str, str | int], ...]) == ({"page": 1, "day": "2026-01-01"},)
