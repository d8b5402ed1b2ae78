"""What `client.queues` and `client.stats` show, and what they refuse."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import until_none_live
from tests.maintenance.history import make_days
from tests.waiting import eventually
from workerqueue import Client, Config, InsertOpts, Job, JobArgs, QueueConfig, TaskConfig, Workers
from workerqueue.database import Connection, Database
from workerqueue.errors import ConfigError, UnknownQueueError, WorkerQueueError
from workerqueue.maintenance.tally import fold_tally
from workerqueue.queue_view import Counts, Limits


class Step(JobArgs):
    run: int

    @classmethod
    def kind(cls) -> str:
        return "step"


CONFIG = Config(
    queues={"a": QueueConfig(max_workers=2, global_limit=7, rate="100/m", burst=10), "b": QueueConfig()},
    tasks={"step": TaskConfig(queue="a", dynamic_queue="runs-{run}")},
)

QUICK = Config(queues={"a": QueueConfig()}, tasks={"step": TaskConfig(queue="a", dynamic_queue="runs-{run}")})


async def fold(database: Database) -> None:
    """Add up the tally, as the leader does."""
    async with database.acquire() as connection:
        await fold_tally(database, connection)


def workers() -> Workers:
    """Works steps."""
    made = Workers()

    @made.worker
    async def step(job: Job[Step]) -> None:
        if job.args.run < 0:
            raise ValueError("below zero")

    return made


@pytest.mark.req("B37", "D10")
async def test_stats_have_every_state_of_every_queue_and_the_history(make_client: MakeClient, sql: Connection) -> None:
    """Queues without jobs too; a finished job is counted though nobody reads the history for it."""
    client = make_client(workers(), config=CONFIG)
    await client.insert_many([Step(run=n % 2) for n in range(6)])
    await client.insert(Step(run=-1), InsertOpts(max_attempts=1))
    await client.start()
    await until_none_live(sql)
    await client.stop()
    await client.insert(Step(run=3), InsertOpts(scheduled_at=600))
    await client.insert(Step(run=3), InsertOpts(pending=True))
    await client.insert(Step(run=3))
    stats = await client.stats()
    assert stats.queues["a"] == Counts(available=1, scheduled=1, pending=1, completed=6, discarded=1)
    assert stats.queues["b"] == stats.queues["default"] == Counts()
    assert stats.total == stats.queues["a"]
    assert stats.total.live == 3
    await sql.execute("truncate job_finalized")  # they are not counted there
    assert (await client.stats()).queues["a"].completed == 6


async def test_the_tally_is_added_up_and_follows_what_is_deleted(make_client: MakeClient, sql: Connection) -> None:
    """By hand, by retention and by day; what is left is a row for each day, queue and state."""
    client = make_client(workers(), config=QUICK)
    await client.start()
    for n in range(20):
        await client.jobs.wait((await client.insert(Step(run=n))).job.id, 10)
    database = client._database  # pyright: ignore[reportPrivateUsage] - a chore's own door
    await fold(database)
    assert [tuple(row) for row in await sql.fetch("select pool, state::text, jobs from tally")] == [
        ("a", "completed", 20)
    ]
    assert (await client.stats()).total.completed == 20
    await client.jobs.clean(older_than=0, limit=5)
    assert (await client.stats()).total.completed == 15
    await client.jobs.clean(older_than=0)
    await fold(database)
    assert await sql.fetchval("select count(*) from tally") == 0
    assert (await client.stats()).total == Counts()


async def test_two_who_add_up_at_once_lose_nothing(make_client: MakeClient, sql: Connection) -> None:
    """While jobs end, too."""
    client = make_client(workers(), config=QUICK)
    await client.start()
    database = client._database  # pyright: ignore[reportPrivateUsage] - a chore's own door
    done = asyncio.Event()

    async def keep_folding() -> None:
        while not done.is_set():
            await fold(database)

    folding = [asyncio.create_task(keep_folding()) for _ in range(2)]
    for _ in range(10):
        await client.insert_many([Step(run=n) for n in range(50)])
        await until_none_live(sql)
    done.set()
    await asyncio.gather(*folding)
    assert (await client.stats()).total.completed == 500


async def test_a_days_counts_go_with_its_table(make_client: MakeClient, sql: Connection) -> None:
    """And no others."""
    client = make_client(config=CONFIG)
    days = await make_days(sql, 2)
    await sql.execute(
        "insert into tally select to_date(right(name, 8), 'YYYYMMDD'), 'a', 'completed', n "
        "from unnest($1::text[]) with ordinality as day (name, n)",
        days,
    )
    database = client._database  # pyright: ignore[reportPrivateUsage] - a chore's own door
    async with database.acquire() as connection:
        await database.chores.drop_day(connection, days[0], timeout=10)
    assert (await client.stats()).total.completed == 2


@pytest.mark.req("A52o")
async def test_a_queue_shows_its_settings_and_who_works_it(make_client: MakeClient) -> None:
    """Those of the configuration, until something else was said of it."""
    client = make_client(workers(), config=CONFIG)
    queue = await client.queues.get("a")
    assert (queue.name, queue.pool, queue.paused, queue.max_workers, queue.clients) == ("a", "a", False, 2, 0)
    assert queue.limits == Limits(7, "100/m", 10)
    await client.start()

    async def is_worked() -> bool:
        return (await client.queues.get("a")).clients == 1

    await eventually(is_worked)
    changed = await client.queues.set("a", max_workers=3, rate="5/10s")
    assert (changed.max_workers, changed.limits) == (3, Limits(7, "5/10s", None))
    back = await client.queues.set("a", max_workers=None, global_limit=None, rate=None, burst=None)
    assert (back.max_workers, back.limits) == (2, Limits(7, "100/m", 10))
    assert [each.name for each in await client.queues.list()] == ["a", "b", "default"]


async def test_a_dynamic_queue_is_shown_with_its_pools_workers(make_client: MakeClient) -> None:
    """By its name, whether it has jobs or could have some; in the list only while it is paused."""
    client = make_client(config=CONFIG)
    await client.insert_many([Step(run=5), Step(run=5), Step(run=6)])
    queue = await client.queues.get("runs-5")
    assert (queue.name, queue.pool, queue.max_workers, queue.counts) == ("runs-5", "a", 2, Counts(available=2))
    assert (await client.queues.get("runs-99")).counts == Counts()
    await client.queues.pause("runs-99")
    listed = {each.name: each for each in await client.queues.list()}
    assert sorted(listed) == ["a", "b", "default", "runs-99"]
    assert (listed["runs-99"].pool, listed["runs-99"].paused, listed["a"].paused) == ("a", True, False)
    assert listed["a"].counts.available == 3


async def test_a_dynamic_queue_is_paused_with_its_pool(make_client: MakeClient) -> None:
    """And with all; what is paused itself stays so when its pool is resumed, but not when all are."""
    client = make_client(config=CONFIG)

    async def paused() -> list[bool]:
        return [(await client.queues.get(name)).paused for name in ("a", "b", "runs-1")]

    await client.queues.pause("a")
    assert await paused() == [True, False, True]
    await client.queues.pause("runs-1")
    await client.queues.resume("a")
    assert await paused() == [False, False, True]
    await client.queues.pause("*")
    assert await paused() == [True, True, True]
    await client.queues.resume("*")
    assert await paused() == [False, False, False]


@pytest.mark.req("A52o")
async def test_queues_that_nobody_works_are_named(make_client: MakeClient, sql: Connection) -> None:
    """Those with live jobs; empty ones are nobody's worry."""
    client = make_client(workers(), config=CONFIG)
    loose = make_client(config=CONFIG, strict=False)
    await loose.insert(Step(run=0), InsertOpts(queue="forgotten"))
    await loose.insert(Step(run=0))
    assert (await client.stats()).unworked == ["a", "forgotten"]
    await client.start()

    async def only_the_forgotten() -> bool:
        return (await client.stats()).unworked == ["forgotten"]

    await eventually(only_the_forgotten)
    assert (await client.queues.get("forgotten")).max_workers is None


