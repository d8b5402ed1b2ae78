"""What one attempt means for its job: pure rules from a result or an error to an `Outcome`.

A worker ends its job by returning (completed), by raising one of the four below, or by raising anything else
(failed: tried again while attempts are left).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Final

from pydantic_core import to_json

from workerqueue.durations import Duration
from workerqueue.durations import delay as as_delay
from workerqueue.errors import ArgsError, ConfigError
from workerqueue.job import JobState
from workerqueue.payload import MAX_ERROR_BYTES, MAX_TRACE_BYTES, clean_text, encode_output
from workerqueue.redaction import mask
from workerqueue.retry import DEFAULT_RETRY, RetryPolicy, delay_after, read_policy


class JobOutcome(Exception):  # noqa: N818 - raised to say how a job ends, which need not be an error
    """What a worker raises to end its attempt its own way; raise one of its four kinds."""


class JobCancel(JobOutcome):
    """End the job as `cancelled`: it is not wanted any more."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason)


class JobDiscard(JobOutcome):
    """End the job as `discarded` though attempts are left: trying again can't help."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason)


class JobSnooze(JobOutcome):
    """Run the job again after a delay (seconds if a number); the attempt does not count."""

    def __init__(self, delay: Duration) -> None:
        self.delay = as_delay(delay)
        super().__init__(self.delay)  # the argument itself, so that the exception can be copied to another process

    def __str__(self) -> str:
        return f"for {self.delay}"


class JobRetry(JobOutcome):
    """Fail this attempt and try again, after `delay` if given (seconds if a number); the attempt counts."""

    def __init__(self, delay: Duration | None = None) -> None:
        self.delay = None if delay is None else as_delay(delay)
        super().__init__(self.delay)

    def __str__(self) -> str:
        return "" if self.delay is None else f"after {self.delay}"


class JobTimeoutError(TimeoutError):
    """The error recorded for an attempt that took longer than it may."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the rules need to know of the attempt that has ended."""

    number: int
    max_attempts: int
    retry: str | None
    """The job's stored policy; `None` is the default one."""
    client: str | None
    secrets: Collection[str] = ()
    """What must not stand in its error."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What to write for one run that has ended."""

    event: str
    """What happened, as subscribers and logs know it: `completed`, `failed`, `snoozed`, …"""
    state: JobState
    delay: timedelta = timedelta()
    """How long from the database's now until the job is due again."""
    counts: bool = True
    """Whether this start counts as an attempt."""
    error: str | None = None
    """The entry for the job's error history, as JSON without its time: the database's clock gives that."""
    output: str | None = None
    reason: str | None = None
    """The error in one line, for logs."""
    in_tx: bool = False
    """Whether the run was completed in a transaction of its worker's: this is written only if that did not commit."""


COMPLETED: Final = Outcome("completed", JobState.COMPLETED)
STOPPED: Final = Outcome("cancelled", JobState.CANCELLED, reason="it was asked to stop")
"""Somebody asked the run to stop."""
INTERRUPTED: Final = Outcome("interrupted", JobState.AVAILABLE, counts=False)
"""A stop cut the run off: the job goes back and the start does not count."""


def returned(value: object, attempt: Attempt, random: Callable[[], float]) -> Outcome:
    """Conclude an attempt whose worker returned; an output that can't be stored fails it."""
    if value is None:
        return COMPLETED
    try:
        return Outcome("completed", JobState.COMPLETED, output=encode_output(value))
    except ArgsError as error:
        return raised(OutputError(str(error)), attempt, random)


def raised(
    error: BaseException, attempt: Attempt, random: Callable[[], float], *, delay: timedelta | None = None
) -> Outcome:
    """Conclude an attempt that ended with an exception.

    `delay` is the worker's own rule for the time to the next attempt; a delay that the exception carries
    comes before it, the job's policy after it.
    """
    if isinstance(error, JobSnooze):
        state = JobState.SCHEDULED if error.delay else JobState.AVAILABLE
        return Outcome("snoozed", state, error.delay, counts=False)
    record, reason = _record(error, attempt), _one_line(error, attempt.secrets)
    if isinstance(error, JobCancel):
        return Outcome("cancelled", JobState.CANCELLED, error=record, reason=reason)
    if isinstance(error, JobDiscard | DeadlineError) or attempt.number >= attempt.max_attempts:
        return Outcome("discarded", JobState.DISCARDED, error=record, reason=reason)
    if isinstance(error, JobRetry) and error.delay is not None:
        delay = error.delay
    if delay is None:
        delay = delay_after(_policy(attempt.retry), attempt.number, random)
    return Outcome("failed", JobState.RETRYABLE, delay, error=record, reason=reason)


