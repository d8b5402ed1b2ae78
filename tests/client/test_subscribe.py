"""`client.subscribe`: what happens in this process, or in all of them, one event after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import Other, Work, within
from tests.waiting import PATIENCE, eventually
from workerqueue import (
    Client,
    ConfigError,
    DatabaseUnavailableError,
    Event,
    Fixed,
    InsertOpts,
    Job,
    JobCancel,
    JobDiscard,
    JobSnooze,
    Workers,
    context,
    subscription,
)
from workerqueue.database import Connection
from workerqueue.subscription import Subscription

ONCE = InsertOpts(max_attempts=1)


def acting() -> Workers:
    """Make workers that do what the number says."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> str:
        match job.args.n, job.attempt:
            case 1, 1:
                raise ValueError("it failed")
            case 2, _:
                raise JobCancel("unwanted")
            case 3, _:
                raise JobDiscard("hopeless")
            case 4, _:
                raise JobSnooze(3600)
            case _:
                return "done"

    @workers.worker
    async def other(job: Job[Other]) -> None: ...

    return workers


async def _take(events: Subscription, count: int) -> list[Event]:
    taken: list[Event] = []
    async with asyncio.timeout(PATIENCE):
        while len(taken) < count:
            taken.append(await anext(events))
    return taken


def _types(events: Sequence[Event], job_id: int) -> list[str]:
    return [event.type for event in events if event.job_id == job_id]


STORIES = {
    0: ["inserted", "started", "completed"],
    1: ["inserted", "started", "failed", "started", "completed"],
    2: ["inserted", "started", "cancelled"],
    3: ["inserted", "started", "discarded"],
    4: ["inserted", "started", "snoozed"],
}


@pytest.mark.req("B5")
@pytest.mark.parametrize("cluster", [False, True], ids=["here", "everywhere"])
@pytest.mark.parametrize("n", STORIES)
async def test_every_step_of_a_job_is_heard_of(make_client: MakeClient, n: int, cluster: bool) -> None:
    """With the job, from the moment that the subscription is entered; from elsewhere too, where nothing polls."""
    worker = make_client(acting())
    await worker.start()
    reader = make_client() if cluster else worker
    inserter = make_client() if cluster else worker
    async with reader.subscribe(kinds=["work"], cluster=cluster) as events:
        inserted = await inserter.insert(Work(n=n), InsertOpts(retry=Fixed(0)))
        heard = await _take(events, len(STORIES[n]))
    types = _types(heard, inserted.job.id)
    assert sorted(types) == sorted(STORIES[n])
    assert [each for each in types if each != "inserted"] == STORIES[n][1:]
    for event in heard:
        assert event.job is not None
        assert (event.job.id, event.job.kind, event.kind, event.queue) == (inserted.job.id, "work", "work", "default")
        assert event.missed == 0
        assert abs(event.at.timestamp() - time.time()) < PATIENCE
    last = heard[-1]
    assert last.type == STORIES[n][-1] or last.type == "inserted"


@pytest.mark.parametrize("cluster", [False, True], ids=["here", "everywhere"])
async def test_only_what_was_asked_for_is_heard(make_client: MakeClient, cluster: bool) -> None:
    """By type and by kind."""
    worker = make_client(acting())
    await worker.start()
    async with worker.subscribe(types=["completed"], kinds=["other"], cluster=cluster) as events:
        await worker.insert_many([Work(), Work(n=2)])
        wanted = await worker.insert(Other())
        (event,) = await _take(events, 1)
        assert (event.type, event.job_id) == ("completed", wanted.job.id)
        last = await worker.insert(Other())
        assert [each.job_id for each in await _take(events, 1)] == [last.job.id]


@pytest.mark.parametrize("cluster", [False, True], ids=["here", "everywhere"])
async def test_what_is_done_by_hand_is_heard_of(make_client: MakeClient, cluster: bool) -> None:
    """Cancelled, completed, failed, discarded; and queues that are paused and resumed."""
    client = make_client()
    reader = make_client() if cluster else client
    parked = InsertOpts(pending=True)
    ids = [(await client.insert(Work(), parked)).job.id for _ in range(5)]
    async with reader.subscribe(cluster=cluster) as events:
        await client.jobs.cancel(ids[0])
        await client.jobs.complete(ids[1], "out")
        await client.jobs.fail(ids[2], "no")
        await client.jobs.update(ids[3], max_attempts=1)
        await client.jobs.fail(ids[3], "no")
        assert await client.jobs.cancel_many(ids=[ids[4]]) == 1
        await client.jobs.cancel(ids[0])  # refused, and nothing is told
        heard = await _take(events, 5)
        assert [(each.type, each.job_id) for each in heard] == [
            ("cancelled", ids[0]),
            ("completed", ids[1]),
            ("failed", ids[2]),
            ("discarded", ids[3]),
            ("cancelled", ids[4]),
        ]
        assert heard[1].job is not None
        assert heard[1].job.output == "out"
        await client.queues.pause("default")
        (paused,) = await _take(events, 1)
        await client.queues.resume("default")
        (resumed,) = await _take(events, 1)
        assert [(each.type, each.queue, each.job) for each in (paused, resumed)] == [
            ("queue_paused", "default", None),
            ("queue_resumed", "default", None),
        ]


