"""Events: what happened in a user's world, and the runs it causes."""

from __future__ import annotations

from datetime import datetime

from pydantic import Json, JsonValue

from tasks.database import Connection, Row, fetch_all, fetch_one, json_text, new_id
from tasks.filters import matches
from tasks.registry import workers
from tasks.runs import StartRunArgs
from tasks.schemas import CatalogArgs, EventFilter
from workerqueue import Client, InsertOpts, Job, JobDiscard, current_client


class DeliverEventArgs(CatalogArgs):
    """Hand an event to every dispatcher that wants it."""

    id: str

    @classmethod
    def kind(cls) -> str:
        return "deliverEvent"


class InvokeDispatcherArgs(CatalogArgs):
    """Create the runs that a dispatcher makes of an event."""

    id: str
    event_record_id: str

    @classmethod
    def kind(cls) -> str:
        return "events.invokeDispatcher"


# Ingesting an event


INSERT_EVENT = """
    insert into catalog.events (id, environment, name, source, payload, context, account, is_test, deliver_at)
    values ($1, $2, $3, $4, $5::text::jsonb, $6::text::jsonb, $7, $8, coalesce($9, now()))
    on conflict (id) do nothing
    returning id
"""


async def ingest_event(
    client: Client,
    tx: Connection,
    *,
    environment: str,
    name: str,
    payload: JsonValue,
    source: str = "trigger.dev",
    context: JsonValue = None,
    event_id: str | None = None,
    account: str | None = None,
    is_test: bool = False,
    deliver_at: datetime | None = None,
) -> str:
    """Write down an event and insert the job that delivers it, both in the caller's transaction.

    An event whose id is known already is left as it is, so that a repeat adds nothing.

    Returns:
        The event's id.
    """
    event_id = event_id or new_id("event")
    columns = (environment, name, source, json_text(payload), json_text({} if context is None else context))
    is_new = await tx.fetchval(INSERT_EVENT, event_id, *columns, account, is_test, deliver_at)
    if is_new:
        await client.insert_tx(tx, DeliverEventArgs(id=event_id), InsertOpts(scheduled_at=deliver_at))
    return event_id


# Delivering it


LOCK_EVENT = """
    select environment, name, source, payload, context, delivered_at
    from catalog.events
    where id = $1
    for no key update
"""

DISPATCHERS_OF_EVENT = """
    select id, payload_filter, context_filter
    from catalog.dispatchers
    where environment = $1 and event = $2 and source = $3 and enabled and not manual
    order by id
"""

MARK_DELIVERED = "update catalog.events set delivered_at = now() where id = $1"


class Event(Row):
    """What dispatchers ask of an event."""

    environment: str
    name: str
    source: str
    payload: Json[JsonValue]
    context: Json[JsonValue]
    delivered_at: datetime | None


class Candidate(Row):
    """A dispatcher of the event's name and source, and what else it asks for."""

    id: str
    payload_filter: Json[EventFilter] | None
    context_filter: Json[EventFilter] | None

    def wants(self, event: Event) -> bool:
        """Tell whether the event fits both filters."""
        return matches(event.payload, self.payload_filter or {}) and matches(event.context, self.context_filter or {})


@workers.worker
async def deliver_event(job: Job[DeliverEventArgs]) -> None:
    """Fan the event out to the dispatchers that want it, once."""
    client, event_id = current_client(), job.args.id
    async with client.transaction() as tx:
        event = await fetch_one(tx, Event, LOCK_EVENT, event_id)
        if event is None:
            raise JobDiscard("no such event")
        if event.delivered_at is not None:
            return
        candidates = await fetch_all(tx, Candidate, DISPATCHERS_OF_EVENT, event.environment, event.name, event.source)
        chosen = [candidate.id for candidate in candidates if candidate.wants(event)]
        await client.insert_many_tx(tx, [InvokeDispatcherArgs(id=each, event_record_id=event_id) for each in chosen])
        await tx.execute(MARK_DELIVERED, event_id)


# Making runs of it


FIND_DISPATCHER = "select enabled, target_type, target from catalog.dispatchers where id = $1"

FIND_EVENT = "select id, account from catalog.events where id = $1"

VERSIONS_OF_DISPATCHER = """
    select id, job, queue
    from catalog.job_versions
    where $1 = 'JOB_VERSION' and id = $2
    union all
    (
        -- Of each job that a dynamic trigger starts, the version indexed last.
        select distinct on (version.job) version.id, version.job, version.queue
        from catalog.dynamic_triggers as trigger
        join catalog.endpoints as endpoint on endpoint.id = trigger.endpoint
        join catalog.dynamic_trigger_jobs as link on link.trigger = trigger.id
        join catalog.job_versions as version
            on version.job = link.job and version.environment = endpoint.environment
        where $1 = 'DYNAMIC_TRIGGER' and trigger.id = $2
        order by version.job, version.indexed_at desc, version.id desc
    )
    order by job
"""

# Whoever numbers a job's runs holds its row: the numbers have no gaps and are never given twice.
LOCK_JOB = "select id from catalog.jobs where id = $1 for no key update"

CREATE_RUN = """
    insert into catalog.runs (id, job, number, version, event, queue, account)
    select $1, $2, 1 + coalesce(max(number), 0), $3, $4, $5, $6
    from catalog.runs
    where job = $2
    on conflict (version, event) do nothing
    returning id
"""


class Dispatcher(Row):
    """What a dispatcher starts."""

    enabled: bool
    target_type: str
    target: str


class EventOfRun(Row):
    """The event that causes a run, and whose it is."""

    id: str
    account: str | None


class Version(Row):
    """A job's version, which a run is of."""

    id: str
    job: str
    queue: str


@workers.worker
async def invoke_dispatcher(job: Job[InvokeDispatcherArgs]) -> None:
    """Create a run for each version that the dispatcher starts, and a job to start each new run."""
    client = current_client()
    async with client.transaction() as tx:
        dispatcher = await fetch_one(tx, Dispatcher, FIND_DISPATCHER, job.args.id)
        event = await fetch_one(tx, EventOfRun, FIND_EVENT, job.args.event_record_id)
        if dispatcher is None:
            raise JobDiscard("no such dispatcher")
        if event is None:
            raise JobDiscard("no such event")
        if not dispatcher.enabled:
            return
        target = dispatcher.target_type, dispatcher.target
        versions = await fetch_all(tx, Version, VERSIONS_OF_DISPATCHER, *target)
        created = [await _create_run(tx, version, event) for version in versions]
        await client.insert_many_tx(tx, [StartRunArgs(id=run) for run in created if run])


async def _create_run(tx: Connection, version: Version, event: EventOfRun) -> str | None:
    """Create the run of a version for an event, or nothing if it has one already."""
    await tx.execute(LOCK_JOB, version.job)
    run: str | None = await tx.fetchval(
        CREATE_RUN, new_id("run"), version.job, version.id, event.id, version.queue, event.account
    )
    return run
