"""What `client.jobs` does with single jobs by hand: each call answers what it did, and refuses with a reason."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Literal, Unpack

from pydantic import JsonValue

from workerqueue.args import JobArgs
from workerqueue.changes import OF_RUNNING, written_args, written_changes
from workerqueue.database import (
    AsyncpgRunner,
    Connection,
    Controlled,
    Database,
    Happened,
    Runner,
    in_callers_transaction,
    let_others_run,
)
from workerqueue.errors import ConfigError
from workerqueue.events import Event
from workerqueue.job import ControlResult, Job, JobState
from workerqueue.job_context import current_context
from workerqueue.job_reader import JobReader, Named, Which, job_filter
from workerqueue.options import Payload
from workerqueue.outcome import failed_by_hand
from workerqueue.payload import encode_output
from workerqueue.telling import Teller
from workerqueue.worker import Workers

Control = Callable[[Runner, Sequence[int]], Awaitable[Sequence[Controlled]]]
"""Does something with jobs of these ids, and says what it met."""

CHUNK: Final = 500
"""Jobs of one statement where many are handled."""


class JobControl(JobReader):
    """Handles single jobs of one client's schema by hand.

    No call raises for a job's sake: `reason` says why nothing was done: `not_found`, `not_yours` (the current context
    has another tenant), or the state that forbids it.
    """

    def __init__(self, database: Database, workers: Workers, teller: Teller) -> None:
        super().__init__(database, workers)
        self._teller = teller

    async def cancel(
        self, job: Named, *, running: Literal["refuse", "request"] = "refuse", tx: Connection | None = None
    ) -> ControlResult[Payload]:
        """Cancel a job that waits; it never runs afterwards, and its key is free.

        Args:
            job: The job, its id or its key.
            running: What to do with one that runs: `refuse`, or `request` that whoever runs it stops it; it is
                cancelled then, unless it ends by itself before.
            tx: A connection on which a transaction is open: cancel it there, together with the caller's rows.

        Raises:
            NotInTransactionError: If no transaction is open on `tx`.
        """
        if running not in ("refuse", "request"):
            raise ConfigError(f"running: expected 'refuse' or 'request', got {running!r}")

        async def cancel(runner: Runner, ids: Sequence[int]) -> Sequence[Controlled]:
            return await self._database.control.cancel_jobs(runner, ids, asks=running == "request")

        return await self._control(job, cancel, tx, tells=True)

    async def retry(self, job: Named) -> ControlResult[Payload]:
        """Make a job available now that waits for its time or has ended, with one more attempt if none is left.

        One that is available, or waits for its turn in a dynamic queue, stays as it is; one that runs is refused. A job
        that has ended and whose key another one has by now runs without it.
        """
        return await self._control(job, self._database.control.retry_jobs)

    async def delete(self, job: Named) -> ControlResult[Payload]:
        """Delete a job, live or finalized, without a trace; one that runs is refused. `job` is as it was."""
        return await self._control(job, self._database.control.delete_jobs, shows="before")

    async def release(self, job: Named) -> ControlResult[Payload]:
        """Make a parked job (`InsertOpts(pending=True)`) available now; any other is refused."""

        async def release(runner: Runner, ids: Sequence[int]) -> Sequence[Controlled]:
            ok = await self._database.jobs.release_job(runner, ids[0])
            return [Controlled(ids[0], ok, JobState.PENDING, None)] if ok else []

        return await self._control(job, release)

    async def complete(self, job: Named, output: object = None) -> ControlResult[Payload]:
        """Complete a live job by hand, with an output; a run that is under way is stale then.

        Raises:
            ArgsError: If the output can't be stored.
        """
        written = None if output is None else encode_output(output)

        async def complete(runner: Runner, ids: Sequence[int]) -> Sequence[Controlled]:
            return await self._database.control.complete_job(runner, ids[0], written)

        return await self._control(job, complete, tells=True)

    async def fail(self, job: Named, error: str | BaseException) -> ControlResult[Payload]:
        """Fail a live job by hand, as its worker would: the attempt counts, and it is tried again while one is left.

        A run that is under way is stale then. The error stands in the job's history.
        """

        async def fail(runner: Runner, ids: Sequence[int]) -> Sequence[Controlled]:
            while (attempt := await self._database.control.find_attempt(runner, ids[0])) is not None:
                outcome = failed_by_hand(error, *attempt, random.random)
                done = await self._database.control.fail_job(
                    runner, ids[0], attempt[0], outcome.delay.total_seconds(), outcome.error or "{}"
                )
                if done:
                    return done
            return []

        return await self._control(job, fail, tells=True)

    async def update(
        self,
        job: Named,
        *,
        priority: int | None = None,
        scheduled_at: datetime | timedelta | float | None = None,
        max_attempts: int | None = None,
        timeout: timedelta | float | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
        args: JobArgs | Mapping[str, object] | None = None,
    ) -> ControlResult[Payload]:
        """Change a job that waits; of one that runs only tags and metadata. What is `None` stays as it is.

        Raises:
            OptionError: If a value can't be right, as at an insert.
            ArgsError: If args are another kind's or do not validate, or something can't be stored.
        """
        said = written_changes(
            priority=priority,
            scheduled_at=scheduled_at,
            max_attempts=max_attempts,
            timeout=timeout,
            tags=tags,
            metadata=metadata,
        )
        if args is not None:
            found = await self.get(job)
            if found is not None:
                said["args"] = written_args(args, found.kind, self._workers.classes.get(found.kind))

        async def update(runner: Runner, ids: Sequence[int]) -> Sequence[Controlled]:
            return await self._database.control.update_job(runner, ids[0], said, of_running=said.keys() <= OF_RUNNING)

        return await self._control(job, update)

    async def cancel_many(self, **which: Unpack[Which]) -> int:
        """Cancel the jobs that wait of those that `list` would give, and say how many; those that run are left.

        Raises:
            ConfigError: If nothing says which, or what says so can't be right.
        """

        async def cancel(runner: Runner, ids: Sequence[int]) -> Sequence[Controlled]:
            return await self._database.control.cancel_jobs(runner, ids, asks=False)

        return await self._control_many(cancel, tells=JobState.CANCELLED, **which)

    async def retry_many(self, **which: Unpack[Which]) -> int:
        """Retry the jobs that `list` would give, such as `states=["discarded"]`, and say how many.

        Raises:
            ConfigError: If nothing says which, or what says so can't be right.
        """
        return await self._control_many(self._database.control.retry_jobs, **which)

    async def delete_many(self, **which: Unpack[Which]) -> int:
        """Delete the jobs that `list` would give, but for those that run, and say how many.

        Raises:
            ConfigError: If nothing says which, or what says so can't be right.
        """
        return await self._control_many(self._database.control.delete_jobs, **which)

    # The steps of these

    async def _control(
        self,
        job: Named,
        control: Control,
        tx: Connection | None = None,
        shows: Literal["before", "after"] = "after",
        *,
        tells: bool = False,
    ) -> ControlResult[Payload]:
        """Do something with one job, say what became of it, and tell whoever listens where it has `tells`."""
        if tx is not None:
            runner = in_callers_transaction(tx)
            result = await self._control_with(tx, runner, job, control, shows)
            if tells and (events := _events_of(result)):
                await self._teller.send_in(runner, [_happened(each) for each in events])
            return result
        async with self._database.acquire() as connection:
            result = await self._control_with(connection, AsyncpgRunner(connection), job, control, shows)
            if tells:
                await self._tell(connection, _events_of(result))
            return result

    async def _tell(self, connection: Connection, events: Sequence[Event]) -> None:
        """Tell what jobs have become by hand, here and elsewhere."""
        for event in events:
            self._teller.tell_here(event)
        if events:
            await self._teller.send(connection, [_happened(each) for each in events])

    async def _control_with(
        self, connection: Connection, runner: Runner, job: Named, control: Control, shows: Literal["before", "after"]
    ) -> ControlResult[Payload]:
        job_id = await self._id_of(connection, job)
        if await self._is_anothers(runner, job_id):
            return ControlResult(ok=False, state=None, reason="not_yours", job=None)
        before = await self._read(connection, job_id) if shows == "before" else None
        met: Sequence[Controlled] = [] if job_id is None else await control(runner, [job_id])
        if not connection.is_in_transaction():  # in a caller's, those that wait are let on by the leader
            await self._let_others_run(connection, met)
        found = before or await self._read(connection, job_id)
        if found is None:
            return ControlResult(ok=False, state=None, reason="not_found", job=None)
        if met and met[0].ok:
            return ControlResult(ok=True, state=found.state, reason=None, job=found)
        return ControlResult(ok=False, state=found.state, reason=met[0].state if met else found.state.value, job=found)

    async def _is_anothers(self, runner: Runner, job_id: int | None) -> bool:
        """Tell whether the current context has a tenant and the job is not that one's."""
        tenant = current_context().tenant
        if tenant is None or job_id is None:
            return False
        return bool(await self._database.control.find_others(runner, [job_id], tenant))

    async def _control_many(self, control: Control, *, tells: JobState | None = None, **which: Unpack[Which]) -> int:
        """Do something with the jobs that a filter gives, some at a time, the newest first."""
        asked = job_filter(**which)
        if all(each is None for each in which.values()):  # the current context's tenant alone says too little
            raise ConfigError("expected at least one of states, kinds, queues, …: nothing says which jobs are meant")
        done, below = 0, None
        async with self._database.acquire() as connection:
            while True:
                found = await self._database.control.list_jobs(connection, asked, below=below, limit=CHUNK)
                if not found:
                    return done
                met = await control(AsyncpgRunner(connection), [each.id for each in found])
                await self._let_others_run(connection, met)
                done += sum(each.ok for each in met)
                if tells:
                    ok = {each.id for each in met if each.ok}
                    jobs = [stored.to_job(self._args_of(stored)) for stored in found if stored.id in ok]
                    await self._tell(connection, [_event_of(_TOLD[tells], replace(job, state=tells)) for job in jobs])
                below = found[-1].id

    async def _let_others_run(self, connection: Connection, met: Sequence[Controlled]) -> None:
        await let_others_run(self._database, connection, {each.queue for each in met if each.queue is not None})


_TOLD: Final = {
    JobState.COMPLETED: "completed",
    JobState.CANCELLED: "cancelled",
    JobState.DISCARDED: "discarded",
    JobState.RETRYABLE: "failed",
}


def _events_of(result: ControlResult[Payload]) -> list[Event]:
    """Make the event of what a job has become; none if that is nothing: one that runs on was only asked to stop."""
    job = result.job
    if not result.ok or job is None or job.state not in _TOLD:
        return []
    return [_event_of(_TOLD[job.state], job)]


def _event_of(type_: str, job: Job[Payload]) -> Event:
    reason = f"{job.errors[-1].type}: {job.errors[-1].error}" if type_ in ("failed", "discarded") else None
    return Event.of_job(type_, job, reason)


def _happened(event: Event) -> Happened:
    return Happened(event.type, event.job_id or 0, event.kind)
