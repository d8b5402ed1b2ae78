"""Endpoints: where users' jobs run, and what they announce there."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final, Literal

from pydantic import JsonValue

from tasks import endpoint_api
from tasks.database import Connection, Row, fetch_one, json_text, new_id
from tasks.endpoint_api import EndpointIndex, EndpointUnavailableError
from tasks.registry import workers
from tasks.schedules import RegisterDynamicScheduleArgs
from tasks.schemas import (
    CatalogArgs,
    DynamicTrigger,
    IntegrationConfig,
    JobMetadata,
    Omittable,
    QueueOptions,
    StaticTriggerMetadata,
)
from tasks.sources import RegisterSourceArgs
from workerqueue import Job, JobArgs, JobDiscard, current_client

MAX_CONCURRENT_RUNS: Final = 100
"""How many runs of a queue may be under way where the job does not say."""


class IndexEndpointArgs(CatalogArgs):
    """Ask an endpoint what it has."""

    id: str
    source: Omittable[Literal["MANUAL", "API", "INTERNAL", "HOOK"]] = None
    source_data: Omittable[JsonValue] = None
    reason: Omittable[str] = None

    @classmethod
    def kind(cls) -> str:
        return "indexEndpoint"


class RegisterJobArgs(CatalogArgs):
    """Take up one job that an endpoint announced."""

    endpoint_id: str
    job: JobMetadata

    @classmethod
    def kind(cls) -> str:
        return "registerJob"


class RegisterDynamicTriggerArgs(CatalogArgs):
    """Take up one dynamic trigger that an endpoint announced."""

    endpoint_id: str
    dynamic_trigger: DynamicTrigger

    @classmethod
    def kind(cls) -> str:
        return "registerDynamicTrigger"


# Indexing


FIND_ENDPOINT = """
    select endpoint.id, endpoint.url, environment.id as environment, environment.api_key,
        project.id as project, project.organization
    from catalog.endpoints as endpoint
    join catalog.environments as environment on environment.id = endpoint.environment
    join catalog.projects as project on project.id = environment.project
    where endpoint.id = $1
"""

# One at a time per organization: endpoints share jobs, queues and integrations, which two at once would
# lock in any order.
LOCK_ORGANIZATION = "select id from catalog.organizations where id = $1 for no key update"

INSERT_INDEX = """
    insert into catalog.endpoint_indexes (id, endpoint, stats, data, source, source_data, reason)
    values ($1, $2, $3::text::jsonb, $4::text::jsonb, $5, $6::text::jsonb, $7)
    on conflict (id) do nothing
    returning id
"""


class Endpoint(Row):
    """An endpoint and where it belongs."""

    id: str
    url: str
    environment: str
    api_key: str
    project: str
    organization: str


@workers.worker
async def index_endpoint(job: Job[IndexEndpointArgs]) -> dict[str, int]:
    """Store what the endpoint announces: its jobs here, the rest by a register job each."""
    client = current_client()
    async with client.transaction() as tx:
        endpoint = await fetch_one(tx, Endpoint, FIND_ENDPOINT, job.args.id)
    if endpoint is None:
        raise JobDiscard("no such endpoint")
    index = await _ask(endpoint)
    stats = _count(index)
    async with client.transaction() as tx:
        await tx.execute(LOCK_ORGANIZATION, endpoint.organization)
        if await _is_new_index(tx, job, index, stats):
            for announced in index.jobs:
                if announced.enabled:
                    await register_job(tx, endpoint, announced)
            await client.insert_many_tx(tx, _registrations(endpoint.id, index))
    return stats


async def _ask(endpoint: Endpoint) -> EndpointIndex:
    try:
        return await endpoint_api.index_endpoint(endpoint.url, endpoint.api_key)
    except EndpointUnavailableError as error:
        if error.status == HTTPStatus.UNAUTHORIZED:
            raise JobDiscard("the endpoint refused our API key (401)") from error
        raise


def _count(index: EndpointIndex) -> dict[str, int]:
    return {
        "jobs": len(index.jobs),
        "sources": len(index.sources),
        "dynamicTriggers": len(index.dynamic_triggers),
        "dynamicSchedules": len(index.dynamic_schedules),
    }


async def _is_new_index(
    tx: Connection, job: Job[IndexEndpointArgs], index: EndpointIndex, stats: dict[str, int]
) -> bool:
    """Store the index under the job's name; tell whether no attempt of this job has stored it before."""
    args = job.args
    # The id alone is not enough: in a new schema of jobs the ids start again.
    name = f"index:{job.id}:{job.created_at.isoformat()}"
    source_data = None if args.source_data is None else json_text(args.source_data)
    origin = args.source or "INTERNAL", source_data, args.reason
    what = json_text(stats), index.model_dump_json()
    stored = await tx.fetchval(INSERT_INDEX, name, args.id, *what, *origin)
    return stored is not None