@pytest.mark.parametrize("by_hand", [False, True])
async def test_a_rescue_is_heard_of_everywhere(make_client: MakeClient, sql: Connection, by_hand: bool) -> None:
    """Whoever rescues: what is available again, and what had no attempt left."""
    reader = make_client()
    again = await reader.insert(Work())
    last = await reader.insert(Work(), ONCE)
    await sql.execute(
        "insert into client (id, host, pid, pools, kinds, heartbeat_at)"
        " values ('dead', 'h', 1, '{default}', '{work}', statement_timestamp() - interval '1 hour')"
    )
    await sql.execute("update job set state = 'running', lease = 1, client = 1, attempt = 1")
    async with reader.subscribe(types=["rescued", "discarded"], cluster=True) as events:
        workers = Workers()
        workers.add(_rest)
        rescuer = make_client(workers, heartbeat_interval=0.1, lease_ttl=0.5)
        await (rescuer.jobs.rescue() if by_hand else rescuer.start())
        heard = await _take(events, 2)
    assert {(each.type, each.job_id, each.kind) for each in heard} == {
        ("rescued", again.job.id, "work"),
        ("discarded", last.job.id, "work"),
    }


async def _rest(job: Job[Other]) -> None: ...


@pytest.mark.parametrize("commits", [True, False])
async def test_an_insert_in_a_transaction_is_heard_of_at_its_commit(
    make_client: MakeClient, sql: Connection, commits: bool
) -> None:
    """And never, if it is rolled back."""
    client = make_client()
    async with client.subscribe(types=["inserted"], cluster=True) as events:
        transaction = sql.transaction()
        await transaction.start()
        first = await client.insert_tx(sql, Work())
        second = await client.insert_many_tx(sql, [Work()] * 20)
        await (transaction.commit() if commits else transaction.rollback())
        after = await client.insert(Work())
        heard = await _take(events, 22 if commits else 1)
    inside = [first.job.id, *(each.job.id for each in second)] if commits else []
    assert [each.job_id for each in heard] == [*inside, after.job.id]


async def test_a_cancel_in_a_transaction_is_heard_of_at_its_commit(make_client: MakeClient, sql: Connection) -> None:
    """And here not before: it may be rolled back."""
    client = make_client()
    job = (await client.insert(Work(), InsertOpts(pending=True))).job.id
    async with client.subscribe(cluster=True) as everywhere, client.subscribe() as here:
        transaction = sql.transaction()
        await transaction.start()
        assert (await client.jobs.cancel(job, tx=sql)).ok
        await transaction.rollback()
        async with sql.transaction():
            assert (await client.jobs.cancel(job, tx=sql)).ok
        assert [(each.type, each.job_id) for each in await _take(everywhere, 1)] == [("cancelled", job)]
        last = await client.insert(Work())
        assert [(each.type, each.job_id) for each in await _take(here, 1)] == [("inserted", last.job.id)]


async def test_what_can_not_be_told_is_done_all_the_same(make_client: MakeClient, sql: Connection) -> None:
    """Whoever inserts, pauses or cancels hears nothing of it."""
    client = make_client()
    async with client.subscribe(cluster=True):
        await client.insert(Work())
        await sql.execute("alter table subscriber rename column types to kinds_of_events")
        inserted = await client.insert(Work(), InsertOpts(pending=True))
        assert (await client.jobs.cancel(inserted.job)).ok
        assert await client.queues.pause("default")
        await sql.execute("alter table subscriber rename column kinds_of_events to types")
    assert await sql.fetchval("select count(*) from job_all") == 2