def _policy(stored: str | None) -> RetryPolicy:
    try:
        return read_policy(stored)
    except ConfigError:  # plain SQL can store what is no policy; the attempt must end all the same
        return DEFAULT_RETRY


class OutputError(ValueError):
    """The error recorded for an attempt whose output can't be stored."""


class NotCommittedError(Exception):
    """The error recorded for an attempt whose worker returned, but never committed what completed its job."""


def not_committed(attempt: Attempt, random: Callable[[], float]) -> Outcome:
    """Conclude an attempt whose worker completed its job in a transaction, should that not have been committed."""
    problem = "the worker returned, but the transaction in which complete_tx completed its job was not committed"
    return raised(NotCommittedError(problem), attempt, random)


class TooOldError(Exception):
    """The error recorded for a job that was due for too long when it could be started."""

    def __init__(self, age: timedelta, limit: timedelta) -> None:
        super().__init__(f"it was due {age} ago when it could be started, and its kind's max_age is {limit}")


class DeadlineError(Exception):
    """The error recorded for a job that was not done at its deadline; it is discarded."""


def failed_by_hand(
    error: str | BaseException, number: int, max_attempts: int, retry: str | None, random: Callable[[], float]
) -> Outcome:
    """Conclude an attempt that somebody else than its worker calls failed."""
    attempt = Attempt(number, max_attempts, retry, client=None)
    return raised(error if isinstance(error, BaseException) else FailedByHandError(error), attempt, random)


class FailedByHandError(Exception):
    """The error recorded for an attempt that was called failed by `jobs.fail`, in these words."""


def not_wanted(error: Exception, attempt: Attempt) -> Outcome:
    """Conclude an attempt whose worker is not called: its args do not fit, or it is too late. It is discarded."""
    return Outcome(
        "discarded",
        JobState.DISCARDED,
        error=_record(error, attempt, with_trace=False),
        reason=_one_line(error, attempt.secrets),
    )


def without_data(outcome: Outcome, refusal: Exception) -> Outcome:
    """Give an outcome that can be written in place of one whose data PostgreSQL refused.

    Nothing should come to this, since outputs and errors are checked and cleaned before; if something does,
    the job ends `discarded` and says why, instead of running for ever.
    """
    text = clean_text(f"a {outcome.event} outcome was refused: {refusal}", MAX_ERROR_BYTES)
    entry = to_json({"attempt": 0, "type": type(refusal).__name__, "error": text, "trace": None, "client": None})
    return Outcome("discarded", JobState.DISCARDED, error=entry.decode(), reason=_one_line(refusal))


def _one_line(error: BaseException, secrets: Collection[str] = ()) -> str:
    text = " ".join(clean_text(mask(_text_of(error), secrets), 500).split())
    text = "".join(each if each.isprintable() else "\ufffd" for each in text)  # no terminal codes in a log
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _record(error: BaseException, attempt: Attempt, *, with_trace: bool = True) -> str:
    trace = None
    if with_trace and not isinstance(error, JobOutcome):
        # Without locals: they may hold what must not be stored.
        shown = traceback.format_exception(type(error), error, _from_the_worker_on(error.__traceback__))
        trace = clean_text(mask("".join(shown), attempt.secrets), MAX_TRACE_BYTES)
    entry = {
        "attempt": attempt.number,
        "type": type(error).__name__,
        "error": clean_text(mask(_text_of(error), attempt.secrets), MAX_ERROR_BYTES),
        "trace": trace,
        "client": attempt.client,
    }
    return to_json(entry).decode()


def _from_the_worker_on(trace: TracebackType | None) -> TracebackType | None:
    """Leave out this library's own frames at the head of a trace: they are the same for every error."""
    start = trace
    while start is not None and start.tb_frame.f_globals.get("__name__", "").startswith("workerqueue."):
        start = start.tb_next
    return start or trace


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - an exception whose __str__ raises must not lose the job
        return f"(its text can't be read: {type(broken).__name__})"
