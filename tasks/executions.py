"""Executions: performing a run, or its next part, at the user's endpoint."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, assert_never

from pydantic import Json, JsonValue

from tasks import endpoint_api
from tasks.connections import connections_of_run
from tasks.database import Connection, Row, fetch_one, json_text, new_id
from tasks.endpoint_api import (
    AnsweredTask,
    ConnectionAuth,
    EndpointUnavailableError,
    RunAnswer,
    RunErrored,
    RunPreprocessed,
    RunRequest,
    RunResumesWithTask,
    RunRetriesWithTask,
    RunSucceeded,
    UnreadableAnswerError,
)
from tasks.registry import workers
from tasks.runs import (
    UNDER_WAY,
    EndState,
    LockedRun,
    PerformRunExecutionArgs,
    PerformTaskOperationArgs,
    Reason,
    RunFinishedArgs,
    end_run,
    insert_execution,
    insert_performance,
    lock_run,
)
from workerqueue import Client, Job, JobDiscard, current_client

FIRST_RETRY = timedelta(milliseconds=500)
RETRY_FACTOR = 1.5

Ending = RunAnswer | RunPreprocessed | EndpointUnavailableError | UnreadableAnswerError
"""How one call of the endpoint ended."""


@workers.worker
async def perform_run_execution(job: Job[PerformRunExecutionArgs]) -> None:
    """Call the endpoint, and write down what it answered if nobody ended the execution meanwhile."""
    client = current_client()
    execution = await _begin(client, job)
    if execution is None:
        return
    ending = await _call_endpoint(execution)
    async with client.transaction() as tx:
        locked = await lock_run(tx, execution.run)
        if locked and await _is_still_ours(tx, execution.id, job.id):
            await _conclude(client, tx, locked, execution, ending)


# Beginning: mark it started, and read all that the endpoint is told


FIND_RUN = "select run from catalog.run_executions where id = $1"

START_EXECUTION = """
    update catalog.run_executions
    set status = 'STARTED', started_at = coalesce(started_at, now()), job_id = $2
    where id = $1 and status in ('PENDING', 'STARTED')
    returning resume_task
"""

RESUME_TASK = """
    update catalog.tasks
    set status = case when noop then 'COMPLETED' else 'RUNNING' end,
        completed_at = case when noop then now() end
    where id = (select resume_task from catalog.run_executions where id = $1) and status = 'WAITING'
"""

# The names of the request are the protocol's; see RunRequest.
READ_EXECUTION = """
    select execution.id, execution.run, execution.reason, execution.retry_count, execution.retry_limit,
        endpoint.url, environment.api_key,
        jsonb_build_object(
            'event', jsonb_build_object(
                'id', event.id, 'name', event.name, 'payload', event.payload, 'context', event.context,
                'timestamp', event.created_at
            ),
            'job', jsonb_build_object('id', job.slug, 'version', version.version),
            'run', jsonb_build_object(
                'id', run.id, 'isTest', event.is_test, 'startedAt', run.started_at,
                'isRetry', execution.retry_count > 0
            ),
            'environment', jsonb_build_object(
                'id', environment.id, 'slug', environment.slug, 'type', environment.type
            ),
            'organization', jsonb_build_object(
                'id', organization.id, 'slug', organization.slug, 'title', organization.title
            ),
            'account', case when account.id is not null then jsonb_build_object(
                'id', account.identifier, 'metadata', account.metadata
            ) end,
            'tasks', (
                select jsonb_agg(jsonb_build_object(
                    'id', task.id, 'idempotencyKey', task.idempotency_key, 'status', task.status,
                    'noop', task.noop, 'output', task.output
                ) order by task.created_at, task.id)
                from catalog.tasks as task
                where task.run = run.id
            )
        ) as request
    from catalog.run_executions as execution
    join catalog.runs as run on run.id = execution.run
    join catalog.events as event on event.id = run.event
    join catalog.job_versions as version on version.id = run.version
    join catalog.jobs as job on job.id = version.job
    join catalog.endpoints as endpoint on endpoint.id = version.endpoint
    join catalog.environments as environment on environment.id = version.environment
    join catalog.projects as project on project.id = environment.project
    join catalog.organizations as organization on organization.id = project.organization
    left join catalog.external_accounts as account on account.id = run.account
    where execution.id = $1
