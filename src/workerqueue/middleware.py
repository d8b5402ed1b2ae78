"""What an application puts around its inserts and its workers: subclass `Middleware`, give objects to the client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from workerqueue.args import InsertOpts, JobArgs
from workerqueue.job import InsertResult, Job
from workerqueue.options import Payload


@dataclass(frozen=True, slots=True)
class Insert:
    """One job that is about to be inserted."""

    kind: str
    args: Payload
    """An object of its class, or plain JSON where the class is not known here."""
    opts: InsertOpts


@dataclass(frozen=True, slots=True)
class Failure:
    """How an attempt failed."""

    job: Job[Payload]
    error: BaseException
    attempt: int
    max_attempts: int
    is_last: bool
    """Whether the job is discarded: no attempt is left, or none is wanted."""
    retry_in: timedelta | None
    """How long until the next attempt, where there is one."""


InsertNext = Callable[[Sequence[Insert]], Awaitable[Sequence[InsertResult[Payload]]]]
WorkNext = Callable[[Job[JobArgs]], Awaitable[object]]


class Middleware:
    """Wraps inserts and work, and hears of failures; override what is wanted.

    ::

        class Timing(Middleware):
            async def work(self, job: Job[JobArgs], call_next: WorkNext) -> object:
                began = monotonic()
                try:
                    return await call_next(job)
                finally:
                    record(job.kind, monotonic() - began)

        client = Client(url, workers=workers, middleware=[Timing()])

    The first of a client's is the outermost. The job's context is there in all of them.
    """

    async def insert(self, jobs: Sequence[Insert], call_next: InsertNext) -> Sequence[InsertResult[Payload]]:
        """Insert jobs: call the next one with them, or with others in their place, one for each.

        What is raised here refuses the insert; nothing is stored.
        """
        return await call_next(jobs)

    async def work(self, job: Job[JobArgs], call_next: WorkNext) -> object:
        """Work a job, within its timeout: what is returned or raised here counts, as if its worker had done so."""
        return await call_next(job)

    async def on_failure(self, failure: Failure) -> None:
        """Hear that an attempt has failed, before that is written; 10 s at most, and an error here is only logged."""
        del failure

    async def on_discard(self, failure: Failure) -> None:
        """Hear that a job is discarded, before that is written; behind `on_failure`, and limited like it.

        A crash of the process can't be heard of so: `InsertOpts(on_discard=…)` can.
        """
        del failure


def wrapping_inserts(middleware: Sequence[Middleware]) -> list[Middleware]:
    """Give those that do something of their own around inserts."""
    return [each for each in middleware if type(each).insert is not Middleware.insert]


def wrapping_work(middleware: Sequence[Middleware]) -> list[Middleware]:
    """Give those that do something of their own around work."""
    return [each for each in middleware if type(each).work is not Middleware.work]


def around_inserts(middleware: Sequence[Middleware], insert: InsertNext) -> InsertNext:
    """Put middleware around an insert."""
    for each in reversed(middleware):
        insert = _wrapped_insert(each, insert)
    return insert


def around_work(middleware: Sequence[Middleware], work: WorkNext) -> WorkNext:
    """Put middleware around a worker."""
    for each in reversed(middleware):
        work = _wrapped_work(each, work)
    return work


def _wrapped_insert(middleware: Middleware, call_next: InsertNext) -> InsertNext:
    return lambda jobs: middleware.insert(jobs, call_next)


def _wrapped_work(middleware: Middleware, call_next: WorkNext) -> WorkNext:
    return lambda job: middleware.work(job, call_next)