def _registrations(endpoint: str, index: EndpointIndex) -> list[JobArgs]:
    return [
        *(RegisterSourceArgs(endpoint_id=endpoint, source=each) for each in index.sources),
        *(RegisterDynamicTriggerArgs(endpoint_id=endpoint, dynamic_trigger=each) for each in index.dynamic_triggers),
        *(RegisterDynamicScheduleArgs(endpoint_id=endpoint, dynamic_schedule=each) for each in index.dynamic_schedules),
    ]


# Taking up a job


UPSERT_JOB = """
    insert into catalog.jobs (id, project, slug, title) values ($1, $2, $3, $4)
    on conflict (project, slug) do update set title = excluded.title
    returning id
"""

UPSERT_QUEUE = """
    insert into catalog.run_queues (id, environment, name, max_jobs) values ($1, $2, $3, $4)
    on conflict (environment, name) do update set max_jobs = excluded.max_jobs
    returning id
"""

UPSERT_VERSION = """
    insert into catalog.job_versions
        (id, job, version, environment, endpoint, queue, event_spec, preprocess)
    values ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8)
    on conflict (job, version, environment) do update
    set endpoint = excluded.endpoint, queue = excluded.queue, event_spec = excluded.event_spec,
        preprocess = excluded.preprocess, indexed_at = now()
    returning id
"""

UPSERT_INTEGRATION = """
    insert into catalog.integrations (id, organization, slug, auth_source) values ($1, $2, $3, $4)
    on conflict (organization, slug) do update set auth_source = excluded.auth_source
    returning id
"""

FORGET_INTEGRATIONS = "delete from catalog.job_version_integrations where version = $1"

LINK_INTEGRATION = """
    insert into catalog.job_version_integrations (version, key, integration) values ($1, $2, $3)
"""

# One dispatcher per job and environment: a new version takes it over from the last.
UPSERT_DISPATCHER = """
    insert into catalog.dispatchers
        (id, environment, event, source, payload_filter, context_filter, target_type, target)
    values ($1, $2, $3, $4, $5::text::jsonb, $6::text::jsonb, 'JOB_VERSION', $7)
    on conflict (id) do update
    set event = excluded.event, source = excluded.source, payload_filter = excluded.payload_filter,
        context_filter = excluded.context_filter, target = excluded.target
"""

DELETE_DISPATCHER = "delete from catalog.dispatchers where id = $1"


async def register_job(tx: Connection, endpoint: Endpoint, announced: JobMetadata) -> None:
    """Write down a job's version, its run queue, its integrations and what starts it."""
    job: str = await tx.fetchval(UPSERT_JOB, new_id("job"), endpoint.project, announced.id, announced.name)
    queue = await _upsert_queue(tx, endpoint, announced)
    version: str = await tx.fetchval(
        UPSERT_VERSION,
        new_id("version"),
        job,
        announced.version,
        endpoint.environment,
        endpoint.id,
        queue,
        announced.event.model_dump_json(),
        announced.preprocess_runs,
    )
    await _link_integrations(tx, endpoint, version, announced.integrations)
    dispatcher = f"{job}:{endpoint.environment}"
    if isinstance(announced.trigger, StaticTriggerMetadata):
        await _upsert_dispatcher(tx, endpoint, dispatcher, version, announced.trigger)
    else:
        # Dynamic triggers and schedules have dispatchers of their own; this job may have had another trigger.
        await tx.execute(DELETE_DISPATCHER, dispatcher)


async def _upsert_queue(tx: Connection, endpoint: Endpoint, announced: JobMetadata) -> str:
    """Write down the run queue of a job: the one it names, else one of its own."""
    wanted = announced.queue or announced.id
    options = wanted if isinstance(wanted, QueueOptions) else QueueOptions(name=wanted)
    limit = MAX_CONCURRENT_RUNS if options.max_concurrent is None else max(1, options.max_concurrent)
    queue: str = await tx.fetchval(UPSERT_QUEUE, new_id("queue"), endpoint.environment, options.name, limit)
    return queue


async def _link_integrations(
    tx: Connection, endpoint: Endpoint, version: str, integrations: dict[str, IntegrationConfig]
) -> None:
    await tx.execute(FORGET_INTEGRATIONS, version)
    for key, integration in integrations.items():
        integration_id: str = await tx.fetchval(
            UPSERT_INTEGRATION,
            new_id("integration"),
            endpoint.organization,
            integration.id,
            integration.auth_source,
        )
        await tx.execute(LINK_INTEGRATION, version, key, integration_id)


async def _upsert_dispatcher(
    tx: Connection, endpoint: Endpoint, dispatcher: str, version: str, trigger: StaticTriggerMetadata
) -> None:
    rule = trigger.rule
    await tx.execute(
        UPSERT_DISPATCHER,
        dispatcher,
        endpoint.environment,
        rule.event,
        rule.source,
        None if rule.payload is None else json_text(rule.payload),
        None if rule.context is None else json_text(rule.context),
        version,
    )
