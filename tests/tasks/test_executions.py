"""Performing runs at the endpoint."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from starlette.responses import Response

from tasks.endpoint_api import (
    AnsweredTask,
    ErrorBody,
    RunAnswer,
    RunErrored,
    RunPreprocessed,
    RunRequest,
    RunResumesWithTask,
    RunRetriesWithTask,
    RunSucceeded,
)
from tasks.executions import retry_delay
from tasks.runs import PerformRunExecutionArgs
from tests.tasks.conftest import MakeWorld


def answering(body: str) -> Response:
    """Answer 200 with any text."""
    return Response(body, media_type="application/json")


# What the endpoint is told


@pytest.mark.req("C31")
async def test_request(make_world: MakeWorld) -> None:
    """The endpoint is told the event, job, run, environment and organization, with API key and action."""
    async with make_world() as world:
        run = await world.start_run()
        await world.work("performRunExecution")
        (call,) = world.endpoint.calls
        assert call.request
        assert (call.action, call.status) == ("EXECUTE_JOB", 200)
        told = call.request
        assert (told.event.name, told.event.payload) == ("user.created", {"plan": "pro"})
        assert (told.run.id, told.run.is_retry, told.run.is_test) == (run, False, False)
        assert (told.job.version, told.environment.id, told.environment.type) == (
            "1",
            world.environment,
            "DEVELOPMENT",
        )
        assert (told.organization.id, told.organization.title) == (world.organization, "Ada")
        assert not told.tasks


# How a run ends


async def test_success(make_world: MakeWorld) -> None:
    """A run that succeeds has its output, its place is free, and runFinished is inserted."""
    async with make_world() as world:
        run = await world.start_run()
        await world.work("performRunExecution")
        assert (await world.run_status(run), await world.output(run)) == ("SUCCESS", {"event": "user.created"})
        assert await world.places_taken(run) == 0
        assert await world.executions(run, "status") == ["SUCCESS"]
        assert (await world.one_job("runFinished")).args == {"id": run}


async def test_error(make_world: MakeWorld) -> None:
    """A run that the endpoint reports as failed has failed, with the user's error as its output."""
    async with make_world() as world:
        world.endpoint.perform = lambda _: RunErrored(
            status="ERROR",
            error=ErrorBody(message="no such user", name="LookupError"),
            task=AnsweredTask(idempotency_key="find", name="Find the user"),
        )
        run = await world.start_run()
        await world.work("performRunExecution")
        assert await world.run_status(run) == "FAILURE"
        assert await world.output(run) == {"message": "no such user", "name": "LookupError"}
        assert await world.places_taken(run) == 0
        assert await world.executions(run, "error") == ["no such user"]
        assert await world.column("select status from catalog.tasks where run = $1", run) == ["ERRORED"]
        assert (await world.one_job("runFinished")).args == {"id": run}


UNREADABLE = [
    ("no JSON", "<html>", "answer: Invalid JSON"),
    ("an unknown status", '{"status": "MAYBE"}', "Input tag 'MAYBE' found"),
    ("no status", "{}", "Unable to extract tag"),
    ("a missing field", '{"status": "ERROR"}', "ERROR.error: Field required"),
    ("a naive time", '{"status": "RETRY_WITH_TASK", "retryAt": "2023-06-19T12:00:00"}', "RETRY_WITH_TASK"),
    ("a NUL", '{"status": "SUCCESS", "output": "\\u0000"}', "NUL character"),
]


@pytest.mark.parametrize(("body", "reason"), [case[1:] for case in UNREADABLE], ids=[case[0] for case in UNREADABLE])
async def test_unreadable_answer(make_world: MakeWorld, body: str, reason: str) -> None:
    """An answer that the protocol does not know fails the run at once, with an error that says why."""
    async with make_world() as world:
        world.endpoint.perform = lambda _: answering(body)
        run = await world.start_run()
        await world.work("performRunExecution")
        error = await world.output(run)
        assert await world.run_status(run) == "FAILURE"
        assert isinstance(error, dict)
        assert reason in str(error["message"])
        assert {run: 1} == world.endpoint.calls_per_run()
        assert await world.places_taken(run) == 0


async def test_escaped_backslash_is_no_nul(make_world: MakeWorld) -> None:
    """The text of a backslash and u0000 is no NUL, and is stored as it is."""
    async with make_world() as world:
        world.endpoint.perform = lambda _: RunSucceeded(status="SUCCESS", output="\\u0000")
        run = await world.start_run()
        await world.work("performRunExecution")
        assert (await world.run_status(run), await world.output(run)) == ("SUCCESS", "\\u0000")


# The endpoint is away