"""


class Execution(Row):
    """One execution of a run, with everything that the endpoint is told."""

    id: str
    run: str
    reason: Reason
    retry_count: int
    retry_limit: int
    url: str
    api_key: str
    request: Json[RunRequest]


async def _begin(client: Client, job: Job[PerformRunExecutionArgs]) -> Execution | None:
    """Mark the execution as started by this job; `None` if it or its run has ended already."""
    async with client.transaction() as tx:
        run: str | None = await tx.fetchval(FIND_RUN, job.args.id)
        if run is None:
            raise JobDiscard("no such execution")
        locked = await lock_run(tx, run)
        if locked is None or locked.run.status not in UNDER_WAY:
            return None
        if await tx.fetchrow(START_EXECUTION, job.args.id, job.id) is None:
            return None
        await tx.execute(RESUME_TASK, job.args.id)
        return await _read_execution(tx, job.args.id)


async def _read_execution(tx: Connection, execution_id: str) -> Execution | None:
    """Read what the endpoint is told; credentials only where it is to perform the run."""
    execution = await fetch_one(tx, Execution, READ_EXECUTION, execution_id)
    if execution is None or execution.reason == "PREPROCESS":
        return execution
    connections = {
        each.key: ConnectionAuth(access_token=each.access_token, scopes=each.scopes)
        for each in await connections_of_run(tx, execution.run)
        if each.access_token is not None
    }
    request = execution.request.model_copy(update={"connections": connections})
    return execution.model_copy(update={"request": request})


# Calling the endpoint


async def _call_endpoint(execution: Execution) -> Ending:
    try:
        if execution.reason == "PREPROCESS":
            return await endpoint_api.preprocess_run(execution.url, execution.api_key, execution.request)
        return await endpoint_api.execute_job(execution.url, execution.api_key, execution.request)
    except (EndpointUnavailableError, UnreadableAnswerError) as error:
        return error


# Writing down how it ended


# The fence: a job that was given up meanwhile (and whose execution runFinished ended) changes nothing.
LOCK_EXECUTION = """
    select id
    from catalog.run_executions
    where id = $1 and job_id = $2 and status = 'STARTED'
    for no key update
"""

END_EXECUTION = """
    update catalog.run_executions
    set status = $2, error = $3, completed_at = now()
    where id = $1
"""


async def _is_still_ours(tx: Connection, execution: str, job: int) -> bool:
    return await tx.fetchval(LOCK_EXECUTION, execution, job) is not None


async def _conclude(client: Client, tx: Connection, locked: LockedRun, execution: Execution, ending: Ending) -> None:
    match ending:
        case RunSucceeded(output=output):
            await tx.execute(END_EXECUTION, execution.id, "SUCCESS", None)
            await _end(client, tx, locked, "SUCCESS", output)
        case RunErrored(error=error, task=task):
            if task:
                await _store_task(tx, execution.run, task, "ERRORED", output=error.model_dump())
            await _fail(client, tx, locked, execution, error.model_dump())
        case RunResumesWithTask(task=task):
            await _resume(client, tx, execution, task)
        case RunRetriesWithTask():
            await _retry_task(client, tx, execution, ending)
        case RunPreprocessed():
            await _go_on_after_preprocessing(client, tx, locked, execution, ending)
        case EndpointUnavailableError():
            await _try_again(client, tx, locked, execution, ending)
        case UnreadableAnswerError():
            await _fail(client, tx, locked, execution, {"message": str(ending)})
        case _:
            assert_never(ending)


async def _end(client: Client, tx: Connection, locked: LockedRun, status: EndState, output: JsonValue) -> None:
    await end_run(tx, locked, status, None if output is None else json_text(output))
    await client.insert_tx(tx, RunFinishedArgs(id=locked.run.id))


async def _fail(
    client: Client,
    tx: Connection,
    locked: LockedRun,
    execution: Execution,
    error: dict[str, JsonValue],
    status: Literal["FAILURE", "ABORTED"] = "FAILURE",
) -> None:
    await tx.execute(END_EXECUTION, execution.id, "FAILURE", str(error["message"]))
    await _end(client, tx, locked, status, error)


# Calling again: the endpoint was not reached


PLAN_RETRY = """
    update catalog.run_executions
    set status = 'PENDING', retry_count = $2, error = $3
    where id = $1
