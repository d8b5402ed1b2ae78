"""Dynamic queues: one job of a name at a time in all processes, in order, and nothing left of a name that is empty."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict

import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import until_none_live
from tests.waiting import eventually
from workerqueue import (
    Config,
    Fixed,
    InsertOpts,
    Job,
    JobArgs,
    JobSnooze,
    JobState,
    QueueConfig,
    TaskConfig,
    Workers,
)
from workerqueue.database import Connection
from workerqueue.errors import ConfigError


class Step(JobArgs):
    run: int
    n: int = 0

    @classmethod
    def kind(cls) -> str:
        return "step"


def config(**task: object) -> Config:
    """Give a table in which a run's steps wait under its name."""
    return Config(
        queues={"default": QueueConfig(max_workers=20)},
        tasks={"step": TaskConfig.model_validate({"dynamic_queue": "runs-{run}", **task})},
    )


class Watch:
    """Works steps, and notes what ran beside what and in which order."""

    def __init__(self) -> None:
        self.now: Counter[int] = Counter()
        self.most: Counter[int] = Counter()
        self.together = 0
        self.order: dict[int, list[int]] = defaultdict(list)

    def workers(self) -> Workers:
        """Make one process's workers."""
        workers = Workers()

        @workers.worker
        async def step(job: Job[Step]) -> None:
            run = job.args.run
            self.now[run] += 1
            self.together = max(self.together, self.now.total())
            self.most[run] = max(self.most[run], self.now[run])
            self.order[run].append(job.args.n)
            await asyncio.sleep(0)
            self.now[run] -= 1

        return workers


@pytest.mark.parametrize("clients", [1, 3])
async def test_one_at_a_time_and_in_order(make_client: MakeClient, sql: Connection, clients: int) -> None:
    """Any number of clients: a name's jobs run one by one in the order they came; names run beside each other."""
    watch = Watch()
    started = [make_client(config=config(), workers=watch.workers()) for _ in range(clients)]
    await started[0].insert_many([Step(run=n % 7, n=n) for n in range(350)])
    for client in started:
        await client.start()
    await until_none_live(sql)
    assert set(watch.most.values()) == {1}
    assert watch.order == {run: list(range(run, 350, 7)) for run in range(7)}
    assert await sql.fetchval("select count(*) from job_finalized where state = 'completed' and attempt = 1") == 350
    assert await sql.fetchval("select count(*) from dynamic_queue") == 0


async def test_a_limit_above_one(make_client: MakeClient, sql: Connection) -> None:
    """With `dynamic_limit = 3` three jobs of a name run at once, and never more."""
    watch, gate = Watch(), asyncio.Event()
    workers = Workers()
    full = asyncio.Event()

    @workers.worker
    async def step(job: Job[Step]) -> None:
        watch.now[job.args.run] += 1
        watch.most[job.args.run] = max(watch.most[job.args.run], watch.now[job.args.run])
        if watch.now.total() == 6:
            full.set()
        await gate.wait()
        watch.now[job.args.run] -= 1

    client = make_client(config=config(dynamic_limit=3), workers=workers)
    await client.insert_many([Step(run=n % 2) for n in range(40)])
    await client.start()
    await asyncio.wait_for(full.wait(), 20)
    gate.set()
    await until_none_live(sql)
    assert watch.most == {0: 3, 1: 3}
    assert await sql.fetchval("select count(*) from dynamic_queue") == 0


async def test_priority_goes_first_within_a_name(make_client: MakeClient, sql: Connection) -> None:
    """What comes later with a smaller priority runs before what waits; equals run in the order they came."""
    watch = Watch()
    client = make_client(config=config(), workers=watch.workers())
    for n, priority in enumerate([5, 1, 5, -3, 1]):
        await client.insert(Step(run=1, n=n), InsertOpts(priority=priority))
    await client.start()
    await until_none_live(sql)
    assert watch.order[1] == [3, 1, 4, 0, 2]


