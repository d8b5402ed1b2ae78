"""What follows on the end of a run, and what becomes of a run whose performance died."""

from __future__ import annotations

import json

import pytest
from pydantic import JsonValue

from tasks.finished_runs import DIED
from tasks.runs import PerformRunExecutionArgs, RunFinishedArgs
from tests.tasks.conftest import MakeWorld
from tests.tasks.world import World
from workerqueue import Job, Workers


async def finish(world: World, run: str, output: JsonValue) -> None:
    """End a run as if the endpoint had succeeded with this output, and insert runFinished."""
    await world.db.execute(
        "update catalog.runs set status = 'SUCCESS', output = $2 where id = $1", run, json.dumps(output)
    )
    await world.insert(RunFinishedArgs(id=run))


# The performance died


async def test_death_while_performing(make_world: MakeWorld) -> None:
    """A performance that dies before it could write anything fails execution and run, and frees the place."""

    async def die(job: Job[PerformRunExecutionArgs]) -> None:
        raise MemoryError(job.id)

    async with make_world() as world:
        run = await world.start_run()
        workers = Workers()
        workers.add(die)
        await world.work_with(workers)
        assert (await world.one_job("performRunExecution")).state == "discarded"
        assert await world.run_status(run) == "STARTED"
        await world.work("runFinished")
        assert (await world.run_status(run), await world.places_taken(run)) == ("FAILURE", 0)
        assert await world.executions(run, "error") == [DIED]
        assert await world.output(run) == {"message": DIED}


async def test_end_of_dead_performance_once(make_world: MakeWorld) -> None:
    """A runFinished that ended a dead performance and died after its commit frees the place only once."""

    async def die(job: Job[PerformRunExecutionArgs]) -> None:
        raise MemoryError(job.id)

    async with make_world() as world:
        version = await world.add_version()
        other, run = await world.start_run(version), await world.start_run(version)
        await world.db.execute(
            f"delete from {world.schema}.job where kind = 'performRunExecution' and args ->> 'id' in "  # noqa: S608
            "(select id from catalog.run_executions where run = $1)",
            other,
        )
        workers = Workers()
        workers.add(die)
        await world.work_with(workers)
        await world.work_and_crash("runFinished")
        assert (await world.run_status(run), await world.run_status(other)) == ("FAILURE", "STARTED")
        assert await world.places_taken(run) == 1


async def test_death_after_success(make_world: MakeWorld) -> None:
    """A performance that dies after its commit leaves the run as it wrote it."""
    async with make_world() as world:
        run = await world.start_run()
        await world.work_and_crash("performRunExecution")
        assert (await world.one_job("performRunExecution")).state == "discarded"
        await world.work("runFinished")
        assert len(await world.jobs("runFinished")) == 2
        assert (await world.run_status(run), await world.places_taken(run)) == ("SUCCESS", 0)


async def test_death_after_planning_a_retry(make_world: MakeWorld) -> None:
    """A performance that dies after it planned the next does not fail the run: the next one performs it."""
    async with make_world() as world:
        run = await world.start_run()
        world.endpoint.refuse(await world.event_of(run), [503])
        await world.work_and_crash("performRunExecution", horizon=0)
        await world.work("runFinished", horizon=0)
        assert len(await world.jobs("runFinished", state="completed")) == 1
        assert await world.run_status(run) == "STARTED"
        await world.work()
        assert (await world.run_status(run), await world.places_taken(run)) == ("SUCCESS", 0)


async def test_vanished_performance(make_world: MakeWorld) -> None:
    """A run whose performance is not even known any more has failed."""
    async with make_world() as world:
        run = await world.start_run()
        await world.db.execute(f"delete from {world.schema}.job")  # noqa: S608 - the schema's name is ours
        await world.insert(RunFinishedArgs(id=run))
        await world.work("runFinished")
        assert (await world.run_status(run), await world.places_taken(run)) == ("FAILURE", 0)


async def test_performance_under_way(make_world: MakeWorld) -> None:
    """A run whose performance still waits is left alone by runFinished."""
    async with make_world() as world:
        run = await world.start_run()
        await world.insert(RunFinishedArgs(id=run))
        await world.work("runFinished")
        assert (await world.run_status(run), await world.places_taken(run)) == ("STARTED", 1)
        await world.work()
        assert await world.run_status(run) == "SUCCESS"


@pytest.mark.parametrize("status", ["PENDING", "QUEUED", "WAITING_ON_CONNECTIONS"])
async def test_waiting_run(make_world: MakeWorld, status: str) -> None:
    """A run that has not begun is left alone by runFinished."""
    async with make_world() as world:
        run = await world.add_run()
        await world.db.execute("update catalog.runs set status = $2 where id = $1", run, status)
        await world.insert(RunFinishedArgs(id=run))
        await world.work("runFinished")
        assert await world.run_status(run) == status


async def test_missing_run(make_world: MakeWorld) -> None:
    """The end of a run that does not exist is discarded."""
    async with make_world() as world:
        await world.insert(RunFinishedArgs(id="nobody"))
        await world.work("runFinished")
        job = await world.one_job("runFinished")
        assert (job.state, job.reason) == ("discarded", "no such run")


# What follows


async def test_events_of_output(make_world: MakeWorld) -> None:
    """The events of a run's output are ingested under ids that a repeat does not add to."""
    async with make_world() as world:
        run = await world.add_run()
        events: JsonValue = [{"name": "a", "payload": {"n": 1}}, {"name": "b", "source": "shop", "context": {"c": 1}}]
        await finish(world, run, {"events": events})
        await world.work_and_crash("runFinished")
        await world.insert(RunFinishedArgs(id=run))
        await world.work("runFinished")
        ingested = await world.db.fetch(
            "select id, name, source, payload, context from catalog.events where id like $1 order by id", f"{run}:%"
        )
        assert [tuple(row) for row in ingested] == [
            (f"{run}:0", "a", "trigger.dev", '{"n": 1}', "{}"),
            (f"{run}:1", "b", "shop", "null", '{"c": 1}'),
        ]
        assert [job.args for job in await world.jobs("deliverEvent")] == [{"id": f"{run}:0"}, {"id": f"{run}:1"}]


@pytest.mark.parametrize("result", [None, 1, "events", [], {"events": 3}, {"events": [{"title": "Party"}]}])
async def test_output_without_events(make_world: MakeWorld, result: JsonValue) -> None:
    """An output that holds no events of ours sends none, and that is no error."""
    async with make_world() as world:
        run = await world.add_run()
        await finish(world, run, result)
        await world.work("runFinished")
        assert (await world.one_job("runFinished")).state == "completed"
        assert await world.jobs("deliverEvent") == []


async def test_queued_runs_may_start(make_world: MakeWorld) -> None:
    """A finished run has the runs started that wait in its queue, and nothing inserted if none do."""
    async with make_world() as world:
        version = await world.add_version(max_jobs=1)
        first, second = await world.add_run(version), await world.add_run(version)
        await finish(world, first, None)
        await world.work("runFinished")
        assert await world.jobs("startQueuedRuns") == []

        await world.db.execute("update catalog.runs set status = 'QUEUED' where id = $1", second)
        await world.insert(RunFinishedArgs(id=first))
        await world.work("runFinished")
        queue = await world.value("select queue from catalog.runs where id = $1", first)
        job = await world.one_job("startQueuedRuns")
        assert (job.args, job.queue) == ({"id": queue}, f"queue-{queue}")
