"""What a timeout does to async workers, to those that resist, and to threads."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import Other, Work, until_state, within
from tests.waiting import PATIENCE
from workerqueue import Config, Fixed, InsertOpts, Job, JobState, QueueConfig, TaskConfig, Workers
from workerqueue.database import Connection
from workerqueue.engine import executor

SHORT = timedelta(milliseconds=100)


@contextmanager
def signalled_by(words: str, signal: asyncio.Event) -> Generator[None]:
    """Set a signal at a log line of the engine with these words."""

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if words in record.getMessage():
                signal.set()

    ear, log = Ear(), logging.getLogger("workerqueue.engine")
    log.addHandler(ear)
    try:
        yield
    finally:
        log.removeHandler(ear)


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


async def test_a_thread_is_ended_at_its_timeout(make_client: MakeClient) -> None:
    """A loop of Python that never ends meets an exception, which `except Exception` does not swallow."""
    ended = threading.Event()
    workers = Workers()

    @workers.worker
    def work(job: Job[Work]) -> None:
        try:
            while True:
                with suppress(Exception):
                    sum(range(1_000))
        finally:
            ended.set()

    async with make_client(workers) as client:
        await client.start()
        inserted = await client.insert(Work(), InsertOpts(timeout=SHORT, max_attempts=1))
        job = await client.jobs.wait(inserted.job.id, PATIENCE)
        assert await asyncio.to_thread(ended.wait, PATIENCE)
    assert (job.state, job.errors[0].type) == (JobState.DISCARDED, "JobTimeoutError")


async def test_a_thread_that_waits_outside_python_holds_no_slot(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its attempt fails in time, its slot works on, the log tells of it, and it ends when its call returns."""
    monkeypatch.setattr(executor, "STUCK_AFTER", 0.1)
    release, ended, stuck = threading.Event(), threading.Event(), asyncio.Event()
    workers = Workers()

    @workers.worker
    def work(job: Job[Work]) -> str:
        if job.args.n == 0:
            try:
                release.wait(PATIENCE)
            finally:
                ended.set()
        return "worked"

    with signalled_by("is stuck", stuck):
        async with make_client(workers) as client:
            await client.start(queues={"default": 1})
            first = await client.insert(Work(n=0), InsertOpts(timeout=SHORT, max_attempts=1))
            after = await client.insert(Work(n=1))
            assert (await client.jobs.wait(after.job.id, PATIENCE)).output == "worked"
            job = await client.jobs.wait(first.job.id, PATIENCE)
            await within(stuck)
            release.set()
            assert await asyncio.to_thread(ended.wait, PATIENCE)
            assert job == await client.jobs.get(first.job.id)
    assert (job.state, job.errors[0].type) == (JobState.DISCARDED, "JobTimeoutError")
    assert "A thread of work is stuck" in caplog.text


async def test_a_worker_that_ignores_its_end_loses_its_slot(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The attempt ends without it, another slot works on, and what it makes of itself later counts for nothing."""
    monkeypatch.setattr(executor, "STUCK_AFTER", 0.1)
    release, ended = asyncio.Event(), asyncio.Event()
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> str:
        while job.args.n == 0 and not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()
        ended.set()
        return "worked"

    async with make_client(workers) as client:
        await client.start(queues={"default": 1})
        first = await client.insert(Work(n=0), InsertOpts(timeout=SHORT, max_attempts=1))
        job = await client.jobs.wait(first.job.id, PATIENCE)
        assert (job.state, job.errors[0].type) == (JobState.DISCARDED, "JobTimeoutError")
        after = await client.insert(Work(n=1))
        assert (await client.jobs.wait(after.job.id, PATIENCE)).output == "worked"
        ended.clear()
        release.set()
        await within(ended)
        again = await client.insert(Work(n=2))
        assert (await client.jobs.wait(again.job.id, PATIENCE)).output == "worked"
        assert job == await client.jobs.get(first.job.id)
    assert "A worker is stuck" in caplog.text


async def test_too_many_that_ignore_their_end_ask_for_a_restart(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A pool gives up as many workers as it has; the next one keeps its slot, and the log asks for a restart."""
    monkeypatch.setattr(executor, "STUCK_AFTER", 0.05)
    release, asked = asyncio.Event(), asyncio.Event()
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()

    with signalled_by("restart this process", asked):
        async with make_client(workers) as client:
            await client.start(queues={"default": 1})
            await client.insert_many([(Work(n=n), InsertOpts(timeout=SHORT, max_attempts=1)) for n in range(2)])
            await within(asked)
            jobs = (await client.jobs.list()).jobs
            assert sorted(job.state for job in jobs) == [JobState.DISCARDED, JobState.RUNNING]
            release.set()


@pytest.mark.parametrize("delay", [-SHORT, 2 * SHORT])
async def test_a_job_is_not_worked_past_its_deadline(make_client: MakeClient, delay: timedelta) -> None:
    """It is not started after that, a run under way is cut off, and the job is discarded though attempts are left."""
    started: list[int] = []
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        started.append(job.id)
        assert job.deadline_at is not None
        await asyncio.sleep(60)

    async with make_client(workers) as client:
        await client.start()
        inserted = await client.insert(Work(), InsertOpts(deadline=datetime.now(UTC) + delay))
        relative = await client.insert(Work(), InsertOpts(deadline=SHORT))
        assert relative.job.deadline_at == relative.job.created_at + SHORT
        for each in (inserted, relative):
            job = await client.jobs.wait(each.job.id, PATIENCE)
            assert (job.state, job.attempt, job.errors[0].type) == (JobState.DISCARDED, 1, "DeadlineError")
    assert relative.job.id in started
    assert (inserted.job.id in started) == (delay > timedelta())


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
