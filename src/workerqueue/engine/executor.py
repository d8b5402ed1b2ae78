"""Works one claimed job: decode → context → middleware → deadline → worker → outcome, without a round trip."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Final, cast

from pydantic import JsonValue

from workerqueue.args import JobArgs
from workerqueue.database import Claimed
from workerqueue.durations import as_timedelta, positive
from workerqueue.engine.deadlines import NEVER, Deadlines
from workerqueue.engine.hooks import Hooks
from workerqueue.engine.isolation import in_own_context
from workerqueue.engine.processes import Processes
from workerqueue.engine.runs import Interruption, Keeper, Run, SaveState
from workerqueue.engine.threads import Threads
from workerqueue.job import Job
from workerqueue.job_context import NOTHING, entered
from workerqueue.middleware import Middleware, around_work, wrapping_work
from workerqueue.options import Payload
from workerqueue.outcome import (
    COMPLETED,
    INTERRUPTED,
    STOPPED,
    Attempt,
    DeadlineError,
    JobCancel,
    JobDiscard,
    JobSnooze,
    JobTimeoutError,
    Outcome,
    TooOldError,
    not_committed,
    not_wanted,
    raised,
    returned,
)
from workerqueue.payload import decode_model, read_json
from workerqueue.redaction import secrets_in
from workerqueue.retry import LONGEST
from workerqueue.worker import NO_RULES, Registration, Workers

STUCK_AFTER: Final = 10.0
"""Seconds that a worker has to end once it is cut off."""


class Executor:
    """Works claimed jobs, each to an `Outcome`; knows which are under way.

    Args:
        workers: Who works which kind.
        client: The client's id, written into errors.
        max_ages: How long ago jobs of some kinds may have been due when they are started.
        middleware: What is around all work, the outermost first.
        save_state: Saves progress and checkpoint of a run.
        on_stuck: Told of a run that did not end when it was cut off, and what becomes of its job; says whether it is
            left to itself from then on.
    """

    def __init__(
        self,
        workers: Workers,
        client: str,
        max_ages: Mapping[str, timedelta],
        middleware: Sequence[Middleware],
        save_state: SaveState,
        on_stuck: Callable[[Run, Outcome], bool],
    ) -> None:
        self._workers = workers
        self._max_ages = max_ages
        self._client = client
        self._hooks = Hooks(middleware)
        wrapping = wrapping_work(middleware)
        self._around = partial(around_work, wrapping) if wrapping else None
        self._on_stuck = on_stuck
        self._runs: set[Run] = set()
        self._telling: set[asyncio.Task[None]] = set()
        self._deadlines = Deadlines(self._runs)
        self._keeper = Keeper(self._deadlines, STUCK_AFTER, self._give_up, save_state)
        self._threads = Threads(STUCK_AFTER)
        self._processes = Processes()

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
        for telling in self._telling:
            telling.cancel()

    def interrupt(self, ids: Collection[int], why: Interruption) -> None:
        """Cut off the runs of these jobs."""
        for run in self.runs:
            if run.stored.id in ids:
                run.interrupt(why)

    def close(self) -> None:
        """Watch no deadlines any more, and end the child processes."""
        self._deadlines.close()
        self._processes.close()

    async def execute(self, stored: Claimed, task: asyncio.Task[None]) -> Outcome | None:
        """Work one job to its outcome, whatever its worker does, in the task that calls this.

        Returns:
            `None` if the run was given up meanwhile: its outcome has been told.
        """
        registration = self._workers.get(stored.kind)
        if registration is None:
            return INTERRUPTED  # its worker was taken away after the claim; others may have it
        if self._max_ages and (limit := self._max_ages.get(stored.kind)) is not None:
            # Both by the database's clock.
            age = stored.attempted_at - stored.scheduled_at
            if age > limit:
                return await self._discard(stored, TooOldError(age, limit))
        try:
            job = stored.to_job(decode_model(registration.args_class, stored.args))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with this row must not touch another
            return await self._discard(stored, error)
        if job.deadline_at is not None and job.deadline_at <= stored.attempted_at:
            return await self._discard(stored, DeadlineError("its deadline had passed when it could be started"))
        run = Run(stored, job, registration, task, stored.timeout_seconds, self._keeper)
        job.attach(run)
        self._runs.add(run)
        try:
            if job.context is NOTHING:
                outcome = await self._attempt(run)
            else:
                with entered(job.context):
                    outcome = await self._attempt(run)
        finally:
            self._runs.discard(run)
            job.attach(None)  # else each would hold the other, and only the garbage collector could let go of both
        if run.is_abandoned:
            return None
        return replace(outcome, in_tx=True) if run.in_tx else outcome

    async def _attempt(self, run: Run) -> Outcome:
        """Call the worker and conclude from what it returned or raised."""
        error: BaseException | None = None
        value: object = None
        try:
            value = await self._call(run)
            if run.saving is not None:
                await run.saving.finish()
        except BaseException as caught:
            if isinstance(caught, GeneratorExit) and _is_closing(run):
                raise
            error = caught  # a worker's SystemExit, too, must not end the process
        for _ in range(run.cancellations):
            run.task.uncancel()  # the engine's own; anybody else's is left, and ends the slot
        run.deadline = NEVER
        if run.is_abandoned:
            return INTERRUPTED  # whatever it is: what becomes of its job has been told
        if error is None and value is None and run.interruption is None and not run.in_tx:
            return COMPLETED
        outcome, error = self._conclude(run, error, value)
        if self._hooks and error is not None:
            self._runs.discard(run)  # its worker has ended: there is nothing left to cut off
            await asyncio.wait([self._tell(run.stored, run.job, error, outcome)])
        return outcome

    def _conclude(self, run: Run, error: BaseException | None, value: object) -> tuple[Outcome, BaseException | None]:
        """Give what a run comes to, and what failed it, if something did."""
        if run.interruption in (Interruption.STOP, Interruption.LOST):
            return INTERRUPTED, None
        if run.interruption is Interruption.ASKED:
            return STOPPED, None
        attempt = self._attempt_of(run.stored)
        if run.interruption is Interruption.TIMEOUT:
            late = _late(run)
            late.__cause__ = error  # its trace shows where the worker was
            error = late
        if error is None and run.in_tx:
            return not_committed(attempt, random.random), None
        if error is None:
            return returned(value, attempt, random.random), None
        attempt = replace(attempt, secrets=secrets_in(run.job.args))
        return raised(error, attempt, random.random, delay=_own_retry(run.registration, run.job, error)), error

    async def _call(self, run: Run) -> object:
        """Call the worker under its deadline."""
        rules = run.registration.rules
        if rules is not NO_RULES and (own := rules.timeout(run.job)) is not None:
            run.timeout = positive(own).total_seconds()
        if run.job.deadline_at is not None:
            left = (run.job.deadline_at - run.stored.attempted_at).total_seconds()  # both by the database's clock
            run.is_late_for_good = left <= run.timeout
            run.timeout = min(run.timeout, left)
        run.limit(run.timeout)
        result: object
        if self._around is not None:
            result = self._around(partial(self._do, run))(run.job)
        elif run.registration.place == "loop":
            result = run.registration.work(run.job)
        else:
            result = self._begin(run, run.job)
        if inspect.iscoroutine(result):
            return await in_own_context(result)
        return await result if inspect.isawaitable(result) else result

    async def _do(self, run: Run, job: Job[JobArgs]) -> object:
        """Call the worker from within middleware."""
        result = self._begin(run, job)
        return await result if inspect.isawaitable(result) else result

    def _begin(self, run: Run, job: Job[JobArgs]) -> object:
        """Begin a worker's work where that is done: on the loop, in a thread or in a child process."""
        registration = run.registration
        if registration.place == "loop":
            return registration.work(job)
        if registration.place == "process":
            return self._processes.run(registration.work, job, run, registration.memory_limit)
        return self._in_thread(run, job)

    async def _in_thread(self, run: Run, job: Job[JobArgs]) -> object:
        result = await self._threads.run(run.registration.kind, partial(run.registration.work, job))
        return await result if inspect.isawaitable(result) else result

    async def _discard(self, stored: Claimed, error: Exception) -> Outcome:
        """Conclude a run whose worker is not called: waiting mends nothing."""
        outcome = not_wanted(error, self._attempt_of(stored))
        if self._hooks:
            try:
                job = stored.to_job(cast("dict[str, JsonValue]", read_json(stored.args)))
            except Exception:  # noqa: BLE001 - there is nothing that could be told
                return outcome
            await asyncio.wait([self._tell(stored, job, error, outcome)])
        return outcome

    def _give_up(self, run: Run) -> None:
        """End a run whose worker does not end."""
        outcome, error = self._conclude(run, None, None)
        if not self._on_stuck(run, outcome):
            return
        run.is_abandoned = True
        self._runs.discard(run)
        if self._hooks and error is not None:
            self._tell(run.stored, run.job, error, outcome)

    def _tell(self, stored: Claimed, job: Job[Payload], error: BaseException, outcome: Outcome) -> asyncio.Task[None]:
        """Begin to tell the hooks of a failure, in the job's context: a task of its own, which a stop may cut off."""
        with entered(job.context):  # what calls this may have begun in another job's
            telling = asyncio.create_task(self._hooks.tell(stored, job, error, outcome))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)
        return telling

    def _attempt_of(self, stored: Claimed) -> Attempt:
        return Attempt(stored.attempt, stored.max_attempts, stored.policy(), self._client)


def _is_closing(run: Run) -> bool:
    """Tell whether the slot's coroutine is being closed, rather than its worker raising GeneratorExit itself."""
    try:
        return asyncio.current_task() is not run.task
    except RuntimeError:  # the loop is gone
        return True


def _late(run: Run) -> Exception:
    if run.is_late_for_good:
        return DeadlineError("it was not done at its deadline")
    return JobTimeoutError(f"the attempt took longer than its timeout of {timedelta(seconds=run.timeout)}")


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
