"""What a timeout does to async workers, to those that resist, and to threads."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import Other, Work, until_state, within
from tests.waiting import PATIENCE
from workerqueue import Config, Fixed, InsertOpts, Job, JobState, QueueConfig, TaskConfig, Workers
from workerqueue.database import Connection

SHORT = timedelta(milliseconds=100)


@pytest.mark.req("C27")
async def test_an_async_worker_is_cancelled_at_its_timeout_and_cleans_up(make_client: MakeClient) -> None:
    """The attempt fails with a timeout error whose trace shows where it was, cleanup runs, and it is tried again."""
    cleaned: list[int] = []
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> str:
        if job.attempt == 2:
            return "in time"
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)  # awaiting is still possible
            cleaned.append(job.attempt)
        return "late"

    async with make_client(workers) as client:
        await client.start()
        inserted = await client.insert(Work(), InsertOpts(timeout=SHORT, retry=Fixed(0)))
        job = await client.jobs.wait(inserted.job.id, PATIENCE)

    assert (job.state, job.output, job.attempt, cleaned) == (JobState.COMPLETED, "in time", 2, [1])
    (error,) = job.errors
    assert (error.type, error.error) == ("JobTimeoutError", f"the attempt took longer than its timeout of {SHORT}")
    assert "await asyncio.sleep(60)" in (error.trace or "")


async def test_the_timeout_comes_from_the_insert_else_from_the_task_table(
    make_client: MakeClient, sql: Connection
) -> None:
    """A job's own timeout beats its kind's, and both are enforced."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        await asyncio.sleep(0.3)

    config = Config(tasks={"work": TaskConfig(timeout=0.05, max_attempts=1)})
    async with make_client(workers, config=config) as client:
        await client.start()
        by_table = await client.insert(Work())
        by_insert = await client.insert(Work(), InsertOpts(timeout=30))
        assert (await client.jobs.wait(by_table.job.id, PATIENCE)).state is JobState.DISCARDED
        assert (await client.jobs.wait(by_insert.job.id, PATIENCE)).state is JobState.COMPLETED


async def test_a_worker_that_swallows_its_cancellation_has_timed_out_all_the_same(make_client: MakeClient) -> None:
    """What it returns afterwards is ignored, and its slot works the next job."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> str:
        if job.args.n == 0:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await asyncio.sleep(0.01)
                return "swallowed"
        return "worked"

    async with make_client(workers) as client:
        await client.start(queues={"default": 1})
        stubborn = await client.insert(Work(n=0), InsertOpts(timeout=SHORT, max_attempts=1))
        after = await client.insert(Work(n=1))
        job = await client.jobs.wait(stubborn.job.id, PATIENCE)
        assert (job.state, job.output, job.errors[0].type) == (JobState.DISCARDED, None, "JobTimeoutError")
        assert (await client.jobs.wait(after.job.id, PATIENCE)).output == "worked"


async def test_a_workers_own_deadline_is_its_own_error(make_client: MakeClient) -> None:
    """A `TimeoutError` that the worker raises, by `asyncio.timeout` too, is not the job's timeout."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)

    async with make_client(workers) as client:
        await client.start()
        inserted = await client.insert(Work(), InsertOpts(max_attempts=1))
        job = await client.jobs.wait(inserted.job.id, PATIENCE)
    assert job.errors[0].type == "TimeoutError"


async def test_a_thread_is_left_behind_at_its_timeout_and_its_slot_goes_on(make_client: MakeClient) -> None:
    """A thread can't be stopped: its attempt fails in time, the slot is free, and what it returns is ignored."""
    release = threading.Event()
    ended = threading.Event()
    workers = Workers()

    @workers.worker
    def work(job: Job[Work]) -> str:
        if job.args.n == 0:
            release.wait(PATIENCE)
            ended.set()
        return "worked"

    async with make_client(workers) as client:
        await client.start(queues={"default": 1})
        stuck = await client.insert(Work(n=0), InsertOpts(timeout=SHORT, max_attempts=1))
        after = await client.insert(Work(n=1))
        assert (await client.jobs.wait(after.job.id, PATIENCE)).output == "worked"
        job = await client.jobs.wait(stuck.job.id, PATIENCE)
        release.set()
        assert await asyncio.to_thread(ended.wait, PATIENCE)
        assert job == await client.jobs.get(stuck.job.id)
    assert (job.state, job.errors[0].type) == (JobState.DISCARDED, "JobTimeoutError")


async def test_pools_do_not_hold_each_other_up(make_client: MakeClient) -> None:
    """A pool whose every worker is stuck does not delay a job of another."""
    stuck = asyncio.Event()
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        stuck.set()
        await asyncio.sleep(60)

    @workers.worker
    async def other(job: Job[Other]) -> None: ...

    config = Config(queues={"slow": QueueConfig(max_workers=1)}, tasks={"work": TaskConfig(queue="slow")})
    async with make_client(workers, config=config) as client:
        await client.start()
        waiting = await client.insert_many([Work()] * 5)
        await within(stuck)
        quick = await client.insert(Other())
        assert (await client.jobs.wait(quick.job.id, PATIENCE)).state is JobState.COMPLETED
        await until_state(client, waiting[1].job.id, JobState.AVAILABLE)
        await client.stop(timeout=0)
