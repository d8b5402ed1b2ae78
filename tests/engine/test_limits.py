"""Limits: how many jobs of a queue, a kind or a part of a kind run at once, in one process and in all together."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import until_none_live, within
from tests.waiting import eventually
from workerqueue import Config, InsertOpts, Job, JobArgs, JobState, QueueConfig, TaskConfig, Workers
from workerqueue.database import Connection
from workerqueue.errors import ArgsError, ConfigError


class Call(JobArgs):
    tenant: str
    n: int = 0

    @classmethod
    def kind(cls) -> str:
        return "call"


class Plain(JobArgs):
    n: int = 0

    @classmethod
    def kind(cls) -> str:
        return "plain"


class Watch:
    """Works calls, and notes how many ran at once: in all, by client and by tenant."""

    def __init__(self, seconds: float = 0.002) -> None:
        self._seconds = seconds
        self._now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.order: list[str] = []

    def workers(self, client: str = "one") -> Workers:
        """Make one process's workers."""
        workers = Workers()

        async def hold(*names: str) -> None:
            self._now.update(names)
            for name in names:
                self.most[name] = max(self.most[name], self._now[name])
            await asyncio.sleep(self._seconds)
            self._now.subtract(names)

        @workers.worker
        async def call(job: Job[Call]) -> None:
            self.order.append(job.args.tenant)
            await hold("call", "all", client, f"tenant {job.args.tenant}")

        @workers.worker
        async def plain(job: Job[Plain]) -> None:
            await hold("plain", "all", client)

        return workers


def config(
    task: Mapping[str, object] | None = None, *, max_workers: int = 20, queue: Mapping[str, object] | None = None
) -> Config:
    """Give a table with one queue and rules for `call`."""
    return Config(
        queues={"default": QueueConfig.model_validate({"max_workers": max_workers, **(queue or {})})},
        tasks={"call": TaskConfig.model_validate(task or {})},
    )


@pytest.mark.req("A39")
@pytest.mark.parametrize("clients", [1, 3])
async def test_a_queues_limit_holds_in_all_processes_together(
    make_client: MakeClient, sql: Connection, clients: int
) -> None:
    """However many workers the processes have; and as many as it allows do run."""
    watch = Watch()
    made = [
        make_client(config=config(queue={"global_limit": 4}), workers=watch.workers(f"c{n}")) for n in range(clients)
    ]
    await made[0].insert_many([Call(tenant="a", n=n) for n in range(120)] + [Plain(n=n) for n in range(120)])
    for client in made:
        await client.start()
    await until_none_live(sql)
    assert watch.most["all"] == 4


@pytest.mark.parametrize("clients", [1, 3])
async def test_a_kinds_limit_leaves_other_kinds_alone(make_client: MakeClient, sql: Connection, clients: int) -> None:
    """What waits behind jobs of a kind that is at its limit runs all the same."""
    watch = Watch()
    made = [make_client(config=config({"global_limit": 2}), workers=watch.workers(f"c{n}")) for n in range(clients)]
    await made[0].insert_many([Call(tenant="a", n=n) for n in range(60)])
    await made[0].insert_many([Plain(n=n) for n in range(200)])
    for client in made:
        await client.start()
    await until_none_live(sql)
    assert watch.most["call"] == 2
    assert watch.most["plain"] > 2


@pytest.mark.req("A38", "K12")
async def test_a_local_limit_is_each_processs_own(make_client: MakeClient, sql: Connection) -> None:
    """Two processes run twice as many as one."""
    watch = Watch(0.02)
    made = [make_client(config=config({"local_limit": 2}), workers=watch.workers(f"c{n}")) for n in range(2)]
    await made[0].insert_many([Call(tenant="a", n=n) for n in range(60)])
    for client in made:
        await client.start()
    await until_none_live(sql)
    assert (watch.most["c0"], watch.most["c1"], watch.most["call"]) == (2, 2, 4)


@pytest.mark.parametrize("clients", [1, 3])
async def test_a_parts_limit_holds_for_each_part(make_client: MakeClient, sql: Connection, clients: int) -> None:
    """Each tenant has its own; one that is at its limit holds nobody up."""
    watch = Watch()
    rules = {"partition_by": "{tenant}", "partition_limit": 2}
    made = [make_client(config=config(rules), workers=watch.workers(f"c{n}")) for n in range(clients)]
    await made[0].insert_many([Call(tenant="flood", n=n) for n in range(100)])
    await made[0].insert_many([Call(tenant=f"t{n % 5}", n=n) for n in range(100)])
    for client in made:
        await client.start()
    await until_none_live(sql)
    assert {watch.most[f"tenant {tenant}"] for tenant in ("flood", "t0", "t1", "t2", "t3", "t4")} == {2}
    assert watch.most["call"] > 2


