"""Ingesting, delivering and dispatching events."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import JsonValue

from tasks.database import new_id
from tasks.events import DeliverEventArgs, InvokeDispatcherArgs, ingest_event
from tests.tasks.conftest import MakeWorld


class RolledBackError(Exception):
    """Ends a test's transaction on purpose."""


# Ingesting


async def test_ingested_together(make_world: MakeWorld) -> None:
    """An event and the job that delivers it commit with the caller's transaction."""
    async with make_world() as world:
        event = await world.ingest(payload={"plan": "pro"}, context={"region": "eu"})
        row = await world.row("select name, source, payload, context from catalog.events where id = $1", event)
        assert row == {
            "name": "user.created",
            "source": "trigger.dev",
            "payload": '{"plan": "pro"}',
            "context": '{"region": "eu"}',
        }
        assert (await world.one_job("deliverEvent")).args == {"id": event}


@pytest.mark.req("C24")
async def test_rolled_back_together(make_world: MakeWorld) -> None:
    """A rollback leaves neither the event nor its job."""
    async with make_world() as world:
        event = new_id("event")
        with suppress(RolledBackError):
            async with world.client.transaction() as tx:
                await ingest_event(
                    world.client, tx, environment=world.environment, name="n", payload={}, event_id=event
                )
                raise RolledBackError
        assert await world.value("select count(*) from catalog.events where id = $1", event) == 0
        assert await world.jobs() == []


async def test_known_event_ingested_once(make_world: MakeWorld) -> None:
    """An event whose id is known already adds neither row nor job."""
    async with make_world() as world:
        event = new_id("event")
        for _ in range(2):
            async with world.client.transaction() as tx:
                await ingest_event(
                    world.client, tx, environment=world.environment, name="n", payload={}, event_id=event
                )
        assert (await world.one_job("deliverEvent")).args == {"id": event}


async def test_delivered_later(make_world: MakeWorld) -> None:
    """An event for later has a job that is scheduled for then."""
    async with make_world() as world:
        later = datetime.now(UTC) + timedelta(hours=1)
        async with world.client.transaction() as tx:
            event = await ingest_event(
                world.client, tx, environment=world.environment, name="n", payload={}, deliver_at=later
            )
        job = await world.one_job("deliverEvent")
        stored = await world.client.jobs.get(job.id)
        assert stored is not None
        assert (job.state, stored.scheduled_at) == ("scheduled", later)
        assert await world.value("select deliver_at from catalog.events where id = $1", event) == later


# Delivering


async def test_fans_out(make_world: MakeWorld) -> None:
    """Every dispatcher of the event gets a job, and the event is marked as delivered."""
    async with make_world() as world:
        dispatchers = [await world.add_dispatcher(new_id("version")) for _ in range(3)]
        event = await world.ingest()
        await world.work("deliverEvent")
        invoked = [job.args for job in await world.jobs("events.invokeDispatcher")]
        assert invoked == [{"id": each, "eventRecordId": event} for each in sorted(dispatchers)]
        assert await world.value("select delivered_at from catalog.events where id = $1", event) is not None


UNWANTED: list[tuple[str, dict[str, JsonValue]]] = [
    ("another event", {"event": "user.deleted"}),
    ("another source", {"source": "github"}),
    ("disabled", {"enabled": False}),
    ("invoked by hand only", {"manual": True}),
    ("a payload filter that does not match", {"payload_filter": '{"plan": ["team"]}'}),
    ("a context filter that does not match", {"context_filter": '{"region": ["us"]}'}),
    (
        "one of two filters does not match",
        {"payload_filter": '{"plan": ["pro"]}', "context_filter": '{"region": ["us"]}'},
    ),
]


@pytest.mark.parametrize("columns", [case[1] for case in UNWANTED], ids=[case[0] for case in UNWANTED])
async def test_unwanted(make_world: MakeWorld, columns: dict[str, JsonValue]) -> None:
    """A dispatcher that does not want the event gets no job; the event counts as delivered all the same."""
    async with make_world() as world:
        await world.add_dispatcher(new_id("version"), columns=columns)
        event = await world.ingest(payload={"plan": "pro"}, context={"region": "eu"})
        await world.work("deliverEvent")
        assert await world.jobs("events.invokeDispatcher") == []
        assert await world.value("select delivered_at from catalog.events where id = $1", event) is not None


async def test_other_environment(make_world: MakeWorld) -> None:
    """The dispatchers of another environment do not see the event."""
    async with make_world() as world, make_world() as other:
        await other.add_dispatcher(new_id("version"))
        await world.ingest()
        await world.work("deliverEvent")
        assert await world.jobs("events.invokeDispatcher") == []


async def test_filters_match(make_world: MakeWorld) -> None:
    """A dispatcher whose filters match gets the event."""
    async with make_world() as world:
        await world.add_dispatcher(
            new_id("version"),
            columns={"payload_filter": '{"plan": ["pro"]}', "context_filter": '{"region": ["eu", "us"]}'},
        )
        await world.ingest(payload={"plan": "pro"}, context={"region": "eu"})
        await world.work("deliverEvent")
        assert len(await world.jobs("events.invokeDispatcher")) == 1


