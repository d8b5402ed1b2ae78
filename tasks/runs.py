"""Runs: what starts them, and the steps shared with what performs them (`executions`) and ends them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from tasks.connections import connections_of_run, wait_for_connections
from tasks.database import Connection, Row, fetch_one, new_id
from tasks.registry import workers
from tasks.schemas import CatalogArgs
from workerqueue import Client, InsertOpts, Job, JobDiscard, current_client


class StartRunArgs(CatalogArgs):
    """Give a run its first execution, as soon as there is room and all it needs."""

    id: str

    @classmethod
    def kind(cls) -> str:
        return "startRun"


class PerformRunExecutionArgs(CatalogArgs):
    """Ask the user's endpoint to perform a run, or its next part. The id is the execution's."""

    id: str

    @classmethod
    def kind(cls) -> str:
        return "performRunExecution"


class PerformTaskOperationArgs(CatalogArgs):
    """Do what a task of a run asks for, such as an HTTP request."""

    id: str

    @classmethod
    def kind(cls) -> str:
        return "performTaskOperation"


class RunFinishedArgs(CatalogArgs):
    """Do what follows on a run's end; end it first if its execution died."""

    id: str

    @classmethod
    def kind(cls) -> str:
        return "runFinished"


class StartQueuedRunsArgs(CatalogArgs):
    """Start the runs that waited for room in a run queue."""

    id: str

    @classmethod
    def kind(cls) -> str:
        return "startQueuedRuns"


STARTABLE: Final = frozenset({"PENDING", "QUEUED", "WAITING_ON_CONNECTIONS"})
UNDER_WAY: Final = frozenset({"PREPROCESSING", "STARTED"})
"""The states in which a run holds a place in its run queue."""

EndState = Literal["SUCCESS", "FAILURE", "ABORTED"]
Reason = Literal["PREPROCESS", "EXECUTE_JOB"]


# Locking a run: its queue first, then the run itself; everybody takes them in this order.


LOCK_QUEUE = """
    select id, job_count, max_jobs
    from catalog.run_queues
    where id = (select queue from catalog.runs where id = $1)
    for no key update
"""

LOCK_RUN = """
    select run.id, run.status, version.preprocess
    from catalog.runs as run
    join catalog.job_versions as version on version.id = run.version
    where run.id = $1
    for no key update of run
"""


class RunQueue(Row):
    """A run queue, and how full it is."""

    id: str
    job_count: int
    max_jobs: int


class Run(Row):
    """A run, as far as its start and end need it."""

    id: str
    status: str
    preprocess: bool


class LockedRun(NamedTuple):
    """A run that nobody else changes until the transaction ends, nor its queue's count."""

    run: Run
    queue: RunQueue


async def lock_run(tx: Connection, run_id: str) -> LockedRun | None:
    """Lock a run and its queue, if there is such a run."""
    queue = await fetch_one(tx, RunQueue, LOCK_QUEUE, run_id)
    # A statement of its own: it must see what the queue's last holder wrote.
    run = await fetch_one(tx, Run, LOCK_RUN, run_id)
    return LockedRun(run, queue) if run and queue else None


# Starting a run


QUEUE_RUN = """
    update catalog.runs
    set status = 'QUEUED', queued_at = coalesce(queued_at, now())
    where id = $1
"""

WAIT_FOR_CONNECTIONS = "update catalog.runs set status = 'WAITING_ON_CONNECTIONS' where id = $1"

TAKE_PLACE = "update catalog.run_queues set job_count = job_count + 1 where id = $1"

SET_UNDER_WAY = "update catalog.runs set status = $2, started_at = coalesce(started_at, now()) where id = $1"


@workers.worker
async def start_run(job: Job[StartRunArgs]) -> None:
    """Start the run; or leave it waiting for room in its queue, or for connections."""
    client, run_id = current_client(), job.args.id
    async with client.transaction() as tx:
        locked = await lock_run(tx, run_id)
        if locked is None:
            raise JobDiscard("no such run")
        if locked.run.status not in STARTABLE:
            return
        if locked.queue.job_count >= locked.queue.max_jobs:
            await tx.execute(QUEUE_RUN, run_id)
            return
        missing = [each for each in await connections_of_run(tx, run_id) if each.access_token is None]
        if missing:
            await tx.execute(WAIT_FOR_CONNECTIONS, run_id)
            await wait_for_connections(client, tx, run_id, missing)
            return
        await _begin(client, tx, locked)


async def _begin(client: Client, tx: Connection, locked: LockedRun) -> None:
    run, queue = locked
    await tx.execute(TAKE_PLACE, queue.id)
    await tx.execute(SET_UNDER_WAY, run.id, "PREPROCESSING" if run.preprocess else "STARTED")
    await insert_execution(client, tx, run.id, "PREPROCESS" if run.preprocess else "EXECUTE_JOB")
    if queue.job_count + 1 < queue.max_jobs:
        await start_queued_runs(client, tx, queue.id)


# The steps that every part of a run shares


INSERT_EXECUTION = """
    insert into catalog.run_executions (id, run, reason, resume_task) values ($1, $2, $3, $4)
"""

NAME_JOB_OF_EXECUTION = "update catalog.run_executions set job_id = $2 where id = $1"

END_RUN = """
    update catalog.runs
    set status = $2, output = $3::text::jsonb, completed_at = now()
    where id = $1
"""

FREE_PLACE = "update catalog.run_queues set job_count = job_count - 1 where id = $1"

HAS_QUEUED_RUNS = "select exists (select from catalog.runs where queue = $1 and status = 'QUEUED')"


async def insert_execution(
    client: Client,
    tx: Connection,
    run: str,
    reason: Reason,
    *,
    resume_task: str | None = None,
    run_at: datetime | timedelta | None = None,
) -> None:
    """Write down a run's next execution and insert the job that performs it."""
    execution = new_id("execution")
    await tx.execute(INSERT_EXECUTION, execution, run, reason, resume_task)
    await insert_performance(client, tx, execution, run, run_at)


async def insert_performance(
    client: Client, tx: Connection, execution: str, run: str, run_at: datetime | timedelta | None = None
) -> None:
    """Insert the job that performs an execution.

    That job has one attempt. If it dies, `on_discard` has runFinished end what it left behind, which
    knows by `job_id` whether the execution has another job by then.
    """
    inserted = await client.insert_tx(
        tx,
        PerformRunExecutionArgs(id=execution),
        InsertOpts(scheduled_at=run_at, on_discard=RunFinishedArgs(id=run)),
    )
    await tx.execute(NAME_JOB_OF_EXECUTION, execution, inserted.job.id)


async def end_run(tx: Connection, locked: LockedRun, status: EndState, output: str | None) -> None:
    """End a run that is under way, and free its place in the queue."""
    await tx.execute(END_RUN, locked.run.id, status, output)
    await tx.execute(FREE_PLACE, locked.queue.id)


async def start_queued_runs(client: Client, tx: Connection, queue: str) -> None:
    """Have the runs started that wait for room in a queue, if any do."""
    if await tx.fetchval(HAS_QUEUED_RUNS, queue):
        await client.insert_tx(tx, StartQueuedRunsArgs(id=queue))