async def test_all_limits_of_a_job_hold_together(make_client: MakeClient, sql: Connection) -> None:
    """Those of its queue, its kind, its process, its part and its dynamic queue."""
    watch = Watch()
    rules = {
        "global_limit": 5,
        "local_limit": 3,
        "partition_by": "{tenant}",
        "partition_limit": 2,
        "dynamic_queue": "of-{tenant}",
    }
    table = config(rules, queue={"global_limit": 6})
    made = [make_client(config=table, workers=watch.workers(f"c{n}")) for n in range(2)]
    await made[0].insert_many([Call(tenant=f"t{n % 8}", n=n) for n in range(160)])
    await made[0].insert_many([Plain(n=n) for n in range(80)])
    for client in made:
        await client.start()
    await until_none_live(sql)
    assert watch.most["all"] <= 6
    assert watch.most["call"] <= 5
    assert max(watch.most["c0"], watch.most["c1"]) <= 6
    assert {watch.most[f"tenant t{n}"] for n in range(8)} == {1}


async def test_a_limit_counts_live_runs_only(make_client: MakeClient, sql: Connection) -> None:
    """What a crashed client left running counts until it is rescued, and not for ever."""
    dead = await sql.fetchval(
        """
        insert into client (id, host, pid, pools, kinds, started_at, heartbeat_at)
        values ('gone', 'h', 1, '{default}', '{call}', now() - interval '1 h', now() - interval '1 h') returning number
        """
    )
    await sql.execute(
        """
        insert into job (kind, state, lease, client, attempt, attempted_at, is_counted, lane)
        select 'call', 'running', n, $1, 1, now(), true, chr(31) || 'call' || chr(31) from generate_series(1, 2) as n
        """,
        dead,
    )
    watch = Watch()
    client = make_client(
        config=config({"global_limit": 2}), workers=watch.workers(), heartbeat_interval=0.2, lease_ttl=1
    )
    await client.start()
    waiting = await client.insert(Call(tenant="a"))
    assert (await client.jobs.wait(waiting.job.id, 30)).state is JobState.COMPLETED
    await until_none_live(sql)


async def test_a_job_at_its_limit_occupies_no_worker(make_client: MakeClient) -> None:
    """Limits are kept at the claim: a pool of two workers is not filled by what may not run."""
    started, let_go = asyncio.Event(), asyncio.Event()
    ran = asyncio.Event()
    workers = Workers()

    @workers.worker
    async def call(job: Job[Call]) -> None:
        started.set()
        await let_go.wait()

    @workers.worker
    async def plain(job: Job[Plain]) -> None:
        ran.set()

    client = make_client(config=config({"global_limit": 1}, max_workers=2), workers=workers)
    await client.insert_many([Call(tenant="a", n=n) for n in range(10)])
    await client.start()
    await within(started)
    await client.insert(Plain())
    await within(ran)
    let_go.set()


async def test_who_knows_of_no_rule_still_works_what_was_inserted_under_one(
    make_client: MakeClient, sql: Connection
) -> None:
    """Nothing waits for ever because two processes have different tables."""
    watch = Watch()
    inserter = make_client(config=config({"global_limit": 1, "partition_by": "{tenant}", "partition_limit": 1}))
    await inserter.insert_many([Call(tenant=f"t{n % 3}", n=n) for n in range(30)])
    await make_client(workers=watch.workers()).run(drain=True)
    assert await sql.fetchval("select count(*) from job_finalized where state = 'completed'") == 30


async def test_who_inserts_without_knowing_of_a_rule_is_held_to_it(make_client: MakeClient, sql: Connection) -> None:
    """The claim decides, whatever was known at the insert; plain SQL too."""
    watch = Watch()
    await make_client().insert_many([Call(tenant="a", n=n) for n in range(30)])
    await sql.execute("""insert into job (kind, args) select 'call', '{"tenant": "a"}' from generate_series(1, 30)""")
    await make_client(config=config({"global_limit": 2}), workers=watch.workers()).run(drain=True)
    assert watch.most["call"] == 2
    assert await sql.fetchval("select count(*) from job_finalized where state = 'completed'") == 60


