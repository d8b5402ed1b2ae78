"""Works one claimed job: decode → deadline → worker → outcome, without a round trip to the database."""

from __future__ import annotations

import asyncio
import inspect
import math
import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum

from anyio import CapacityLimiter, to_thread

from workerqueue.args import JobArgs
from workerqueue.database import Claimed
from workerqueue.durations import as_timedelta, positive
from workerqueue.engine.deadlines import NEVER, Deadlines
from workerqueue.engine.isolation import in_own_context
from workerqueue.job import Job
from workerqueue.outcome import (
    COMPLETED,
    INTERRUPTED,
    STOPPED,
    Attempt,
    JobCancel,
    JobDiscard,
    JobSnooze,
    JobTimeoutError,
    Outcome,
    not_committed,
    raised,
    returned,
    too_old,
    undecodable,
)
from workerqueue.payload import decode_model
from workerqueue.redaction import secrets_in
from workerqueue.retry import LONGEST
from workerqueue.worker import NO_RULES, Registration, Workers


class Interruption(Enum):
    """Why the engine cut a run off."""

    TIMEOUT = "timeout"
    STOP = "stop"
    ASKED = "asked"
    """Somebody asked the run to stop."""
    LOST = "lost"
    """The client was declared dead: what comes of the run is no longer taken."""


@dataclass(slots=True, eq=False)
class Run:
    """One job while it is worked."""

    stored: Claimed
    task: asyncio.Task[object]
    timeout: float
    """Seconds."""
    deadline: float = NEVER
    interruption: Interruption | None = None
    cancellations: int = 0
    in_tx: bool = False
    """Whether its worker has completed it in a transaction of its own."""

    def expire(self) -> None:
        """Cut it off at its deadline."""
        self.interrupt(Interruption.TIMEOUT)

    def interrupt(self, why: Interruption) -> None:
        """Cancel the worker; the first reason counts."""
        self.interruption = self.interruption or why
        self.cancellations += 1
        self.task.cancel()


class Executor:
    """Works claimed jobs, each to an `Outcome`; knows which are under way."""

    def __init__(self, workers: Workers, client: str, max_ages: Mapping[str, timedelta]) -> None:
        self._workers = workers
        self._max_ages = max_ages
        self._client = client
        self._runs: set[Run] = set()
        self._deadlines = Deadlines(self._runs)
        # Slots limit how many threads there are; a limit of their own could only make them wait for each other.
        self._threads = CapacityLimiter(math.inf)

    @property
    def runs(self) -> list[Run]:
        """The runs under way."""
        return list(self._runs)

    def find(self, job: int) -> Run | None:
        """Give the run of a job that is under way here."""
        return next((run for run in self._runs if run.stored.id == job), None)

    def interrupt_all(self, why: Interruption) -> None:
        """Cut off every run."""
        for run in self.runs:
            run.interrupt(why)

    def interrupt(self, ids: Collection[int], why: Interruption) -> None:
        """Cut off the runs of these jobs."""
        for run in self.runs:
            if run.stored.id in ids:
                run.interrupt(why)

    def close(self) -> None:
        """Watch no deadlines any more."""
        self._deadlines.close()

    async def execute(self, stored: Claimed, task: asyncio.Task[None]) -> Outcome:
        """Work one job to its outcome, whatever its worker does, in the task that calls this."""
        registration = self._workers.get(stored.kind)
        if registration is None:
            return INTERRUPTED  # its worker was taken away after the claim; others may have it
        if self._max_ages and (limit := self._max_ages.get(stored.kind)) is not None:
            # Both by the database's clock.
            age = stored.attempted_at - stored.scheduled_at
            if age > limit:
                return too_old(age, limit, self._attempt_of(stored))
        try:
            job = _decode(registration, stored)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with this row must not touch another
            return undecodable(error, self._attempt_of(stored))
        run = Run(stored, task, stored.timeout_seconds)
        self._runs.add(run)
        try:
            outcome = await self._attempt(registration, job, run)
            return replace(outcome, in_tx=True) if run.in_tx else outcome
        finally:
            self._runs.discard(run)

    async def _attempt(self, registration: Registration, job: Job[JobArgs], run: Run) -> Outcome:
        """Call the worker and conclude from what it returned or raised."""
        error: BaseException | None = None
        value: object = None
        try:
            value = await self._call(registration, job, run)
        except BaseException as caught:
            if isinstance(caught, GeneratorExit) and _is_closing(run):
                raise
            error = caught  # a worker's SystemExit, too, must not end the process
        for _ in range(run.cancellations):
            run.task.uncancel()  # the engine's own; anybody else's is left, and ends the slot
        if run.interruption in (Interruption.STOP, Interruption.LOST):
            return INTERRUPTED
        if run.interruption is Interruption.ASKED:
            return STOPPED
        if run.interruption is Interruption.TIMEOUT:
            late = JobTimeoutError(f"the attempt took longer than its timeout of {timedelta(seconds=run.timeout)}")
            late.__cause__ = error  # its trace shows where the worker was
            error = late
        if error is None and value is None and not run.in_tx:
            return COMPLETED
        attempt = self._attempt_of(run.stored)
        if error is None and run.in_tx:
            return not_committed(attempt, random.random)
        if error is None:
            return returned(value, attempt, random.random)
        attempt = replace(attempt, secrets=secrets_in(job.args))
        return raised(error, attempt, random.random, delay=_own_retry(registration, job, error))

    async def _call(self, registration: Registration, job: Job[JobArgs], run: Run) -> object:
        """Call the worker under its deadline."""
        if registration.rules is not NO_RULES and (own := registration.rules.timeout(job)) is not None:
            run.timeout = positive(own).total_seconds()
        run.deadline = run.task.get_loop().time() + run.timeout
        self._deadlines.note(run.deadline)
        if registration.is_async:
            result = registration.work(job)
        else:
            # A thread can't be stopped: at its deadline it is left behind, and what it returns is ignored.
            result = await to_thread.run_sync(registration.work, job, abandon_on_cancel=True, limiter=self._threads)
        if inspect.iscoroutine(result):
            return await in_own_context(result)
        return await result if inspect.isawaitable(result) else result

    def _attempt_of(self, stored: Claimed) -> Attempt:
        return Attempt(stored.attempt, stored.max_attempts, stored.policy(), self._client)


def _is_closing(run: Run) -> bool:
    """Tell whether the slot's coroutine is being closed, rather than its worker raising GeneratorExit itself."""
    try:
        return asyncio.current_task() is not run.task
    except RuntimeError:  # the loop is gone
        return True


def _decode(registration: Registration, stored: Claimed) -> Job[JobArgs]:
    args = decode_model(registration.args_class, stored.args)
    return stored.to_job(args)


def _own_retry(registration: Registration, job: Job[JobArgs], error: BaseException) -> timedelta | None:
    """Ask the worker's own rule for the next attempt; a rule that fails leaves it to the job's policy."""
    if isinstance(error, JobCancel | JobDiscard | JobSnooze) or job.attempt >= job.max_attempts:
        return None
    try:
        own = registration.rules.next_retry(job, error)
        return None if own is None else min(max(as_timedelta(own), timedelta()), LONGEST)
    except BaseException as broken:  # noqa: BLE001 - the failure being handled must still be recorded
        error.add_note(f"next_retry failed, so the job's policy was used: {type(broken).__name__}: {broken}")
        return None
