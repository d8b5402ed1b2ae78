"""Finished runs: what follows on a run's end, and the end of runs whose execution died."""

from __future__ import annotations

from pydantic import Json, JsonValue, ValidationError

from tasks.database import Connection, Row, fetch_one, json_text
from tasks.events import ingest_event
from tasks.registry import workers
from tasks.runs import STARTABLE, UNDER_WAY, LockedRun, RunFinishedArgs, end_run, lock_run, start_queued_runs
from tasks.schemas import CatalogModel, Omittable
from workerqueue import Client, Job, JobDiscard, current_client

DIED = "the process that performed this execution died or ran out of time"


@workers.worker
async def run_finished(job: Job[RunFinishedArgs]) -> None:
    """End the run if its execution died; then send the events of its output and let queued runs start."""
    client, run_id = current_client(), job.args.id
    abandoned = await _find_abandoned(client, run_id)
    async with client.transaction() as tx:
        locked = await lock_run(tx, run_id)
        if locked is None:
            raise JobDiscard("no such run")
        if locked.run.status in STARTABLE:
            return
        if locked.run.status in UNDER_WAY and not await _abandon(tx, locked, abandoned):
            return
        await _send_events(client, tx, run_id)
        await start_queued_runs(client, tx, locked.queue.id)


# Ending a run whose execution died


FIND_UNFINISHED = """
    select id, job_id from catalog.run_executions where run = $1 and status in ('PENDING', 'STARTED')
"""

ABANDON_EXECUTION = """
    update catalog.run_executions
    set status = 'FAILURE', error = $3, completed_at = now()
    where id = $1 and job_id is not distinct from $2 and status in ('PENDING', 'STARTED')
    returning id
"""


class Unfinished(Row):
    """An execution that has not ended, and the job that is to perform it."""

    id: str
    job_id: int | None


async def _find_abandoned(client: Client, run: str) -> Unfinished | None:
    """Find a run's execution whose job will not perform it any more.

    A job that died may have inserted the execution's next job just before: only that one's own end counts.
    """
    async with client.transaction() as tx:
        unfinished = await fetch_one(tx, Unfinished, FIND_UNFINISHED, run)
    if unfinished is None:
        return None
    job = None if unfinished.job_id is None else await client.jobs.get(unfinished.job_id)
    return unfinished if job is None or job.state.is_final else None


async def _abandon(tx: Connection, locked: LockedRun, execution: Unfinished | None) -> bool:
    """Fail an execution whose job died, and its run; tell whether there was one."""
    if execution is None or not await tx.fetchval(ABANDON_EXECUTION, execution.id, execution.job_id, DIED):
        return False
    await end_run(tx, locked, "FAILURE", json_text({"message": DIED}))
    return True


# Sending the events of its output


READ_ENDED_RUN = """
    select run.output, run.account, version.environment, event.is_test
    from catalog.runs as run
    join catalog.job_versions as version on version.id = run.version
    join catalog.events as event on event.id = run.event
    where run.id = $1
"""


class EndedRun(Row):
    """A run that has ended, as far as its events need it."""

    output: Json[JsonValue] | None
    account: str | None
    environment: str
    is_test: bool


class SentEvent(CatalogModel):
    """An event that a run sends as part of its output."""

    name: str
    payload: Omittable[JsonValue] = None
    source: str = "trigger.dev"
    context: Omittable[JsonValue] = None


class OutputWithEvents(CatalogModel):
    """The output of a run that sends events."""

    events: list[SentEvent]


async def _send_events(client: Client, tx: Connection, run: str) -> None:
    """Ingest the events of the run's output, under ids that make a repeat add nothing."""
    ended = await fetch_one(tx, EndedRun, READ_ENDED_RUN, run)
    if ended is None:
        return
    for position, event in enumerate(_events_of(ended.output)):
        await ingest_event(
            client,
            tx,
            event_id=f"{run}:{position}",
            environment=ended.environment,
            name=event.name,
            payload=event.payload,
            source=event.source,
            context=event.context,
            account=ended.account,
            is_test=ended.is_test,
        )


def _events_of(output: JsonValue) -> list[SentEvent]:
    # A user's output may have an `events` of its own: what is not a list of events sends none.
    try:
        return OutputWithEvents.model_validate(output).events
    except ValidationError:
        return []