async def test_a_limit_of_a_kind_holds_in_queues_that_are_not_its_own(make_client: MakeClient, sql: Connection) -> None:
    """A caller may put a job elsewhere; it is still of its kind."""
    watch = Watch()
    table = Config(
        queues={"a": QueueConfig(max_workers=10), "b": QueueConfig(max_workers=10)},
        tasks={"call": TaskConfig(queue="a", global_limit=3)},
    )
    client = make_client(config=table, workers=watch.workers())
    await client.insert_many([(Call(tenant="a", n=n), InsertOpts(queue="ab"[n % 2])) for n in range(80)])
    await client.run(drain=True)
    assert watch.most["call"] == 3
    assert await sql.fetchval("select count(*) from job_finalized where state = 'completed'") == 80


async def test_order_holds_under_a_limit(make_client: MakeClient) -> None:
    """By priority, due time and id, lane or not."""
    order: list[int] = []
    workers = Workers()

    @workers.worker
    async def call(job: Job[Call]) -> None:
        order.append(job.args.n)

    table = config({"partition_by": "{tenant}", "partition_limit": 5}, max_workers=1, queue={"global_limit": 1})
    client = make_client(config=table, workers=workers)
    await client.insert_many([(Call(tenant=f"t{n % 3}", n=n), InsertOpts(priority=n % 2)) for n in range(20)])
    await client.run(drain=True)
    assert order == [*range(0, 20, 2), *range(1, 20, 2)]


async def test_thousands_of_parts_at_their_limits_hide_nobody(make_client: MakeClient, sql: Connection) -> None:
    """A choice looks at a thousand lanes, and the next one goes on behind them."""
    started: Counter[str] = Counter()
    let_go = asyncio.Event()
    workers = Workers()

    @workers.worker
    async def call(job: Job[Call]) -> None:
        started[job.args.tenant] += 1
        if job.args.tenant != "zz":
            await let_go.wait()

    table = config({"partition_by": "{tenant}", "partition_limit": 1}, max_workers=2_000)
    client = make_client(config=table, workers=workers)
    await client.insert_many([Call(tenant=f"t{n % 1500:04}", n=n) for n in range(3_000)])
    await client.start()

    async def all_started() -> bool:
        return len(started) == 1_500

    await eventually(all_started)
    late = await client.insert(Call(tenant="zz"))
    assert (await client.jobs.wait(late.job.id, 30)).state is JobState.COMPLETED
    assert set(started.values()) == {1}
    let_go.set()


REFUSED: Mapping[str, tuple[Mapping[str, object], str]] = {
    "a limit of none": ({"global_limit": 0}, "global_limit"),
    "a part without a limit": ({"partition_by": "{tenant}"}, "partition_limit or rate"),
    "a limit without parts": ({"partition_limit": 3}, "partition_by"),
    "parts by a fixed name": ({"partition_by": "tenant", "partition_limit": 3}, "partition_by"),
    "a rate that is none": ({"rate": "often"}, "100/m"),
    "a rate of nothing": ({"rate": "0/s"}, "at least 1"),
    "a burst without a rate": ({"burst": 3}, "burst"),
    "a burst above its rate": ({"rate": "2/s", "burst": 3}, "at most the 2 starts"),
}


@pytest.mark.parametrize(("task", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_a_rule_that_can_not_be_right_is_refused(task: Mapping[str, object], said: str) -> None:
    """When it is read, with the field and the cure."""
    with pytest.raises(ConfigError, match=said):
        config(task)


def test_a_part_by_a_field_that_the_args_lack_is_refused(make_client: MakeClient) -> None:
    """When the table meets the class."""
    table = Config(tasks={"call": TaskConfig(partition_by="{owner}", partition_limit=1)})
    with pytest.raises(ConfigError, match=r"\[call\] partition_by: .*no such field"):
        make_client(config=table, workers=Watch().workers())


async def test_a_part_that_is_no_name_is_refused_at_the_insert(make_client: MakeClient) -> None:
    """With the template that gave it."""
    client = make_client(config=config({"partition_by": "{tenant}", "partition_limit": 1}))
    with pytest.raises(ArgsError, match="partition_by's template"):
        await client.insert(Call(tenant="a\nb"))
    with pytest.raises(ArgsError, match="1 to 128 printable"):
        await client.insert(Call(tenant="x" * 129))