async def test_repeating_changes_nothing(make_client: MakeClient, sql: Connection) -> None:
    """To pause what is paused, to resume what is not; nothing is left of either."""
    client = make_client(config=CONFIG)
    assert [await client.queues.pause("a"), await client.queues.pause("a")] == [True, False]
    at = (await client.queues.get("a")).paused_at
    assert (await client.queues.get("a")).paused_at == at
    assert [await client.queues.resume("a"), await client.queues.resume("a")] == [True, False]
    assert await client.queues.resume("*") is False
    assert await sql.fetchval("select count(*) from queue") == 0


REFUSED: dict[str, tuple[Callable[[Client], Awaitable[object]], type[WorkerQueueError], str]] = {
    "a pause of nothing": (lambda client: client.queues.pause("c"), UnknownQueueError, "no queue 'c'"),
    "a near miss": (lambda client: client.queues.pause("run-5"), UnknownQueueError, "fits no template"),
    "an empty name": (lambda client: client.queues.pause(""), UnknownQueueError, "no queue ''"),
    "a NUL": (lambda client: client.queues.pause("runs-\0"), UnknownQueueError, "no queue"),
    "a resume of nothing": (lambda client: client.queues.resume("c"), UnknownQueueError, "no queue 'c'"),
    "a look at nothing": (lambda client: client.queues.get("c"), UnknownQueueError, "no queue 'c'"),
    "settings of a dynamic queue": (
        lambda client: client.queues.set("runs-5", max_workers=1),
        UnknownQueueError,
        "whose workers are those of 'a'",
    ),
    "settings of all": (lambda client: client.queues.set("*", max_workers=1), UnknownQueueError, "no queue '*'"),
    "no worker": (
        lambda client: client.queues.set("a", max_workers=0),
        ConfigError,
        "max_workers: expected an integer",
    ),
    "a limit below 1": (lambda client: client.queues.set("a", global_limit=0), ConfigError, "global_limit: expected"),
    "a limit that is none": (lambda client: client.queues.set("a", global_limit=True), ConfigError, "got True"),
    "a rate that does not parse": (lambda client: client.queues.set("a", rate="fast"), ConfigError, "such as '100/m'"),
    "a burst alone": (lambda client: client.queues.set("a", burst=3), ConfigError, "expected a rate beside it"),
    "a burst above its rate": (lambda client: client.queues.set("a", rate="3/s", burst=4), ConfigError, "from 1 to 3"),
    "adding what is configured": (lambda client: client.queues.add("a"), ConfigError, "queues.set changes it"),
    "adding all": (lambda client: client.queues.add("*"), ConfigError, "other than '*'"),
    "adding no name": (lambda client: client.queues.add("a\n"), ConfigError, "printable characters"),
    "removing what is configured": (lambda client: client.queues.remove("a"), UnknownQueueError, "it is configured"),
    "removing nothing": (lambda client: client.queues.remove("c"), UnknownQueueError, "no queue 'c' was added"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_cant_be_is_refused_with_the_cure(make_client: MakeClient, sql: Connection, case: str) -> None:
    """And changes nothing."""
    call, error, said = REFUSED[case]
    with pytest.raises(error, match=re.escape(said)):
        await call(make_client(config=CONFIG))
    assert await sql.fetchval("select count(*) from queue") == 0


async def test_a_queue_with_live_jobs_is_not_removed(make_client: MakeClient) -> None:
    """The refusal says how many there are."""
    client = make_client(config=CONFIG)
    await client.queues.add("burst", rate="10/s", burst=5)
    assert (await client.queues.get("burst")).limits == Limits(None, "10/s", 5)
    await client.insert(Step(run=0), InsertOpts(queue="burst"))
    with pytest.raises(ConfigError, match="has 1 live jobs"):
        await client.queues.remove("burst")
    assert "burst" in await client.queues.added(10)


async def test_an_unknown_queue_is_still_refused_at_insert(make_client: MakeClient) -> None:
    """By every door, after a look at what was added; and without a database as before."""
    client = make_client(config=CONFIG)
    opts = InsertOpts(queue="burst")
    for insert in (
        lambda: client.insert(Step(run=0), opts),
        lambda: client.insert_many([(Step(run=0), opts)]),
        lambda: client.insert_many(iter([(Step(run=0), opts)])),
        lambda: client.insert_kind("step", {"run": 0}, opts),
    ):
        with pytest.raises(UnknownQueueError, match="no queue 'burst' is configured"):
            await insert()
    await client.queues.add("burst")
    assert (await client.insert(Step(run=0), opts)).job.queue == "burst"
    async with client.transaction() as tx:
        assert (await make_client(config=CONFIG).insert_tx(tx, Step(run=0), opts)).job.queue == "burst"
        assert (await make_client(config=CONFIG).insert_many_tx(tx, [(Step(run=0), opts)]))[0].job.queue == "burst"
