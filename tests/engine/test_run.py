"""`Client.run`: until it is told to end, until all is worked, or for a time."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import anyio
import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import Other, Work, within
from tests.waiting import PATIENCE
from workerqueue import ConfigError, Fixed, InsertOpts, Job, UnknownQueueError, Workers, current_client
from workerqueue.database import Connection


async def test_a_draining_run_ends_when_all_it_can_work_is_done(make_client: MakeClient, sql: Connection) -> None:
    """What is scheduled or retried within the horizon is worked first; later jobs and unknown kinds stay."""
    ran: list[tuple[int, int]] = []
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        ran.append((job.args.n, job.attempt))
        if job.args.n == 2 and job.attempt < 3:
            raise ValueError("failed")
        if job.args.n == 4:
            await asyncio.sleep(0.3)

    client = make_client(workers)
    await client.insert_many(
        [
            Work(n=1),
            (Work(n=2), InsertOpts(retry=Fixed(0.1))),
            (Work(n=3), InsertOpts(scheduled_at=0.5)),
            Work(n=4),
            (Work(n=5), InsertOpts(scheduled_at=3600)),
            Other(n=6),
        ]
    )
    with anyio.fail_after(PATIENCE):
        assert await client.run(drain=True, horizon=60)
    assert sorted(ran) == [(1, 1), (2, 1), (2, 2), (2, 3), (3, 1), (4, 1)]
    left = await sql.fetch("select kind, state, attempt from job order by id")
    assert [tuple(row) for row in left] == [("work", "scheduled", 0), ("other", "available", 0)]


async def test_a_draining_run_works_what_its_jobs_insert(make_client: MakeClient, sql: Connection) -> None:
    """A chain of jobs, each inserted by the one before, is drained to its end."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        if job.args.n:
            async with current_client().transaction() as tx:
                await current_client().insert_tx(tx, Work(n=job.args.n - 1))

    client = make_client(workers)
    await client.insert(Work(n=20))
    with anyio.fail_after(PATIENCE):
        await client.run(drain=True)
    assert await sql.fetchval("select count(*) from job_finalized where state = 'completed'") == 21


async def test_a_draining_run_with_nothing_to_do_ends_at_once(make_client: MakeClient) -> None:
    """An empty queue is drained."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None: ...

    with anyio.fail_after(PATIENCE):
        assert await make_client(workers).run(drain=True, horizon=0)


async def test_a_run_ends_after_its_time(make_client: MakeClient, sql: Connection) -> None:
    """With `max_time` it stops then, as a stop does: what runs past the grace goes back."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        await asyncio.sleep(60)

    client = make_client(workers, stop_timeout=0)
    await client.insert(Work())
    began = time.monotonic()
    assert await client.run(max_time=0.5, drain=True)
    assert 0.5 <= time.monotonic() - began < PATIENCE
    row = await sql.fetchrow("select state, attempt from job")
    assert row is not None
    assert tuple(row) == ("available", 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_ends_a_run_softly(
    make_client: MakeClient, sql: Connection, number: signal.Signals
) -> None:
    """SIGTERM and SIGINT let running jobs finish."""
    started = asyncio.Event()
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> str:
        started.set()
        os.kill(os.getpid(), number)
        await asyncio.sleep(0.2)
        return "finished"

    client = make_client(workers)
    inserted = await client.insert(Work())
    with anyio.fail_after(PATIENCE):
        assert await client.run()
    assert await sql.fetchval("select output from job_finalized where id = $1", inserted.job.id) == '"finished"'


async def test_a_second_signal_releases_what_runs_at_once(make_client: MakeClient, sql: Connection) -> None:
    """After two signals the run says that it did not end softly, and its job is available again."""
    cancelled = asyncio.Event()
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.sleep(0.5)
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    client = make_client(workers, stop_timeout=60)
    await client.insert(Work())
    with anyio.fail_after(PATIENCE):
        assert not await client.run()
    await within(cancelled)
    row = await sql.fetchrow("select state, attempt, lease from job")
    assert row is not None
    assert tuple(row) == ("available", 0, None)


WRONG = {
    "a queue that is not configured": ({"queues": {"defaut": None}}, UnknownQueueError, "did you mean 'default'"),
    "no workers for a queue": ({"queues": {"default": 0}}, ConfigError, "max_workers"),
    "no time": ({"max_time": 0}, ConfigError, "max_time: expected a duration longer than 0"),
    "a negative horizon": ({"drain": True, "horizon": -1}, ConfigError, "horizon: expected a duration of 0 or longer"),
}


@pytest.mark.parametrize(("options", "error", "text"), WRONG.values(), ids=WRONG.keys())
async def test_a_run_that_cannot_be_right_is_refused_before_it_starts(
    make_client: MakeClient, options: dict[str, object], error: type[Exception], text: str
) -> None:
    """The error names the setting."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None: ...

    with pytest.raises(error, match=text):
        await make_client(workers).run(**options)  # type: ignore[arg-type]
