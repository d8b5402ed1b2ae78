"""Pauses and changes of a running fleet: in force in every process, over restarts, and undone at once."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import until_none_live, until_state, within
from tests.waiting import eventually
from workerqueue import Client, Config, InsertOpts, Job, JobArgs, JobState, QueueConfig, TaskConfig, Workers
from workerqueue.database import Connection


class Step(JobArgs):
    run: int

    @classmethod
    def kind(cls) -> str:
        return "step"


class Slow(JobArgs):
    @classmethod
    def kind(cls) -> str:
        return "slow"


CONFIG = Config(
    queues={"a": QueueConfig(max_workers=2), "b": QueueConfig()},
    tasks={"step": TaskConfig(queue="a", dynamic_queue="runs-{run}"), "slow": TaskConfig(queue="a")},
)


class Watch:
    """Works steps and slow jobs, and notes what ran."""

    def __init__(self) -> None:
        self.ran: list[int] = []
        self.by_queue: Counter[str] = Counter()
        self.now = 0
        self.most = 0
        self.started = asyncio.Event()
        self.go = asyncio.Event()

    def workers(self) -> Workers:
        """Make one process's workers."""
        workers = Workers()

        @workers.worker
        async def step(job: Job[Step]) -> None:
            self.ran.append(job.id)
            self.by_queue[job.queue] += 1

        @workers.worker
        async def slow(job: Job[Slow]) -> None:
            self.now += 1
            self.most = max(self.most, self.now)
            self.started.set()
            await self.go.wait()
            self.now -= 1
            self.ran.append(job.id)

        return workers


async def settled(client: Client, sql: Connection) -> None:
    """Wait until a job of queue `b` was worked by every client: whatever could have been started before was."""
    for _ in range(3):
        marker = await client.insert(Step(run=0), InsertOpts(queue="b"))
        await until_state(client, marker.job.id, JobState.COMPLETED)
    assert await sql.fetchval("select count(*) from job where state = 'running' and pool = 'b'") == 0


@pytest.mark.req("B45", "B46")
@pytest.mark.parametrize("name", ["a", "*", "runs-7"])
async def test_nothing_of_a_paused_queue_starts_until_it_is_resumed(
    make_client: MakeClient, sql: Connection, name: str
) -> None:
    """A configured queue, all of them, and a dynamic one; inserts go on, and the order is kept."""
    watch = Watch()
    clients = [make_client(watch.workers(), config=CONFIG) for _ in range(2)]
    for client in clients:
        await client.start()
    assert await make_client(config=CONFIG).queues.pause(name)
    results = [await clients[0].insert(Step(run=7)) for _ in range(5)]
    if name != "*":
        await settled(clients[1], sql)
    else:
        found = await clients[0].queues.get("a")
        assert found.paused
    states = await sql.fetch("select state::text from job where queue = 'runs-7'")
    assert {row["state"] for row in states} <= {"available", "waiting"}
    assert len(states) == 5
    assert await clients[1].queues.resume(name)
    await until_none_live(sql)
    assert [job for job in watch.ran if job in {each.job.id for each in results}] == [each.job.id for each in results]


@pytest.mark.req("B45")
async def test_what_runs_when_its_queue_is_paused_ends(make_client: MakeClient, sql: Connection) -> None:
    """And what was claimed ahead of its slot is given back, without an attempt burnt."""
    watch = Watch()
    client = make_client(watch.workers(), config=CONFIG)
    first = [await client.insert(Slow()) for _ in range(10)]
    await client.start()
    await within(watch.started)
    await client.queues.pause("a")

    async def only_what_runs() -> bool:
        running: int = await sql.fetchval("select count(*) from job where state = 'running'")
        return running <= 2

    await eventually(only_what_runs)
    watch.go.set()

    async def none_runs() -> bool:
        running: int = await sql.fetchval("select count(*) from job where state = 'running'")
        return running == 0

    await eventually(none_runs)
    left = await sql.fetch("select attempt, state::text from job")
    assert 8 <= len(left) < 10
    assert {tuple(row) for row in left} == {(0, "available")}
    await client.queues.resume("a")
    await until_none_live(sql)
    assert sorted(watch.ran) == [each.job.id for each in first]


