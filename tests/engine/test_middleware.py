"""What an application puts around its inserts and its workers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import Other, Work, within
from tests.engine.process_workers import Crunch, crunch
from tests.waiting import PATIENCE, eventually
from workerqueue import (
    ConfigError,
    Fixed,
    InsertOpts,
    InsertResult,
    Job,
    JobArgs,
    JobDiscard,
    JobState,
    Workers,
    context,
    current_client,
    current_context,
)
from workerqueue.database import Connection
from workerqueue.engine import executor, hooks
from workerqueue.inserting import Insertable
from workerqueue.middleware import Failure, Insert, InsertNext, Middleware, WorkNext
from workerqueue.options import Payload

ONCE = InsertOpts(max_attempts=1)


class Noting(Middleware):
    """Notes what passes, in order."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    async def insert(self, jobs: Sequence[Insert], call_next: InsertNext) -> Sequence[InsertResult[Payload]]:
        self.notes.append(f"{self.name} inserts {[each.kind for each in jobs]}")
        return await call_next(jobs)

    async def work(self, job: Job[JobArgs], call_next: WorkNext) -> object:
        self.notes.append(f"{self.name} begins for {current_context().tenant}")
        try:
            return await call_next(job)
        finally:
            self.notes.append(f"{self.name} ends")


async def test_the_first_is_the_outermost(make_client: MakeClient) -> None:
    """Around inserts and around work; the context is there in both, as is the current client."""
    notes: list[str] = []
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> str:
        notes.append("works")
        assert current_client() is client
        return "done"

    client = make_client(workers, middleware=[Noting("outer", notes), Middleware(), Noting("inner", notes)])
    await client.start()
    with context(tenant="t1"):
        inserted = await client.insert(Work())
    assert (await client.jobs.wait(inserted.job, PATIENCE)).output == "done"
    assert notes == [
        "outer inserts ['work']",
        "inner inserts ['work']",
        "outer begins for t1",
        "inner begins for t1",
        "works",
        "inner ends",
        "outer ends",
    ]


@pytest.mark.parametrize("where", ["loop", "thread", "process"])
async def test_it_is_around_every_worker(make_client: MakeClient, where: str) -> None:
    """Wherever that runs: what is returned passes through it, and can be another."""

    class Doubling(Middleware):
        async def work(self, job: Job[JobArgs], call_next: WorkNext) -> object:
            return [await call_next(job)] * 2

    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> int:
        await asyncio.sleep(0)
        return 7

    @workers.worker
    def other(job: Job[Other]) -> int:
        return 7

    workers.add(crunch, executor="process")
    args = {"loop": Work(), "thread": Other(), "process": Crunch(way="client")}[where]
    async with make_client(workers, middleware=[Doubling()]) as client:
        await client.start()
        output = (await client.jobs.wait((await client.insert(args)).job, PATIENCE)).output
    assert isinstance(output, list)
    assert output[0] == output[1]
    assert where == "process" or output[0] == 7


async def test_its_time_counts_and_its_errors_are_the_attempts(make_client: MakeClient) -> None:
    """It may refuse to call the worker, and it is cut off at the timeout."""

    class Refusing(Middleware):
        async def work(self, job: Job[JobArgs], call_next: WorkNext) -> object:
            if isinstance(job.args, Work) and job.args.n == 1:
                raise JobDiscard("not today")
            await asyncio.sleep(60)
            return await call_next(job)

    called: list[int] = []
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        called.append(job.id)

    async with make_client(workers, middleware=[Refusing()]) as client:
        await client.start()
        refused = await client.insert(Work(n=1))
        late = await client.insert(Work(n=2), InsertOpts(max_attempts=1, timeout=0.1))
        job = await client.jobs.wait(refused.job, PATIENCE)
        assert (job.state, job.errors[0].error) == (JobState.DISCARDED, "not today")
        job = await client.jobs.wait(late.job, PATIENCE)
        assert (job.state, job.errors[0].type) == (JobState.DISCARDED, "JobTimeoutError")
    assert called == []


class Tagging(Middleware):
    """Changes how jobs are inserted."""

    async def insert(self, jobs: Sequence[Insert], call_next: InsertNext) -> Sequence[InsertResult[Payload]]:
        return await call_next([replace(each, opts=replace(each.opts, tags=["tagged"])) for each in jobs])


@pytest.mark.parametrize("way", ["insert", "insert_tx", "insert_many", "insert_many_tx", "insert_kind"])
async def test_every_way_to_insert_passes_through_it(make_client: MakeClient, sql: Connection, way: str) -> None:
    """One or many, in the caller's transaction or not."""
    both: list[Insertable] = [Work(), (Work(), ONCE)]
    client = make_client(strict=False, middleware=[Tagging()])
    if way == "insert":
        await client.insert(Work(), ONCE)
    elif way == "insert_many":
        assert len(await client.insert_many(iter(both))) == 2
    elif way == "insert_kind":
        await client.insert_kind("work", {"n": 1}, ONCE)
    else:
        async with sql.transaction():
            if way == "insert_tx":
                await client.insert_tx(sql, Work(), ONCE)
            else:
                assert len(await client.insert_many_tx(sql, both)) == 2
    rows = await sql.fetch("select tags from job")
    assert {tuple(row["tags"]) for row in rows} == {("tagged",)}