@pytest.mark.parametrize("status", [500, 503, 404, 401, 302])
async def test_not_2xx_then_well(make_world: MakeWorld, status: int) -> None:
    """After an answer that is not 2xx the same execution is performed again, and then works."""
    async with make_world() as world:
        run = await world.start_run()
        world.endpoint.refuse(await world.event_of(run), [status])
        await world.work("performRunExecution")
        assert await world.run_status(run) == "SUCCESS"
        assert await world.executions(run, "retry_count") == [1]
        first, second = await world.jobs("performRunExecution")
        assert first.args == second.args
        assert [call.status for call in world.endpoint.calls] == [status, 200]
        retried = world.endpoint.calls[-1].request
        assert retried
        assert retried.run.is_retry


async def test_unreachable_then_well(make_world: MakeWorld) -> None:
    """An endpoint that can't be reached is called again half a second later, then works."""
    async with make_world() as world:
        good: str = str(await world.value("select url from catalog.endpoints where id = $1", world.endpoint_id))
        move = "update catalog.endpoints set url = $2 where id = $1"
        run = await world.start_run()
        await world.db.execute(move, world.endpoint_id, "http://127.0.0.1:1/")
        before = datetime.now(UTC)
        await world.work("performRunExecution", horizon=0)
        retry = (await world.jobs("performRunExecution"))[-1]
        stored = await world.client.jobs.get(retry.id)
        assert stored is not None
        assert retry.state in ("scheduled", "available")
        assert timedelta(seconds=0.5) <= stored.scheduled_at - before < timedelta(seconds=5)
        assert await world.executions(run, "status") == ["PENDING"]
        (error,) = await world.executions(run, "error")
        assert str(error).startswith("could not reach http://127.0.0.1:1/")

        await world.db.execute(move, world.endpoint_id, good)
        await world.work("performRunExecution")
        assert await world.run_status(run) == "SUCCESS"


