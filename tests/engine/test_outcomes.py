"""How an attempt ends and what is then stored: what workers return and raise, in all their forms."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar
from datetime import timedelta
from typing import NamedTuple, cast

import pytest
from pydantic import BaseModel

from tests.conftest import MakeClient
from tests.engine.jobs import Other, Recorder, Work, until_state
from tests.waiting import PATIENCE, eventually
from workerqueue import (
    Config,
    Delays,
    Exponential,
    Fixed,
    InsertOpts,
    Job,
    JobCancel,
    JobDiscard,
    JobRetry,
    JobSnooze,
    JobState,
    TaskConfig,
    Worker,
    Workers,
    current_client,
)
from workerqueue.database import Connection


def raising(make: Callable[[], BaseException]) -> Workers:
    """Make workers whose one worker always raises."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        raise make()

    return workers


class Ending(NamedTuple):
    """What a worker raises in its first of three attempts, and what becomes of its job."""

    error: Callable[[], BaseException]
    state: JobState
    attempt: int
    delay: timedelta | None
    recorded: str | None


POLICY = Fixed(timedelta(minutes=5))

ENDINGS = {
    "any exception": Ending(lambda: KeyError("k"), JobState.RETRYABLE, 1, POLICY.base_delay(1), "KeyError"),
    "retry by the policy": Ending(JobRetry, JobState.RETRYABLE, 1, POLICY.base_delay(1), "JobRetry"),
    "retry after a delay": Ending(lambda: JobRetry(60), JobState.RETRYABLE, 1, timedelta(seconds=60), "JobRetry"),
    "discard": Ending(lambda: JobDiscard("no use"), JobState.DISCARDED, 1, None, "JobDiscard"),
    "cancel": Ending(lambda: JobCancel("not wanted"), JobState.CANCELLED, 1, None, "JobCancel"),
    "snooze": Ending(lambda: JobSnooze(timedelta(hours=1)), JobState.SCHEDULED, 0, timedelta(hours=1), None),
    "SystemExit": Ending(lambda: SystemExit(3), JobState.RETRYABLE, 1, POLICY.base_delay(1), "SystemExit"),
    "KeyboardInterrupt": Ending(KeyboardInterrupt, JobState.RETRYABLE, 1, POLICY.base_delay(1), "KeyboardInterrupt"),
    "CancelledError": Ending(asyncio.CancelledError, JobState.RETRYABLE, 1, POLICY.base_delay(1), "CancelledError"),
    "GeneratorExit": Ending(GeneratorExit, JobState.RETRYABLE, 1, POLICY.base_delay(1), "GeneratorExit"),
    "StopIteration": Ending(StopIteration, JobState.RETRYABLE, 1, POLICY.base_delay(1), "RuntimeError"),
    "an exception group": Ending(
        lambda: ExceptionGroup("two", [ValueError("a"), ValueError("b")]),
        JobState.RETRYABLE,
        1,
        POLICY.base_delay(1),
        "ExceptionGroup",
    ),
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
async def test_what_a_worker_raises_decides_what_is_stored(
    make_client: MakeClient, sql: Connection, ending: Ending
) -> None:
    """State, counted attempt, due time and error history follow from what was raised."""
    async with make_client(raising(ending.error)) as client:
        await client.start()
        inserted = await client.insert(Work(), InsertOpts(retry=POLICY))
        job = await until_state(client, inserted.job.id, ending.state)
        changed = await sql.fetchval("select statement_timestamp()")

    assert (job.attempt, job.attempted_by) == (ending.attempt, [client.id])
    assert [error.type for error in job.errors] == ([ending.recorded] if ending.recorded else [])
    if ending.delay is None:
        assert job.finalized_at is not None
    else:
        assert changed - timedelta(seconds=10) < job.scheduled_at - ending.delay <= changed
        if job.errors:
            assert job.scheduled_at - job.errors[0].at == ending.delay


async def test_a_worker_that_raised_a_base_exception_does_not_cost_its_slot(make_client: MakeClient) -> None:
    """After each exception that is none of `Exception`, the pool's one slot works the next job."""
    endings: list[type[BaseException]] = [SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit]
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> str:
        if job.args.n < len(endings):
            raise endings[job.args.n]
        return "worked"

    async with make_client(workers) as client:
        await client.start(queues={"default": 1})
        for n in range(len(endings)):
            await client.insert(Work(n=n), InsertOpts(max_attempts=1))
        last = await client.insert(Work(n=len(endings)))
        assert (await client.jobs.wait(last.job.id, PATIENCE)).output == "worked"


async def test_a_worker_that_cancels_its_own_task_loses_neither_slot_nor_job(make_client: MakeClient) -> None:
    """The attempt fails like any other, and the slot works the next job."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        if job.args.n == 0:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(60)

    async with make_client(workers) as client:
        await client.start(queues={"default": 1})
        suicidal = await client.insert(Work(n=0), InsertOpts(max_attempts=1))
        after = await client.insert(Work(n=1))
        assert (await client.jobs.wait(after.job.id, PATIENCE)).state is JobState.COMPLETED
        assert (await client.jobs.wait(suicidal.job.id, PATIENCE)).state is JobState.DISCARDED


async def test_an_exception_whose_text_cannot_be_read_still_fails_its_attempt(make_client: MakeClient) -> None:
    """An error with a broken `__str__` is recorded by its type, and the job ends."""

    class Mute(Exception):  # noqa: N818 - a name for the test
        def __str__(self) -> str:
            raise ValueError("no text")

    async with make_client(raising(Mute)) as client:
        await client.start()
        inserted = await client.insert(Work(), InsertOpts(max_attempts=1))
        job = await client.jobs.wait(inserted.job.id, PATIENCE)

    assert (job.state, [error.type for error in job.errors]) == (JobState.DISCARDED, ["Mute"])


async def test_an_error_text_that_postgresql_cannot_hold_is_stored_cleaned(make_client: MakeClient) -> None:
    """NUL and lone surrogates in an error's text never keep a job from ending, and long texts are cut."""
    async with make_client(raising(lambda: ValueError("nul \0 surrogate \ud800 " + "x" * 100_000))) as client:
        await client.start()
        inserted = await client.insert(Work(), InsertOpts(max_attempts=1))
        job = await client.jobs.wait(inserted.job.id, PATIENCE)

    (error,) = job.errors
    assert error.error.startswith("nul \ufffd surrogate \\ud800 xxx")
    assert len(error.error.encode()) <= 8 * 1024
    assert len((error.trace or "").encode()) <= 32 * 1024


@pytest.mark.req("A22", "D8", "D22", "D23", "B8")
async def test_a_job_is_started_as_often_as_it_has_attempts_and_then_discarded(
    make_client: MakeClient, sql: Connection
) -> None:
    """An always failing worker starts exactly `max_attempts` times, and each failure is in the history."""
    starts: list[int] = []
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        starts.append(job.attempt)
        raise ValueError(f"failure {job.attempt}")

    async with make_client(workers) as client:
        await client.start()
        inserted = await client.insert(Work(), InsertOpts(max_attempts=3, retry=Fixed(0)))
        job = await client.jobs.wait(inserted.job.id, PATIENCE)

    assert starts == [1, 2, 3]
    assert (job.state, job.attempt, job.attempted_by) == (JobState.DISCARDED, 3, [client.id] * 3)
    assert [(error.attempt, error.error) for error in job.errors] == [(n, f"failure {n}") for n in (1, 2, 3)]
    for error in job.errors:
        assert (error.type, error.client) == ("ValueError", client.id)
        assert "test_outcomes.py" in (error.trace or "")
        assert "workerqueue/engine" not in (error.trace or "")
    assert [error.at for error in job.errors] == sorted(error.at for error in job.errors)


@pytest.mark.req("A6")
async def test_a_job_that_fails_twice_and_then_works_is_completed(make_client: MakeClient) -> None:
    """Two failures stay in the history of a completed job."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> int:
        if job.attempt < 3:
            raise ConnectionError("503")
        return 200

    async with make_client(workers) as client:
        await client.start()
        inserted = await client.insert(Work(), InsertOpts(retry=Fixed(0)))
        job = await client.jobs.wait(inserted.job.id, PATIENCE)

    assert (job.state, job.attempt, job.output, len(job.errors)) == (JobState.COMPLETED, 3, 200, 2)


@pytest.mark.req("A23", "B2", "D24")
async def test_the_back_off_of_each_attempt_is_the_jobs_own_policy(make_client: MakeClient, sql: Connection) -> None:
    """The due time after a failure is the failure's time plus the policy stored on the job."""
    policies: dict[Fixed | Delays | Exponential, list[float]] = {
        Fixed(7200): [7200.0, 7200.0],
        Delays((3600, 5400)): [3600.0, 5400.0],
        Exponential(base=3600, factor=2, jitter=0, maximum=timedelta(days=1)): [3600.0, 7200.0],
        Exponential(base=3600, factor=10, jitter=0, maximum=timedelta(hours=2)): [3600.0, 7200.0],
    }
    async with make_client(raising(ValueError)) as client:
        events = Recorder(client)
        await client.start()
        for policy, delays in policies.items():
            inserted = await client.insert(Work(), InsertOpts(retry=policy))
            waited: list[float] = []
            for attempt in range(1, len(delays) + 1):
                await events.until(inserted.job.id, "failed", attempt)
                job = await client.jobs.get(inserted.job.id)
                assert job is not None
                waited.append((job.scheduled_at - job.errors[-1].at).total_seconds())
                await sql.execute("update job set scheduled_at = now() where id = $1", job.id)
            assert waited == delays


async def test_a_policy_survives_the_client_and_beats_the_kinds_own(make_client: MakeClient, sql: Connection) -> None:
    """A job inserted with a policy keeps it under a client whose task table has another."""
    inserted = await make_client().insert(Work(), InsertOpts(retry=Fixed(1234)))
    config = Config(tasks={"work": TaskConfig(retry=Fixed(1))})
    async with make_client(raising(ValueError), config=config) as client:
        await client.start()
        job = await until_state(client, inserted.job.id, JobState.RETRYABLE)
    assert (job.scheduled_at - job.errors[0].at).total_seconds() == 1234


UNSTORABLE_DELAYS: dict[str, tuple[Callable[[], BaseException], InsertOpts]] = {
    "a snooze": (lambda: JobSnooze(timedelta.max), InsertOpts()),
    "a retry": (lambda: JobRetry(timedelta.max), InsertOpts()),
    "a snooze beyond the year 9999": (lambda: JobSnooze(timedelta(days=365 * 9000)), InsertOpts()),
    "a fixed policy": (ValueError, InsertOpts(retry=Fixed(timedelta.max))),
    "a fixed policy that jitter lengthens": (ValueError, InsertOpts(retry=Fixed(timedelta.max, jitter=1e-9))),
    "a fixed policy beyond the year 9999": (ValueError, InsertOpts(retry=Fixed(timedelta(days=365 * 9000)))),
}


@pytest.mark.parametrize(("error", "opts"), UNSTORABLE_DELAYS.values(), ids=UNSTORABLE_DELAYS.keys())
async def test_a_delay_too_long_for_a_timestamp_leaves_a_job_that_can_be_read(
    make_client: MakeClient, sql: Connection, error: Callable[[], BaseException], opts: InsertOpts
) -> None:
    """However long a delay is asked for, the run ends and the job can be looked at."""
    async with make_client(raising(error)) as client:
        await client.start()
        inserted = await client.insert(Work(), opts)

        async def ended() -> bool:
            state = await sql.fetchval("select state from job_all where id = $1", inserted.job.id)
            return state in {"retryable", "scheduled", "discarded"}

        await eventually(ended)
        job = await client.jobs.get(inserted.job.id)
    assert job is not None


@pytest.mark.req("D14")
async def test_what_a_worker_returns_is_the_output(make_client: MakeClient) -> None:
    """Outputs of async, sync and class workers are stored alike, typed models and plain JSON."""

    class Result(BaseModel):
        total: int

    class Summing(Worker[Work]):
        async def work(self, job: Job[Work]) -> Result:
            return Result(total=job.args.n)

    workers = Workers()
    workers.add(Summing())

    @workers.worker
    def other(job: Job[Other]) -> dict[str, object]:
        return {"n": job.args.n, "nested": [None, "é"]}

    async with make_client(workers) as client:
        await client.start()
        first, second = await client.insert_many([Work(n=3), Other(n=4)])
        summed = await client.jobs.wait(first.job.id, PATIENCE)
        plain = await client.jobs.wait(second.job.id, PATIENCE)

    assert summed.output_as(Result) == Result(total=3)
    assert plain.output == {"n": 4, "nested": [None, "é"]}


class Holder(BaseModel):
    inner: object


CIRCULAR: list[object] = []
CIRCULAR.append(CIRCULAR)

BAD_OUTPUTS: dict[str, tuple[object, str]] = {
    "NaN": ({"a": [1.0, float("nan")]}, "output.a[1]"),
    "infinite": (float("inf"), "output"),
    "an integer beyond 64 bits": ({"n": 2**70}, "output.n"),
    "not JSON": ({"x": object()}, "output"),
    "too large": ("x" * 1024 * 1024, "output"),
    "refers to itself": (CIRCULAR, "output"),
    "a model that holds what is not JSON": (Holder(inner=object()), "output"),
}


@pytest.mark.parametrize(("value", "path"), BAD_OUTPUTS.values(), ids=BAD_OUTPUTS.keys())
async def test_an_output_that_cannot_be_stored_fails_its_attempt(
    make_client: MakeClient, value: object, path: str
) -> None:
    """The attempt fails with the path to what can't be stored, and no output is kept."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> object:
        return value

    async with make_client(workers) as client:
        await client.start()
        inserted = await client.insert(Work(), InsertOpts(max_attempts=1))
        job = await client.jobs.wait(inserted.job.id, PATIENCE)

    assert (job.state, job.output) == (JobState.DISCARDED, None)
    assert job.errors[0].error.startswith(path)


@pytest.mark.parametrize(
    ("output", "stored"), [("a\0b", "a\ufffdb"), ({"k": "\ud800"}, {"k": "\\ud800"})], ids=["NUL", "lone surrogate"]
)
async def test_text_in_an_output_that_postgresql_cannot_hold_is_cleaned(
    make_client: MakeClient, output: object, stored: object
) -> None:
    """NUL becomes U+FFFD and a lone surrogate its escape; the job is completed."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> object:
        return output

    async with make_client(workers) as client:
        await client.start()
        inserted = await client.insert(Work(), InsertOpts(max_attempts=1))
        job = await client.jobs.wait(inserted.job.id, PATIENCE)

    assert (job.state, job.output) == (JobState.COMPLETED, stored)


async def test_a_sync_worker_runs_in_a_thread_with_the_context_of_its_client(make_client: MakeClient) -> None:
    """A plain function runs off the event loop, and `current_client()` and context variables reach it."""
    seen: list[object] = []
    place = ContextVar("place", default="nowhere")
    workers = Workers()

    @workers.worker
    def work(job: Job[Work]) -> None:
        seen.extend([threading.current_thread() is threading.main_thread(), current_client(), place.get()])

    async with make_client(workers) as client:
        place.set("here")
        await client.start()
        inserted = await client.insert(Work())
        job = await client.jobs.wait(inserted.job.id, PATIENCE)

    assert job.state is JobState.COMPLETED
    assert seen == [False, client, "here"]


async def test_a_context_variable_set_by_one_job_is_not_seen_by_the_next(make_client: MakeClient) -> None:
    """Jobs that follow each other in one slot share no context."""
    tenant = ContextVar("tenant", default="nobody")
    seen: list[str] = []
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        seen.append(tenant.get())
        tenant.set(f"tenant {job.args.n}")

    async with make_client(workers) as client:
        await client.start(queues={"default": 1})
        for n in range(3):
            inserted = await client.insert(Work(n=n))
            await client.jobs.wait(inserted.job.id, PATIENCE)

    assert seen == ["nobody"] * 3


class Ruled(Worker[Work]):
    """A class worker whose rules say what the test gives."""

    def __init__(
        self, *, retry: Callable[[], object] | None = None, timeout: Callable[[], object] | None = None
    ) -> None:
        self.retry = retry
        self.limit = timeout

    async def work(self, job: Job[Work]) -> None:
        del job
        if self.limit is None:
            raise ValueError("failed")
        await asyncio.sleep(60)

    def timeout(self, job: Job[Work]) -> timedelta | float | None:
        del job
        return cast("timedelta | float | None", self.limit() if self.limit else None)

    def next_retry(self, job: Job[Work], error: BaseException) -> timedelta | float | None:
        del job, error
        return cast("timedelta | float | None", self.retry() if self.retry else None)


def broken(error: BaseException) -> Callable[[], object]:
    """Make a rule that raises."""

    def rule() -> object:
        raise error

    return rule


RETRY_RULES: dict[str, tuple[Callable[[], object], float]] = {
    "a number of seconds": (lambda: 90, 90.0),
    "a timedelta": (lambda: timedelta(minutes=3), 180.0),
    "none": (lambda: None, 300.0),
    "negative means now": (lambda: -5, 0.0),
    "raises": (broken(ValueError("rule")), 300.0),
    "raises what is no Exception": (broken(asyncio.CancelledError()), 300.0),
    "no duration": (lambda: "soon", 300.0),
    "not a number": (lambda: float("nan"), 300.0),
}


@pytest.mark.parametrize(("rule", "delay"), RETRY_RULES.values(), ids=RETRY_RULES.keys())
async def test_a_class_workers_own_rule_comes_before_the_jobs_policy(
    make_client: MakeClient, rule: Callable[[], object], delay: float
) -> None:
    """`next_retry` gives the delay; a rule that says nothing or fails leaves it to the policy."""
    workers = Workers()
    workers.add(Ruled(retry=rule))
    async with make_client(workers) as client:
        events = Recorder(client)
        await client.start(queues={"default": 1})
        inserted = await client.insert(Work(), InsertOpts(retry=POLICY, max_attempts=2))
        await events.until(inserted.job.id, "failed")
        job = await client.jobs.get(inserted.job.id)

    assert job is not None
    assert (job.scheduled_at - job.errors[0].at).total_seconds() == delay


TIMEOUT_RULES: dict[str, tuple[Callable[[], object], str]] = {
    "a number of seconds": (lambda: 0.05, "JobTimeoutError"),
    "a timedelta": (lambda: timedelta(milliseconds=50), "JobTimeoutError"),
    "raises": (broken(KeyError("rule")), "KeyError"),
    "zero": (lambda: 0, "ValueError"),
    "no duration": (lambda: "soon", "ValueError"),
}


@pytest.mark.parametrize(("rule", "error"), TIMEOUT_RULES.values(), ids=TIMEOUT_RULES.keys())
async def test_a_class_workers_own_timeout_comes_before_the_jobs(
    make_client: MakeClient, rule: Callable[[], object], error: str
) -> None:
    """`timeout` limits the attempt; a rule that can't be right fails it and says so."""
    workers = Workers()
    workers.add(Ruled(timeout=rule))
    async with make_client(workers) as client:
        await client.start()
        inserted = await client.insert(Work(), InsertOpts(max_attempts=1))
        job = await client.jobs.wait(inserted.job.id, PATIENCE)
    assert [each.type for each in job.errors] == [error]


async def test_the_job_to_follow_a_discarded_one_is_worked(make_client: MakeClient) -> None:
    """`on_discard` is inserted when the job is discarded, with its own settings, and not when it completes."""
    worked: list[int] = []
    workers = raising(ValueError)

    @workers.worker
    async def other(job: Job[Other]) -> None:
        worked.append(job.args.n)

    async with make_client(workers) as client:
        await client.start()
        await client.insert(Other(n=1), InsertOpts(on_discard=Other(n=2)))
        discarded = await client.insert(Work(), InsertOpts(max_attempts=1, on_discard=Other(n=3)))
        await client.jobs.wait(discarded.job.id, PATIENCE)

        async def both() -> bool:
            return len(worked) >= 2

        await eventually(both)
    assert sorted(worked) == [1, 3]


@pytest.mark.req("B27", "B51")
async def test_a_job_that_was_due_too_long_ago_is_discarded(make_client: MakeClient, sql: Connection) -> None:
    """Its worker is not called; the age counts from when it was due, not from its insert, by the database's clock."""
    ran: list[int] = []
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        ran.append(job.args.n)

    client = make_client(workers, config=Config(tasks={"work": TaskConfig(max_age=timedelta(hours=24))}))
    old = await client.insert(Work(n=1))
    await sql.execute("update job set scheduled_at = now() - interval '25 hours'")
    registered_long_ago = await client.insert(Work(n=2))
    await sql.execute(
        "update job set created_at = now() - interval '30 days', scheduled_at = now() - interval '23 h' where id = $1",
        registered_long_ago.job.id,
    )
    await client.start()
    job = await until_state(client, old.job.id, JobState.DISCARDED)
    await until_state(client, registered_long_ago.job.id, JobState.COMPLETED)
    assert ran == [2]
    (error,) = job.errors
    assert (error.type, error.attempt, error.trace) == ("TooOldError", 1, None)
    assert "its kind's max_age is 1 day, 0:00:00" in error.error
