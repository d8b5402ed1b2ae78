"""Indexing an endpoint: what it announces, and the ways it goes wrong."""

from __future__ import annotations

import json

import pytest
from starlette.responses import Response

from tasks.endpoint_api import EndpointIndex
from tasks.endpoints import IndexEndpointArgs
from tasks.schemas import (
    DynamicSchedule,
    DynamicTrigger,
    DynamicTriggerMetadata,
    JobMetadata,
    JobReference,
    QueueOptions,
    SourceMetadata,
)
from tests.tasks.conftest import MakeWorld
from tests.tasks.examples import GITHUB, JOB_WITH_EVERYTHING
from tests.tasks.world import World

JOB = JOB_WITH_EVERYTHING


async def index(world: World, **args: str) -> None:
    """Index the world's endpoint."""
    await world.insert(IndexEndpointArgs.model_validate({"id": world.endpoint_id, **args}))
    await world.work("indexEndpoint")


async def versions(world: World) -> list[object]:
    """List the versions of the endpoint's jobs."""
    return await world.column(
        "select version from catalog.job_versions where endpoint = $1 order by version", world.endpoint_id
    )


@pytest.mark.req("C30")
async def test_stores_jobs(make_world: MakeWorld) -> None:
    """An announced job gets its version, run queue, integrations and dispatcher."""
    async with make_world() as world:
        world.endpoint.index = EndpointIndex(jobs=[JOB])
        await index(world)
        version = await world.row(
            """
            select version.id, job.slug, version.version, version.preprocess, version.event_spec ->> 'title' as event,
                queue.name as queue, queue.max_jobs
            from catalog.job_versions as version
            join catalog.jobs as job on job.id = version.job
            join catalog.run_queues as queue on queue.id = version.queue
            where version.endpoint = $1
            """,
            world.endpoint_id,
        )
        assert version == {
            "id": version["id"],
            "slug": "welcome-user",
            "version": "1.2.0",
            "preprocess": True,
            "event": "User created",
            "queue": "welcome",
            "max_jobs": 5,
        }
        integrations = await world.db.fetch(
            """
            select link.key, integration.slug, integration.auth_source
            from catalog.job_version_integrations as link
            join catalog.integrations as integration on integration.id = link.integration
            where link.version = $1 order by link.key
            """,
            version["id"],
        )
        assert [tuple(row) for row in integrations] == [("github", "github", "LOCAL"), ("slack", "slack", "HOSTED")]
        dispatcher = await world.row(
            """
            select event, source, payload_filter, context_filter, enabled, manual, target_type, target
            from catalog.dispatchers where environment = $1
            """,
            world.environment,
        )
        assert dispatcher == {
            "event": "user.created",
            "source": "trigger.dev",
            "payload_filter": '{"user": {"age": [18.0, 19.5], "plan": ["pro", "team"], "active": [true]}}',
            "context_filter": '{"region": ["eu"]}',
            "enabled": True,
            "manual": False,
            "target_type": "JOB_VERSION",
            "target": version["id"],
        }


async def test_stores_index(make_world: MakeWorld) -> None:
    """The index itself is stored with its origin and counts, which are the job's output too."""
    async with make_world() as world:
        world.endpoint.index = EndpointIndex(jobs=[JOB])
        await index(world, source="HOOK", reason="push")
        stored = await world.row(
            "select stats, data, source, source_data, reason from catalog.endpoint_indexes where endpoint = $1",
            world.endpoint_id,
        )
        stats = {"jobs": 1, "sources": 0, "dynamicTriggers": 0, "dynamicSchedules": 0}
        assert json.loads(str(stored["stats"])) == stats
        assert EndpointIndex.model_validate_json(str(stored["data"])) == EndpointIndex(jobs=[JOB])
        assert (stored["source"], stored["source_data"], stored["reason"]) == ("HOOK", None, "push")
        job = await world.client.jobs.get((await world.one_job("indexEndpoint")).id)
        assert job is not None
        assert job.output == stats


async def test_registers_the_rest(make_world: MakeWorld) -> None:
    """Sources, dynamic triggers and schedules each get their register job, and only those announced."""
    async with make_world() as world:
        jobs = [JobReference(id="welcome-user", version="1.2.0")]
        world.endpoint.index = EndpointIndex(
            jobs=[],
            sources=[SourceMetadata(channel="HTTP", integration=GITHUB, key="issues", events=["issues"])],
            dynamic_triggers=[DynamicTrigger(id="trigger", jobs=jobs)],
            dynamic_schedules=[DynamicSchedule(id="schedule", jobs=jobs), DynamicSchedule(id="other", jobs=[])],
        )
        await index(world)
        registered = [job.kind for job in await world.jobs() if job.kind.startswith("register")]
        assert registered == [
            "registerSource",
            "registerDynamicTrigger",
            "registerDynamicSchedule",
            "registerDynamicSchedule",
        ]
        assert (await world.one_job("registerSource")).args["endpointId"] == world.endpoint_id


async def test_indexed_once(make_world: MakeWorld) -> None:
    """An indexing that died after its commit stores nothing twice."""
    async with make_world() as world:
        world.endpoint.index = EndpointIndex(jobs=[JOB], dynamic_triggers=[DynamicTrigger(id="t", jobs=[])])
        await world.insert(IndexEndpointArgs(id=world.endpoint_id))
        await world.work_and_crash("indexEndpoint")
        assert (await world.one_job("indexEndpoint")).state == "completed"
        counted = "select count(*) from catalog.endpoint_indexes where endpoint = $1"
        assert await world.value(counted, world.endpoint_id) == 1
        assert len(await world.jobs("registerDynamicTrigger")) == 1