async def test_too_slow(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that does not answer in time counts as not reached: the execution is performed again."""
    monkeypatch.setenv("CATALOG_ENDPOINT_TIMEOUT", "0.2")
    given_up = asyncio.Event()

    async def never(request: RunRequest) -> RunAnswer:
        await given_up.wait()
        return RunSucceeded(status="SUCCESS", output=request.run.id)

    async with make_world() as world:
        world.endpoint.perform = never
        run = await world.start_run()
        await world.work("performRunExecution", horizon=0)
        given_up.set()
        (error,) = await world.executions(run, "error")
        assert str(error).endswith("ReadTimeout")
        assert (await world.run_status(run), await world.executions(run, "retry_count")) == ("STARTED", [1])


async def test_gives_up(make_world: MakeWorld) -> None:
    """After ten retries the run has failed, and its place is free."""
    async with make_world() as world:
        run = await world.start_run()
        await world.db.execute("update catalog.run_executions set retry_count = 10 where run = $1", run)
        world.endpoint.refuse(await world.event_of(run), [503])
        await world.work("performRunExecution")
        error = await world.output(run)
        assert isinstance(error, dict)
        assert str(error["message"]).endswith("answered 503")
        assert (await world.run_status(run), await world.places_taken(run)) == ("FAILURE", 0)
        assert {run: 1} == world.endpoint.calls_per_run()


def test_retry_delay() -> None:
    """The delays before the retries are 500 ms · 1.5ⁿ⁻¹."""
    delays = [round(retry_delay(n).total_seconds() * 1000) for n in range(1, 11)]
    assert delays == [500, 750, 1125, 1688, 2531, 3797, 5695, 8543, 12814, 19222]


# Preprocessing


async def test_preprocessed(make_world: MakeWorld) -> None:
    """A run is preprocessed, keeps the properties it was given, and is then performed."""
    async with make_world() as world:
        run = await world.start_run(await world.add_version(preprocess=True))
        await world.work("performRunExecution")
        assert await world.run_status(run) == "SUCCESS"
        assert [call.action for call in world.endpoint.calls] == ["PREPROCESS_RUN", "EXECUTE_JOB"]
        assert sorted(map(str, await world.executions(run, "reason"))) == ["EXECUTE_JOB", "PREPROCESS"]
        properties = await world.value("select properties ->> 0 from catalog.runs where id = $1", run)
        assert isinstance(properties, str)
        assert json.loads(properties)["label"] == "Event"


async def test_aborted(make_world: MakeWorld) -> None:
    """A run that preprocessing aborts is not performed, and frees its place."""
    async with make_world() as world:
        world.endpoint.preprocess = lambda _: RunPreprocessed(abort=True)
        run = await world.start_run(await world.add_version(preprocess=True))
        await world.work("performRunExecution")
        assert (await world.run_status(run), await world.places_taken(run)) == ("ABORTED", 0)
        assert world.endpoint.calls_per_run() == {}


# Going on with tasks


async def test_resumes_with_task(make_world: MakeWorld) -> None:
    """A run that wants to come back for a task is performed again, and told that the task is done."""

    def perform(request: RunRequest) -> RunAnswer:
        if request.tasks:
            return RunSucceeded(status="SUCCESS", output=request.tasks[0].status)
        wait = AnsweredTask(idempotency_key="wait", name="Wait", noop=True, params={"seconds": 1})
        return RunResumesWithTask(status="RESUME_WITH_TASK", task=wait)

    async with make_world() as world:
        world.endpoint.perform = perform
        run = await world.start_run()
        await world.work("performRunExecution")
        assert (await world.run_status(run), await world.output(run)) == ("SUCCESS", "COMPLETED")
        assert await world.executions(run, "status") == ["SUCCESS", "SUCCESS"]
        assert await world.places_taken(run) == 0
        task = await world.row("select name, status, noop, params from catalog.tasks where run = $1", run)
        assert task == {"name": "Wait", "status": "COMPLETED", "noop": True, "params": '{"seconds": 1}'}


async def test_resumes_later(make_world: MakeWorld) -> None:
    """A task with a time has the next execution scheduled for then."""
    async with make_world() as world:
        later = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
        world.endpoint.perform = lambda _: RunResumesWithTask(
            status="RESUME_WITH_TASK",
            task=AnsweredTask(idempotency_key="wait", name="Wait", noop=True, delay_until=later),
        )
        run = await world.start_run()
        await world.work("performRunExecution")
        job = (await world.jobs("performRunExecution"))[-1]
        stored = await world.client.jobs.get(job.id)
        assert stored is not None
        assert (job.state, stored.scheduled_at) == ("scheduled", later)
        assert await world.places_taken(run) == 1


async def test_task_with_operation(make_world: MakeWorld) -> None:
    """A task that asks for an operation of ours is stored, and performTaskOperation inserted for it."""
    async with make_world() as world:
        world.endpoint.perform = lambda _: RunResumesWithTask(
            status="RESUME_WITH_TASK",
            task=AnsweredTask(idempotency_key="get", name="Get", operation="fetch", params={"url": "http://x"}),
        )
        run = await world.start_run()
        await world.work("performRunExecution")
        task = await world.row("select id, status, operation from catalog.tasks where run = $1", run)
        assert (task["status"], task["operation"]) == ("PENDING", "fetch")
        job = await world.one_job("performTaskOperation")
        assert (job.args, job.queue) == ({"id": task["id"]}, f"tasks-{task['id']}")
        assert len(await world.jobs("performRunExecution")) == 1


async def test_retries_task(make_world: MakeWorld) -> None:
    """Each failed attempt of a task is counted, and the run goes on with the task at the time it names."""
    errors = iter(["declined", "declined again"])

    def perform(request: RunRequest) -> RunAnswer:
        error = next(errors, None)
        if error is None:
            return RunSucceeded(status="SUCCESS", output=[task.status for task in request.tasks or []])
        return RunRetriesWithTask(
            status="RETRY_WITH_TASK",
            task=AnsweredTask(idempotency_key="charge", name="Charge"),
            error=ErrorBody(message=error),
            retry_at=datetime.now(UTC),
        )

    async with make_world() as world:
        world.endpoint.perform = perform
        run = await world.start_run()
        await world.work("performRunExecution")
        assert (await world.run_status(run), await world.output(run)) == ("SUCCESS", ["RUNNING"])
        attempts = await world.db.fetch(
            """
            select number, status, error from catalog.task_attempts
            where task = (select id from catalog.tasks where run = $1) order by number
            """,
            run,
        )
        # As in trigger.dev: an attempt is written when it is planned, so the very first has no row.
        planned = [tuple(attempt) for attempt in attempts]
        assert planned == [(1, "ERRORED", "declined again"), (2, "PENDING", None)]


# Crashes and repeats


async def test_missing_execution(make_world: MakeWorld) -> None:
    """An execution that does not exist is discarded."""
    async with make_world() as world:
        await world.insert(PerformRunExecutionArgs(id="nobody"))
        await world.work("performRunExecution")
        job = await world.one_job("performRunExecution")
        assert (job.state, job.reason) == ("discarded", "no such execution")


async def test_performed_once(make_world: MakeWorld) -> None:
    """An execution that has ended is not performed again, whoever inserts its job again."""
    async with make_world() as world:
        run = await world.start_run()
        await world.work("performRunExecution")
        (execution,) = await world.executions(run, "id")
        await world.insert(PerformRunExecutionArgs(id=str(execution)))
        await world.work("performRunExecution")
        assert {run: 1} == world.endpoint.calls_per_run()
        assert (await world.run_status(run), await world.places_taken(run)) == ("SUCCESS", 0)


async def test_late_answer_changes_nothing(make_world: MakeWorld) -> None:
    """An answer that comes after its run was ended is not written."""
    async with make_world() as world:
        run = await world.start_run()

        async def end_run_meanwhile(request: RunRequest) -> RunAnswer:
            await world.db.execute("update catalog.runs set status = 'FAILURE' where id = $1", request.run.id)
            await world.db.execute("update catalog.run_executions set status = 'FAILURE' where run = $1", run)
            return RunSucceeded(status="SUCCESS", output="late")

        world.endpoint.perform = end_run_meanwhile
        await world.work("performRunExecution")
        assert (await world.run_status(run), await world.places_taken(run)) == ("FAILURE", 1)
        assert await world.jobs("runFinished") == []