async def test_a_slow_reader_loses_the_oldest_and_is_told_how_many(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing grows without end."""
    monkeypatch.setattr(subscription, "MOST_KEPT", 10)
    client = make_client()
    async with client.subscribe() as events:
        results = await client.insert_many([Work(n=n) for n in range(25)])
        heard = await _take(events, 10)
        await client.insert(Work())
        heard += await _take(events, 1)
    assert [each.job_id for each in heard[:10]] == [each.job.id for each in results[15:]]
    assert [each.missed for each in heard] == [15, *[0] * 10]


async def test_who_gives_up_waiting_loses_no_event(make_client: MakeClient) -> None:
    """Not even while the job of one is being read."""
    client = make_client()
    async with client.subscribe(types=["inserted"], cluster=True) as events:
        results = await client.insert_many([Work(n=n) for n in range(10)])
        heard: list[Event] = []
        while len(heard) < 10:
            waiting = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            heard += await _take(events, 1)
    assert [each.job_id for each in heard] == [each.job.id for each in results]
    assert {each.missed for each in heard} == {0}


async def test_iteration_ends_with_the_block(make_client: MakeClient) -> None:
    """Also that of somebody who waits; nothing is left listening."""
    client = make_client()
    heard: list[str] = []
    taken = asyncio.Event()

    async def read(events: Subscription) -> None:
        async for event in events:
            heard.append(event.type)
            taken.set()

    async with client.subscribe() as events:
        reading = asyncio.create_task(read(events))
        await client.insert(Work())
        await within(taken)
    await asyncio.wait_for(reading, PATIENCE)
    assert heard == ["inserted"]
    assert not client.events.is_heard("inserted")


@pytest.mark.parametrize("cluster", [False, True], ids=["here", "everywhere"])
async def test_a_tenant_hears_of_its_own_jobs_alone(make_client: MakeClient, cluster: bool) -> None:
    """As it sees none of the others."""
    client = make_client()
    with context(tenant="t1"):
        subscribed = client.subscribe(types=["inserted"], cluster=cluster)
        await subscribed.__aenter__()
    await client.insert(Work())
    with context(tenant="t2"):
        await client.insert(Work())
    with context(tenant="t1"):
        mine = await client.insert(Work())
    assert [each.job_id for each in await _take(subscribed, 1)] == [mine.job.id]
    await subscribed.__aexit__(None, None, None)


async def test_it_outlives_a_lost_connection(make_client: MakeClient, sql: Connection) -> None:
    """What happens after it is back is heard of."""
    client, reader = make_client(), make_client()
    async with reader.subscribe(types=["inserted"], cluster=True) as events:
        killed = await sql.fetch(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1",
            f"workerqueue {reader.id}"[:63],
        )
        assert killed

        async def is_heard() -> list[Event]:
            await client.insert(Work())
            try:
                async with asyncio.timeout(0.2):
                    return [await anext(events)]
            except TimeoutError:
                return []

        assert await eventually(is_heard)


async def test_nothing_is_sent_without_a_subscriber(make_client: MakeClient, sql: Connection) -> None:
    """And the last one to leave is forgotten; one that left without a word after a while."""
    client = make_client()
    async with client.subscribe(cluster=True):
        assert await sql.fetchval("select count(*) from subscriber") == 1
        await client.insert(Work())
        assert client._database.jobs.is_heard  # pyright: ignore[reportPrivateUsage] - what it knows
    assert await sql.fetchval("select count(*) from subscriber") == 0
    await sql.execute("insert into subscriber (channel, until) values ('gone', statement_timestamp() - interval '1 s')")
    await client.insert(Work())
    assert not client._database.jobs.is_heard  # pyright: ignore[reportPrivateUsage] - what it knows
    async with client.subscribe(cluster=True):
        assert await sql.fetchval("select count(*) from subscriber where channel = 'gone'") == 0


async def test_a_forged_notification_does_no_harm(make_client: MakeClient, sql: Connection) -> None:
    """Anybody can send one: what is no event is left, and one of no job says nothing of any."""
    client = make_client()
    async with client.subscribe(cluster=True) as events:
        channel = await sql.fetchval("select channel from subscriber")
        for said in ("", "x", "completed", "completed x 1", "drop 1 1", "completed 1 99999999999999999999", "\t' 1"):
            await sql.execute("select pg_notify($1, $2)", channel, said)
        await sql.execute("select pg_notify($1, 'completed 1 4711')", channel)
        inserted = await client.insert(Work())
        heard = await _take(events, 1)
        while heard[-1].type != "inserted":
            heard += await _take(events, 1)
    assert heard[-1].job_id == inserted.job.id
    assert all(each.job is None for each in heard[:-1])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"types": ["complete"]}, "types: no event 'complete'; did you mean 'completed'"),
        ({"types": "completed"}, "types: expected a collection"),
        ({"kinds": "work"}, "kinds: expected a collection"),
    ],
)
async def test_what_is_no_event_is_refused(make_client: MakeClient, given: dict[str, list[str]], said: str) -> None:
    """At the call."""
    with pytest.raises(ConfigError, match=said):
        make_client().subscribe(**given)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - a mistake


async def test_without_a_database_it_can_not_be_entered(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so in time."""
    monkeypatch.setattr(subscription, "OPENED_WITHIN", 0.5)
    async with Client("postgresql://nobody@127.0.0.1:1/none", schema=schema) as client:
        with pytest.raises(DatabaseUnavailableError):
            await client.subscribe(cluster=True).__aenter__()