async def test_whatever_happens_a_name_goes_on_one_by_one(make_client: MakeClient, sql: Connection) -> None:
    """Jobs fail, snooze, are inserted meanwhile by many, and clients come and go: none is stranded, none overlaps."""
    # What would make two of a name run at once fails here, whoever tries it.
    await sql.execute("create unique index one_runs on job (queue) where state = 'running' and queue is not null")
    watch = Watch()
    failed: set[int] = set()

    def workers() -> Workers:
        made = Workers()

        @made.worker
        async def step(job: Job[Step]) -> None:
            run = job.args.run
            watch.now[run] += 1
            watch.most[run] = max(watch.most[run], watch.now[run])
            try:
                await asyncio.sleep(0.001 * (job.id % 3))
                if job.id % 5 == 0 and job.id not in failed:
                    failed.add(job.id)
                    raise JobSnooze(0.01) if job.id % 2 else ValueError("on purpose")
            finally:
                watch.now[run] -= 1

        return made

    table = config(retry=Fixed(0.01))
    clients = [make_client(config=table, workers=workers(), poll_interval=0.2) for _ in range(3)]
    for client in clients:
        await client.start()

    async def insert(first: int) -> None:
        for n in range(100):
            await clients[0].insert(Step(run=(first + n) % 12, n=n), InsertOpts(priority=1 + n % 2))

    async with asyncio.TaskGroup() as inserting:
        for first in range(5):
            inserting.create_task(insert(first))
        await asyncio.sleep(0.2)
        await clients[2].stop(timeout=0)
        extra = make_client(config=table, workers=workers(), poll_interval=0.2)
        await extra.start()
    await until_none_live(sql)
    assert set(watch.most.values()) == {1}
    assert await sql.fetchval("select count(*) from job_finalized where state = 'completed'") == 500
    assert await sql.fetchval("select count(*) from dynamic_queue") == 0


async def test_a_busy_name_holds_nobody_else_up(make_client: MakeClient, sql: Connection) -> None:
    """Behind a thousand jobs of a name whose first one lasts, another name's job is started all the same."""
    gate, other = asyncio.Event(), asyncio.Event()
    workers = Workers()

    @workers.worker
    async def step(job: Job[Step]) -> None:
        if job.args.run:
            other.set()
        else:
            await gate.wait()

    client = make_client(config=config(), workers=workers, poll_interval=60)
    await client.insert_many([*(Step(run=0, n=n) for n in range(1_000)), Step(run=1)])
    await client.start()
    await asyncio.wait_for(other.wait(), 20)

    async def others_ended() -> bool:
        return bool(await sql.fetchval("select count(*) = 1 from job where state = 'running'"))

    await eventually(others_ended)
    gate.set()
    await until_none_live(sql)
    assert await sql.fetchval("select count(*) from dynamic_queue") == 0


async def test_what_nobody_saw_to_is_found(make_client: MakeClient, sql: Connection) -> None:
    """A process that died between the end of a job and the next one's turn: the leader lets the next one run."""
    watch = Watch()
    client = make_client(config=config(), workers=watch.workers(), poll_interval=0.2)
    await client.insert_many([Step(run=1, n=n) for n in range(3)])
    await sql.execute("update job set state = 'waiting'")
    await sql.execute("insert into dynamic_queue (name, jobs, most, waiting) values ('runs-1', '{999}', 1, true)")
    await client.start()
    await until_none_live(sql)
    assert watch.order[1] == [0, 1, 2]


async def test_readers_see_who_waits_as_pending(make_client: MakeClient) -> None:
    """A job that waits for its turn is `pending`, and is not released by hand."""
    gate, begun = asyncio.Event(), asyncio.Event()
    workers = Workers()

    @workers.worker
    async def step(job: Job[Step]) -> None:
        begun.set()
        await gate.wait()

    client = make_client(config=config(), workers=workers)
    first, second = await client.insert_many([Step(run=1), Step(run=1)])
    await client.start()
    await asyncio.wait_for(begun.wait(), 20)

    async def waits() -> bool:
        found = await client.jobs.get(second.job.id)
        return found is not None and found.state is JobState.PENDING

    await eventually(waits)
    released = await client.jobs.release(second.job.id)
    assert (released.ok, released.reason) == (False, "pending")
    gate.set()
    assert (await client.jobs.wait(second.job.id, 20)).state is JobState.COMPLETED
    assert (await client.jobs.wait(first.job.id, 20)).state is JobState.COMPLETED


@pytest.mark.parametrize("limit", [0, -1, 1.5, "2", 40_000])
def test_a_limit_that_is_none_is_refused(limit: object) -> None:
    """At load time, with the field."""
    with pytest.raises(ConfigError, match="dynamic_limit"):
        TaskConfig.model_validate({"dynamic_queue": "runs-{run}", "dynamic_limit": limit})