async def test_what_it_raises_refuses_the_insert(make_client: MakeClient, sql: Connection) -> None:
    """Nothing is stored; an answer that is not one for each is refused too, in the caller's transaction."""

    class Refusing(Middleware):
        async def insert(self, jobs: Sequence[Insert], call_next: InsertNext) -> Sequence[InsertResult[Payload]]:
            if any(isinstance(each.args, Work) and each.args.n == 1 for each in jobs):
                raise PermissionError("no")
            return (await call_next(jobs))[:1]

    client = make_client(middleware=[Refusing()])
    with pytest.raises(PermissionError):
        await client.insert_many([Work(), Work(n=1)])
    assert await sql.fetchval("select count(*) from job") == 0
    with pytest.raises(ConfigError, match="expected a result for each of 2 inserts, got 1"):
        async with sql.transaction():
            await client.insert_many_tx(sql, [Work(), Work()])
    assert await sql.fetchval("select count(*) from job") == 0


class Hearing(Middleware):
    """Hears of failures."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, int, int, bool, bool]] = []

    async def on_failure(self, failure: Failure) -> None:
        self._note("failure", failure)

    async def on_discard(self, failure: Failure) -> None:
        self._note("discard", failure)

    def _note(self, what: str, failure: Failure) -> None:
        assert current_context().tenant == "t1"
        self.heard.append(
            (
                what,
                type(failure.error).__name__,
                failure.attempt,
                failure.max_attempts,
                failure.is_last,
                failure.retry_in is not None,
            )
        )


@pytest.mark.req("A37", "B8")
async def test_failures_are_heard_of_with_what_becomes_of_the_job(make_client: MakeClient) -> None:
    """The attempt, how many there are, whether it was the last; also where the worker was not even called."""
    hearing = Hearing()
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        if job.args.n == 1:
            raise JobDiscard("hopeless")
        raise ValueError

    async with make_client(workers, middleware=[hearing]) as client:
        await client.start(queues={"default": 1})
        with context(tenant="t1"):
            first = await client.insert(Work(), InsertOpts(max_attempts=2, retry=Fixed(0)))
            await client.jobs.wait(first.job, PATIENCE)
            second = await client.insert(Work(n=1))
            await client.jobs.wait(second.job, PATIENCE)
    assert hearing.heard == [
        ("failure", "ValueError", 1, 2, False, True),
        ("failure", "ValueError", 2, 2, True, False),
        ("discard", "ValueError", 2, 2, True, False),
        ("failure", "JobDiscard", 1, 3, True, False),
        ("discard", "JobDiscard", 1, 3, True, False),
    ]


async def test_a_stuck_worker_is_heard_of(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nobody waits for it any more."""
    monkeypatch.setattr(executor, "STUCK_AFTER", 0.05)
    hearing, release = Hearing(), asyncio.Event()
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()

    async with make_client(workers, middleware=[hearing]) as client:
        await client.start()
        with context(tenant="t1"):
            inserted = await client.insert(Work(), InsertOpts(max_attempts=1, timeout=0.05))
        assert (await client.jobs.wait(inserted.job, PATIENCE)).state is JobState.DISCARDED

        async def is_heard() -> bool:
            return len(hearing.heard) == 2

        assert await eventually(is_heard)
        release.set()
    assert [each[:2] for each in hearing.heard] == [("failure", "JobTimeoutError"), ("discard", "JobTimeoutError")]


async def test_a_stop_cuts_a_hook_off_and_the_outcome_is_written(make_client: MakeClient) -> None:
    """Nothing of the client is left running, whether the worker was called or not."""
    begun = [asyncio.Event(), asyncio.Event()]

    class Hanging(Middleware):
        async def on_failure(self, failure: Failure) -> None:
            begun[failure.job.priority].set()
            await asyncio.sleep(60)

    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        raise ValueError

    async with make_client(workers, middleware=[Hanging()]) as client:
        await client.start()
        past = InsertOpts(priority=1, deadline=timedelta())
        failed = await client.insert(Work(), InsertOpts(priority=0, max_attempts=1))
        late = await client.insert(Work(), past)
        for each in begun:
            await within(each)
        await client.stop(timeout=0)
        for inserted, kind in ((failed, "ValueError"), (late, "DeadlineError")):
            job = await client.jobs.get(inserted.job)
            assert job is not None
            assert (job.state, job.errors[0].type) == (JobState.DISCARDED, kind)


async def test_args_that_do_not_fit_are_heard_of(make_client: MakeClient, sql: Connection) -> None:
    """The job is there with its args as they are."""
    heard: list[object] = []

    class Hearing(Middleware):
        async def on_discard(self, failure: Failure) -> None:
            heard.append((failure.job.args, type(failure.error).__name__))

    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None: ...

    async with make_client(workers, middleware=[Hearing()]) as client:
        inserted = await client.insert(Work())
        await sql.execute("""update job set args = '{"n": "x"}'""")
        await client.start()
        await client.jobs.wait(inserted.job, PATIENCE)
    assert heard == [({"n": "x"}, "ArgsError")]


async def test_a_hook_that_fails_or_hangs_changes_nothing(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The attempt ends as it does, and the next one hears of it all the same."""
    monkeypatch.setattr(hooks, "LONGEST", 0.05)
    heard: list[str] = []

    class Failing(Middleware):
        async def on_failure(self, failure: Failure) -> None:
            raise RuntimeError(f"hook of {failure.job.id}")

    class Hanging(Middleware):
        async def on_failure(self, failure: Failure) -> None:
            await asyncio.sleep(60 * failure.attempt)

    class Last(Middleware):
        async def on_failure(self, failure: Failure) -> None:
            heard.append(type(failure.error).__name__)

    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        raise ValueError

    async with make_client(workers, middleware=[Failing(), Hanging(), Last()]) as client:
        await client.start()
        inserted = await client.insert(Work(), ONCE)
        job = await client.jobs.wait(inserted.job, PATIENCE)
    assert (job.state, job.errors[0].type, heard) == (JobState.DISCARDED, "ValueError", ["ValueError"])
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [each.split(" failed")[0].rsplit(".", 1)[-1] for each in messages if "at a failure" in each] == [
        "Failing",
        "Hanging",
    ]
