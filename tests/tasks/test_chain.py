"""The chain end to end: an event becomes runs, which the endpoint performs."""

from __future__ import annotations

import pytest

from tasks.endpoint_api import RunAnswer, RunRequest, RunSucceeded
from tests.tasks.conftest import MakeWorld


@pytest.mark.req("C30", "C31")
async def test_from_event_to_finished_run(make_world: MakeWorld) -> None:
    """An ingested event starts a run of each job that wants it; the endpoint is called once for each."""
    async with make_world() as world:
        for _ in range(3):
            await world.add_dispatcher(await world.add_version())
        event = await world.ingest(payload={"plan": "pro"})
        await world.work()

        runs = await world.db.fetch("select id, status, output from catalog.runs where event = $1", event)
        assert [(run["status"], run["output"]) for run in runs] == [("SUCCESS", '{"event": "user.created"}')] * 3
        assert {run["id"]: 1 for run in runs} == world.endpoint.calls_per_run()
        assert (
            await world.column(
                "select status from catalog.run_executions where run = any($1)", [run["id"] for run in runs]
            )
            == ["SUCCESS"] * 3
        )
        kinds = [job.kind for job in await world.jobs(state="completed")]
        assert {kind: kinds.count(kind) for kind in kinds} == {
            "deliverEvent": 1,
            "events.invokeDispatcher": 3,
            "startRun": 3,
            "performRunExecution": 3,
            "runFinished": 3,
        }
        assert len(kinds) == len(await world.jobs())


async def test_each_run_has_a_dynamic_queue(make_world: MakeWorld) -> None:
    """Each execution waits under `runs-{its id}`, and run-executions works it."""
    async with make_world() as world:
        await world.add_dispatcher(await world.add_version())
        await world.ingest()
        await world.work()
        (job,) = await world.jobs("performRunExecution")
        assert f"runs-{job.args['id']}" == job.queue


@pytest.mark.req("C24")
async def test_chain_goes_round(make_world: MakeWorld) -> None:
    """The events of a run's output start further runs."""

    def greet(request: RunRequest) -> RunAnswer:
        if request.event.name == "user.created":
            return RunSucceeded(
                status="SUCCESS", output={"events": [{"name": "user.greeted", "payload": {"warmly": True}}]}
            )
        return RunSucceeded(status="SUCCESS", output=request.event.payload)

    async with make_world() as world:
        world.endpoint.perform = greet
        await world.add_dispatcher(await world.add_version())
        await world.add_dispatcher(follower := await world.add_version(), columns={"event": "user.greeted"})
        await world.ingest()
        await world.work()
        run = await world.row("select status, output from catalog.runs where version = $1", follower)
        assert run == {"status": "SUCCESS", "output": '{"warmly": true}'}


async def test_every_job_twice(make_world: MakeWorld) -> None:
    """The chain ends in the same rows when every step's job is worked twice."""
    async with make_world() as world:
        await world.add_dispatcher(version := await world.add_version())
        event = await world.ingest()
        for kind in ("deliverEvent", "events.invokeDispatcher", "startRun", "performRunExecution", "runFinished"):
            await world.work_and_crash(kind)

        (run,) = await world.column("select id from catalog.runs where event = $1 and version = $2", event, version)
        assert isinstance(run, str)
        assert await world.run_status(run) == "SUCCESS"
        assert await world.places_taken(run) == 0
        assert {run: 1} == world.endpoint.calls_per_run()
        await world.work()
        assert await world.jobs(state="available") == []
