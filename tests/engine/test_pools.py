"""What runs when: limits of pools and process, order, dynamic queues, and each job exactly once."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import Other, Work, until_none_live
from tests.waiting import PATIENCE, eventually, lateness
from workerqueue import Config, InsertOpts, Job, JobArgs, QueueConfig, TaskConfig, Workers
from workerqueue.database import Connection


class Meter:
    """How many jobs are under way at once, and the most there ever were."""

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def __call__(self, *names: str) -> None:
        """Be under way for a few turns of the loop."""
        for name in names:
            self.now[name] += 1
            self.most[name] = max(self.most[name], self.now[name])
        await asyncio.sleep(0.002)
        for name in names:
            self.now[name] -= 1


@pytest.mark.req("C17", "B25", "B55")
async def test_a_pool_never_runs_more_than_its_max_workers(make_client: MakeClient, sql: Connection) -> None:
    """Each pool reaches its own limit and never passes it, whatever the others do."""
    meter = Meter()
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        await meter("work")

    @workers.worker
    async def other(job: Job[Other]) -> None:
        await meter("other")

    config = Config(
        queues={"narrow": QueueConfig(max_workers=3), "default": QueueConfig(max_workers=7)},
        tasks={"work": TaskConfig(queue="narrow")},
    )
    async with make_client(workers, config=config) as client:
        await client.insert_many([Work(), Other()] * 200)
        await client.start()
        await until_none_live(sql)
    assert meter.most == {"work": 3, "other": 7}


@pytest.mark.req("C16")
async def test_the_concurrency_caps_the_whole_process(make_client: MakeClient, sql: Connection) -> None:
    """With a cap, the pools together never run more, and none is starved."""
    meter = Meter()
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        await meter("all", "work")

    @workers.worker
    async def other(job: Job[Other]) -> None:
        await meter("all", "other")

    config = Config(
        queues={"a": QueueConfig(max_workers=5), "b": QueueConfig(max_workers=5)},
        tasks={"work": TaskConfig(queue="a"), "other": TaskConfig(queue="b")},
    )
    async with make_client(workers, config=config, concurrency=4) as client:
        await client.insert_many([Work(), Other()] * 100)
        await client.start()
        await until_none_live(sql)
    assert meter.most["all"] == 4
    assert 0 < meter.most["work"] <= 4
    assert 0 < meter.most["other"] <= 4


@pytest.mark.req("B7", "C20")
async def test_jobs_run_by_priority_then_due_time_then_id(make_client: MakeClient, sql: Connection) -> None:
    """With one worker, the smaller priority runs first, then who was due first, then who came first."""
    ran: list[int] = []
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        ran.append(job.args.n)

    past = await sql.fetchval("select statement_timestamp() - interval '1 hour'")
    client = make_client(workers)
    await client.insert_many(
        [
            (Work(n=7), InsertOpts(priority=100)),
            (Work(n=4), InsertOpts(priority=1)),
            (Work(n=5), InsertOpts(priority=1)),
            (Work(n=1), InsertOpts(priority=-32768)),
            (Work(n=6), InsertOpts(priority=50)),
            (Work(n=2), InsertOpts(priority=0)),
            (Work(n=3), InsertOpts(priority=1, scheduled_at=past)),
            (Work(n=8), InsertOpts(priority=32767, scheduled_at=past - timedelta(days=1))),
        ]
    )
    await client.start(queues={"default": 1})
    await until_none_live(sql)
    assert ran == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.req("B3", "D21")
async def test_ten_thousand_jobs_on_three_clients_run_once_each(make_client: MakeClient, sql: Connection) -> None:
    """Clients that share a queue never run a job twice and leave none."""
    runs: Counter[int] = Counter()

    def counting() -> Workers:
        workers = Workers()

        @workers.worker
        async def work(job: Job[Work]) -> None:
            runs[job.id] += 1

        return workers

    clients = [make_client(counting()) for _ in range(3)]
    results = await clients[0].insert_many([Work(n=n) for n in range(10_000)])
    for client in clients:
        await client.start()
    await until_none_live(sql)
    for client in clients:
        await client.stop()
    assert runs == dict.fromkeys((result.job.id for result in results), 1)
    worked = await sql.fetch("select attempted_by, attempt, count(*) from job_all group by 1, 2")
    assert {row["attempt"] for row in worked} == {1}
    assert {tuple(row["attempted_by"]) for row in worked} == {(client.id,) for client in clients}


class Run(JobArgs):
    id: str

    @classmethod
    def kind(cls) -> str:
        return "run"


@pytest.mark.req("C12", "C13")
async def test_dynamic_queues_show_on_the_job_and_are_worked_by_their_pool(
    make_client: MakeClient, sql: Connection
) -> None:
    """`job.queue` is the computed name, `job.pool` the configured queue; only who works that pool works them."""
    seen: list[tuple[str, str]] = []
    workers = Workers()

    @workers.worker
    async def run(job: Job[Run]) -> None:
        seen.append((job.queue, job.pool))

    config = Config(
        queues={"runs": QueueConfig(max_workers=2), "slow": QueueConfig()},
        tasks={"run": TaskConfig(queue="runs", dynamic_queue="runs-{id}")},
    )
    async with make_client(workers, config=config) as client:
        results = await client.insert_many(
            [
                Run(id="42"),
                Run(id="a:b"),
                (Run(id="x"), InsertOpts(queue="slow")),
                (Run(id="y"), InsertOpts(dynamic_queue="mine")),
                (Run(id="z"), InsertOpts(queue="slow", dynamic_queue="yours")),
            ]
        )
        named = [(result.job.queue, result.job.pool) for result in results]
        await client.start(queues={"runs": None})
        for result, (_, pool) in zip(results, named, strict=True):
            if pool == "runs":
                await client.jobs.wait(result.job.id, PATIENCE)
        assert await sql.fetchval("select count(*) from job where pool = 'slow' and attempt = 0") == 2

    assert named == [("runs-42", "runs"), ("runs-a:b", "runs"), ("slow", "slow"), ("mine", "runs"), ("yours", "slow")]
    assert sorted(seen) == [("mine", "runs"), ("runs-42", "runs"), ("runs-a:b", "runs")]


@pytest.mark.req("A21", "B4")
async def test_delayed_jobs_never_start_early(make_client: MakeClient, sql: Connection) -> None:
    """By the database's clock no job starts before it is due, and each starts soon after."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None: ...

    async with make_client(workers, poll_interval=0.05) as client, lateness() as late:
        await client.start()
        await client.insert_many([(Work(n=n), InsertOpts(scheduled_at=n * 0.02)) for n in range(60)])
        await until_none_live(sql)
    waits = await sql.fetch("select extract(epoch from attempted_at - scheduled_at)::float8 as wait from job_finalized")
    assert len(waits) == 60
    assert min(row["wait"] for row in waits) >= 0
    assert max(row["wait"] for row in waits) < 3 + late()


@pytest.mark.req("B32")
async def test_a_delayed_job_enters_at_its_own_priority(make_client: MakeClient, sql: Connection) -> None:
    """A delayed job of high priority, once due, runs before what waits at a lower one."""
    ran: list[int] = []
    gate = asyncio.Event()
    started = asyncio.Event()
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        ran.append(job.args.n)
        started.set()
        await gate.wait()

    async with make_client(workers) as client:
        await client.start(queues={"default": 1})
        await client.insert(Work(n=0))
        await started.wait()
        await client.insert(Work(n=2))
        delayed = await client.insert(Work(n=1), InsertOpts(priority=-5, scheduled_at=0.2))

        async def due() -> bool:
            return bool(await sql.fetchval("select state = 'available' from job where id = $1", delayed.job.id))

        await eventually(due)
        gate.set()
        await until_none_live(sql)
    assert ran == [0, 1, 2]