@pytest.mark.req("B45")
async def test_a_pause_outlives_every_process(make_client: MakeClient, sql: Connection) -> None:
    """A client that starts afterwards knows of it from its first claim on."""
    watch = Watch()
    first = make_client(watch.workers(), config=CONFIG)
    await first.start()
    await first.queues.pause("a")
    await first.stop()
    held = await first.insert(Slow())
    second = make_client(watch.workers(), config=CONFIG)
    await second.start()
    await settled(second, sql)
    found = await second.jobs.get(held.job.id)
    assert found is not None
    assert found.state is JobState.AVAILABLE
    assert (await second.queues.get("a")).paused


async def test_a_client_that_no_notification_reaches_hears_of_a_change_by_its_beat(
    make_client: MakeClient, sql: Connection
) -> None:
    """As behind a pooler; here the change is written without a word."""
    watch = Watch()
    client = make_client(watch.workers(), config=CONFIG, heartbeat_interval=0.05)
    await client.start()
    await sql.execute("insert into queue (name, max_workers) values ('a', 5)")
    for _ in range(5):
        await client.insert(Slow())

    async def five_run() -> bool:
        return watch.now == 5

    await eventually(five_run)
    assert watch.most == 5  # where two are configured
    watch.go.set()
    await until_none_live(sql)


async def test_workers_limits_and_rates_of_a_running_fleet_are_changed(
    make_client: MakeClient, sql: Connection
) -> None:
    """More workers, then a limit below them that counts what runs already, and no limit again."""
    watch = Watch()
    clients = [make_client(watch.workers(), config=CONFIG) for _ in range(2)]
    for client in clients:
        await client.start()
    for _ in range(30):
        await clients[0].insert(Slow())

    async def running(count: int) -> None:
        async def look() -> bool:
            return watch.now == count

        await eventually(look)

    await running(4)
    queue = await clients[0].queues.set("a", max_workers=4)
    assert (queue.max_workers, queue.limits.global_limit) == (4, None)
    await running(8)
    queue = await clients[1].queues.set("a", global_limit=9, max_workers=20)
    assert (queue.max_workers, queue.limits.global_limit) == (20, 9)
    await running(9)
    assert watch.most == 9  # those that ran before there was a limit count too
    await clients[1].queues.set("a", global_limit=None)
    await running(30)
    watch.go.set()
    await until_none_live(sql)


async def test_a_queue_added_at_run_time_is_worked_by_all_and_survives(
    make_client: MakeClient, sql: Connection
) -> None:
    """By those that run and by those that come, with its own workers; others insert into it without being told."""
    watch = Watch()
    working = make_client(watch.workers(), config=CONFIG)
    only_b = make_client(watch.workers(), config=CONFIG)
    await working.start()
    await only_b.start(queues={"b": None})
    added = await make_client(config=CONFIG).queues.add("burst", max_workers=3)
    assert (added.name, added.max_workers, added.clients) in {("burst", 3, 0), ("burst", 3, 1)}
    elsewhere = make_client(config=CONFIG)
    for _ in range(9):
        await elsewhere.insert(Slow(), InsertOpts(queue="burst"))

    async def three_run() -> bool:
        return watch.now == 3

    await eventually(three_run)
    assert (await elsewhere.queues.get("burst")).clients == 1  # who works only some queues does not take others
    watch.go.set()
    await until_none_live(sql)
    await working.stop()
    await working.start()
    again = await elsewhere.insert_many([(Slow(), InsertOpts(queue="burst"))])
    await until_state(elsewhere, again[0].job.id, JobState.COMPLETED)


async def test_a_removed_queue_is_worked_no_more(make_client: MakeClient, sql: Connection) -> None:
    """It can be removed once it has no live job, and added again."""
    watch = Watch()
    watch.go.set()
    client = make_client(watch.workers(), config=CONFIG)
    await client.start()
    await client.queues.add("burst")
    done = await client.insert(Slow(), InsertOpts(queue="burst"))
    await until_state(client, done.job.id, JobState.COMPLETED)
    await client.queues.remove("burst")

    async def is_not_worked() -> bool:
        pools: list[str] = await sql.fetchval("select pools from client where ended_at is null")
        return "burst" not in pools

    await eventually(is_not_worked)
    await client.queues.add("burst")
    again = await client.insert(Slow(), InsertOpts(queue="burst"))
    await until_state(client, again.job.id, JobState.COMPLETED)
    assert watch.ran == [done.job.id, again.job.id]