"""


async def _try_again(
    client: Client,
    tx: Connection,
    locked: LockedRun,
    execution: Execution,
    error: EndpointUnavailableError,
) -> None:
    """Perform the same execution again later, unless that was done ten times already."""
    retry = execution.retry_count + 1
    if retry > execution.retry_limit:
        await _fail(client, tx, locked, execution, {"message": str(error)})
        return
    await tx.execute(PLAN_RETRY, execution.id, retry, str(error))
    await insert_performance(client, tx, execution.id, execution.run, retry_delay(retry))


def retry_delay(retry: int) -> timedelta:
    """Give the time before the n-th retry of an execution: 500 ms, and half as much again each time."""
    return FIRST_RETRY * RETRY_FACTOR ** (retry - 1)


# Going on: the run has more parts


SET_PROPERTIES = """
    update catalog.runs set status = 'STARTED', properties = $2::text::jsonb where id = $1
"""

STORE_TASK = """
    insert into catalog.tasks
        (id, run, idempotency_key, name, status, noop, operation, params, output, completed_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb, $9::text::jsonb,
        case when $5 = 'ERRORED' then now() end)
    on conflict (run, idempotency_key) do update
    set name = excluded.name, status = excluded.status, noop = excluded.noop,
        operation = excluded.operation, params = excluded.params, output = excluded.output,
        completed_at = excluded.completed_at
    returning id
"""

FAIL_ATTEMPT = """
    update catalog.task_attempts set status = 'ERRORED', error = $2 where task = $1 and status = 'PENDING'
"""

ADD_ATTEMPT = """
    insert into catalog.task_attempts (task, number, status, run_at)
    select $1, 1 + coalesce(max(number), 0), 'PENDING', $2 from catalog.task_attempts where task = $1
"""


async def _go_on_after_preprocessing(
    client: Client, tx: Connection, locked: LockedRun, execution: Execution, answer: RunPreprocessed
) -> None:
    if answer.abort:
        await _fail(client, tx, locked, execution, {"message": "the endpoint aborted the run"}, "ABORTED")
        return
    await tx.execute(END_EXECUTION, execution.id, "SUCCESS", None)
    await tx.execute(SET_PROPERTIES, execution.run, json_text(answer.properties or []))
    await insert_execution(client, tx, execution.run, "EXECUTE_JOB")


async def _resume(client: Client, tx: Connection, execution: Execution, task: AnsweredTask) -> None:
    """Go on with the run when its task is done, which may take an operation of ours."""
    await tx.execute(END_EXECUTION, execution.id, "SUCCESS", None)
    if task.operation:
        task_id = await _store_task(tx, execution.run, task, "PENDING")
        await client.insert_tx(tx, PerformTaskOperationArgs(id=task_id))
        return
    task_id = await _store_task(tx, execution.run, task, "WAITING")
    await insert_execution(client, tx, execution.run, "EXECUTE_JOB", resume_task=task_id, run_at=task.delay_until)


async def _retry_task(client: Client, tx: Connection, execution: Execution, answer: RunRetriesWithTask) -> None:
    """Count the task's failed attempt, and go on with the run when it is to be tried again."""
    await tx.execute(END_EXECUTION, execution.id, "SUCCESS", None)
    task = await _store_task(tx, execution.run, answer.task, "WAITING")
    await tx.execute(FAIL_ATTEMPT, task, answer.error.message)
    await tx.execute(ADD_ATTEMPT, task, answer.retry_at)
    await insert_execution(client, tx, execution.run, "EXECUTE_JOB", resume_task=task, run_at=answer.retry_at)


async def _store_task(
    tx: Connection,
    run: str,
    task: AnsweredTask,
    status: Literal["PENDING", "WAITING", "ERRORED"],
    output: JsonValue = None,
) -> str:
    """Write down a step of a run, or what has become of it, and give its id."""
    description = run, task.idempotency_key, task.name, status, task.noop, task.operation
    params = None if task.params is None else json_text(task.params)
    result = None if output is None else json_text(output)
    stored: str = await tx.fetchval(STORE_TASK, new_id("task"), *description, params, result)
    return stored