async def test_indexed_again(make_world: MakeWorld) -> None:
    """Indexing again keeps the rows of what is the same, and takes up what is new."""
    async with make_world() as world:
        world.endpoint.index = EndpointIndex(jobs=[JOB])
        await index(world)
        before = await world.column("select id from catalog.job_versions where endpoint = $1", world.endpoint_id)
        world.endpoint.index = EndpointIndex(
            jobs=[JOB.model_copy(update={"preprocess_runs": False, "integrations": {}})]
        )
        await index(world)
        after = await world.db.fetch(
            "select id, preprocess from catalog.job_versions where endpoint = $1", world.endpoint_id
        )
        assert [tuple(row) for row in after] == [(before[0], False)]
        linked = "select count(*) from catalog.job_version_integrations where version = $1"
        assert await world.value(linked, before[0]) == 0


async def test_new_version_takes_over(make_world: MakeWorld) -> None:
    """A job's events start its new version once that is announced; the old one keeps its row."""
    async with make_world() as world:
        world.endpoint.index = EndpointIndex(jobs=[JOB])
        await index(world)
        world.endpoint.index = EndpointIndex(jobs=[JOB.model_copy(update={"version": "2.0.0"})])
        await index(world)
        assert await versions(world) == ["1.2.0", "2.0.0"]
        targets = await world.column(
            """
            select version.version from catalog.dispatchers as dispatcher
            join catalog.job_versions as version on version.id = dispatcher.target
            where dispatcher.environment = $1
            """,
            world.environment,
        )
        assert targets == ["2.0.0"]


async def test_other_trigger(make_world: MakeWorld) -> None:
    """A job that is no longer started by an event has its dispatcher taken away."""
    async with make_world() as world:
        world.endpoint.index = EndpointIndex(jobs=[JOB])
        await index(world)
        trigger = DynamicTriggerMetadata(id="user-repositories")
        world.endpoint.index = EndpointIndex(jobs=[JOB.model_copy(update={"trigger": trigger})])
        await index(world)
        dispatchers = "select count(*) from catalog.dispatchers where environment = $1"
        assert await world.value(dispatchers, world.environment) == 0


QUEUES: list[tuple[str, str | QueueOptions | None, tuple[str, int]]] = [
    ("of its own", None, ("welcome-user", 100)),
    ("named", "shared", ("shared", 100)),
    ("named with a limit", QueueOptions(name="shared", max_concurrent=3), ("shared", 3)),
    ("a limit below one", QueueOptions(name="shared", max_concurrent=0), ("shared", 1)),
]


@pytest.mark.parametrize(("queue", "stored"), [case[1:] for case in QUEUES], ids=[case[0] for case in QUEUES])
async def test_run_queue(make_world: MakeWorld, queue: str | QueueOptions | None, stored: tuple[str, int]) -> None:
    """A job's runs wait in the queue it names, else in one of its own; at most 100 run unless it says."""
    async with make_world() as world:
        world.endpoint.index = EndpointIndex(jobs=[JOB.model_copy(update={"queue": queue})])
        await index(world)
        row = await world.row("select name, max_jobs from catalog.run_queues where environment = $1", world.environment)
        assert (row["name"], row["max_jobs"]) == stored


async def test_disabled_job(make_world: MakeWorld) -> None:
    """A disabled job is skipped."""
    async with make_world() as world:
        disabled: JobMetadata = JOB.model_copy(update={"enabled": False})
        world.endpoint.index = EndpointIndex(jobs=[disabled])
        await index(world)
        assert await versions(world) == []


async def test_wrong_key(make_world: MakeWorld) -> None:
    """An endpoint that answers 401 discards the job at the first attempt."""
    async with make_world() as world:
        world.endpoint.api_key = "another key"
        await index(world)
        job = await world.one_job("indexEndpoint")
        assert (job.state, job.attempt, job.reason) == ("discarded", 1, "the endpoint refused our API key (401)")


async def test_unreachable(make_world: MakeWorld) -> None:
    """An endpoint that can't be reached fails the attempt, and the job is to be tried again."""
    async with make_world() as world:
        move = "update catalog.endpoints set url = 'http://127.0.0.1:1/' where id = $1"
        await world.db.execute(move, world.endpoint_id)
        await world.insert(IndexEndpointArgs(id=world.endpoint_id))
        await world.work("indexEndpoint", horizon=0)
        job = await world.one_job("indexEndpoint")
        assert (job.state, job.attempt) == ("retryable", 1)
        assert job.reason.startswith("could not reach http://127.0.0.1:1/")


async def test_unreadable(make_world: MakeWorld) -> None:
    """An answer that is no index fails the attempt with an error that says why, and stores nothing."""
    async with make_world() as world:
        world.endpoint.index = Response('{"jobs": [{"id": "x"}]}')
        await world.insert(IndexEndpointArgs(id=world.endpoint_id))
        await world.work("indexEndpoint", horizon=0)
        job = await world.one_job("indexEndpoint")
        assert (job.state, job.attempt) == ("retryable", 1)
        assert "jobs.0.name: Field required" in job.reason
        assert await versions(world) == []


async def test_missing_endpoint(make_world: MakeWorld) -> None:
    """The indexing of an endpoint that does not exist is discarded."""
    async with make_world() as world:
        await world.insert(IndexEndpointArgs(id="nowhere"))
        await world.work("indexEndpoint")
        job = await world.one_job("indexEndpoint")
        assert (job.state, job.reason) == ("discarded", "no such endpoint")