async def test_delivered_once(make_world: MakeWorld) -> None:
    """A delivery that died after its commit, and one inserted again, invoke nobody twice."""
    async with make_world() as world:
        await world.add_dispatcher(new_id("version"))
        event = await world.ingest()
        await world.work_and_crash("deliverEvent")
        assert (await world.one_job("deliverEvent")).attempt == 2
        await world.insert(DeliverEventArgs(id=event))
        await world.work("deliverEvent")
        assert len(await world.jobs("events.invokeDispatcher")) == 1


async def test_delivery_of_missing_event(make_world: MakeWorld) -> None:
    """The delivery of an event that does not exist is discarded."""
    async with make_world() as world:
        await world.insert(DeliverEventArgs(id="nowhere"))
        await world.work("deliverEvent")
        job = await world.one_job("deliverEvent")
        assert (job.state, job.attempt, job.reason) == ("discarded", 1, "no such event")


# Dispatching


async def test_creates_run(make_world: MakeWorld) -> None:
    """A dispatcher of a job's version creates a run of it, and a job that starts the run."""
    async with make_world() as world:
        dispatcher = await world.add_dispatcher(version := await world.add_version())
        event = await world.ingest()
        await world.insert(InvokeDispatcherArgs(id=dispatcher, event_record_id=event))
        await world.work("events.invokeDispatcher")
        run = await world.row("select id, event, status, number from catalog.runs where version = $1", version)
        assert run == {"id": run["id"], "event": event, "status": "PENDING", "number": 1}
        assert (await world.one_job("startRun")).args == {"id": run["id"]}


async def test_runs_are_numbered(make_world: MakeWorld) -> None:
    """Runs of a job that are created at once are numbered without gaps."""
    async with make_world() as world:
        dispatcher = await world.add_dispatcher(version := await world.add_version())
        for event in [await world.ingest() for _ in range(20)]:
            await world.insert(InvokeDispatcherArgs(id=dispatcher, event_record_id=event))
        await world.work("events.invokeDispatcher")
        numbers = await world.column("select number from catalog.runs where version = $1 order by 1", version)
        assert numbers == list(range(1, 21))


async def test_dynamic_trigger(make_world: MakeWorld) -> None:
    """A dispatcher of a dynamic trigger creates a run of each linked job's latest version."""
    async with make_world() as world:
        trigger = new_id("trigger")
        await world.db.execute(
            "insert into catalog.dynamic_triggers (id, endpoint, slug) values ($1, $2, 't')", trigger, world.endpoint_id
        )
        latest: list[str] = []
        for _ in range(2):
            job = await world.add_job()
            await world.add_version(job, version="1")
            latest.append(await world.add_version(job, version="2"))
            await world.db.execute("insert into catalog.dynamic_trigger_jobs values ($1, $2)", trigger, job)
        dispatcher = await world.add_dispatcher(trigger, target_type="DYNAMIC_TRIGGER")
        event = await world.ingest()
        await world.insert(InvokeDispatcherArgs(id=dispatcher, event_record_id=event))
        await world.work("events.invokeDispatcher")
        assert sorted(latest) == await world.column(
            "select version from catalog.runs where event = $1 order by version", event
        )
        assert len(await world.jobs("startRun")) == 2


async def test_one_run_per_event(make_world: MakeWorld) -> None:
    """A dispatcher that died after its commit, and one invoked again, create no second run."""
    async with make_world() as world:
        dispatcher = await world.add_dispatcher(version := await world.add_version())
        event = await world.ingest()
        await world.insert(InvokeDispatcherArgs(id=dispatcher, event_record_id=event))
        await world.work_and_crash("events.invokeDispatcher")
        await world.insert(InvokeDispatcherArgs(id=dispatcher, event_record_id=event))
        await world.work("events.invokeDispatcher")
        assert await world.value("select count(*) from catalog.runs where version = $1", version) == 1
        assert len(await world.jobs("startRun")) == 1


async def test_disabled_dispatcher(make_world: MakeWorld) -> None:
    """A dispatcher that was disabled meanwhile creates nothing, and that is no error."""
    async with make_world() as world:
        dispatcher = await world.add_dispatcher(version := await world.add_version(), columns={"enabled": False})
        event = await world.ingest()
        await world.insert(InvokeDispatcherArgs(id=dispatcher, event_record_id=event))
        await world.work("events.invokeDispatcher")
        assert (await world.one_job("events.invokeDispatcher")).state == "completed"
        assert await world.value("select count(*) from catalog.runs where version = $1", version) == 0


async def test_missing_dispatcher_or_event(make_world: MakeWorld) -> None:
    """A dispatcher or an event that does not exist discards the job, and the reason says which."""
    async with make_world() as world:
        dispatcher = await world.add_dispatcher(await world.add_version())
        event = await world.ingest()
        await world.insert(
            InvokeDispatcherArgs(id="nobody", event_record_id=event),
            InvokeDispatcherArgs(id=dispatcher, event_record_id="nowhere"),
        )
        await world.work("events.invokeDispatcher")
        jobs = await world.jobs("events.invokeDispatcher", state="discarded")
        assert [job.reason for job in jobs] == ["no such dispatcher", "no such event"]
