"""What one attempt means for its job, from what its worker returned or raised."""

from __future__ import annotations

import asyncio
import json
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from workerqueue import ArgsError, Fixed, JobCancel, JobDiscard, JobRetry, JobSnooze, JobState
from workerqueue.outcome import (
    COMPLETED,
    INTERRUPTED,
    Attempt,
    JobTimeoutError,
    Outcome,
    OutputError,
    not_wanted,
    raised,
    returned,
    without_data,
)
from workerqueue.payload import MAX_ERROR_BYTES, MAX_TRACE_BYTES, decode_model
from workerqueue.retry import write_policy

KEEP = timedelta()
AGAIN = timedelta(seconds=30)


class Report(BaseModel):
    name: str
    rate: float = 0.0


class UnreadableError(Exception):
    """An exception whose text can't be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class WrongTextError(Exception):
    """An exception whose text is none."""

    def __str__(self) -> str:
        return 7  # type: ignore[return-value] # pyright: ignore[reportReturnType]


def attempt(number: int = 1, max_attempts: int = 3, retry: str | None = write_policy(Fixed(AGAIN))) -> Attempt:
    """An attempt whose job is tried again after 30 s, without jitter."""
    return Attempt(number, max_attempts, retry, "client-1")


def middle() -> float:
    """A random number in the middle."""
    return 0.5


def entry(outcome: Outcome) -> dict[str, Any]:
    """The entry that an outcome adds to the history of errors."""
    assert outcome.error is not None
    read: dict[str, Any] = json.loads(outcome.error)
    return read


def thrown(error: BaseException) -> BaseException:
    """The error with a trace, as a worker would raise it."""

    def the_worker() -> None:
        raise error

    try:
        the_worker()
    except BaseException as caught:  # noqa: BLE001 - any error is a case here
        return caught
    raise AssertionError


@dataclass
class Case:
    """An error, where it happens, and what it means."""

    error: BaseException
    event: str
    state: JobState
    delay: timedelta = KEEP
    counts: bool = True
    number: int = 1
    own_delay: timedelta | None = None
    recorded: str | None = ""
    reason: str | None = None


ENDINGS = {
    "an exception, attempts left": Case(
        ValueError("bad"), "failed", JobState.RETRYABLE, AGAIN, recorded="bad", reason="ValueError: bad"
    ),
    "an exception, one attempt left": Case(
        ValueError("bad"), "failed", JobState.RETRYABLE, AGAIN, number=2, recorded="bad"
    ),
    "an exception, the last attempt": Case(
        ValueError("bad"), "discarded", JobState.DISCARDED, number=3, recorded="bad", reason="ValueError: bad"
    ),
    "an exception beyond the last attempt": Case(
        ValueError("bad"), "discarded", JobState.DISCARDED, number=9, recorded="bad"
    ),
    "an exception without text": Case(ValueError(), "failed", JobState.RETRYABLE, AGAIN, reason="ValueError"),
    "an exception of several lines": Case(
        ValueError("a\nb"), "failed", JobState.RETRYABLE, AGAIN, recorded="a\nb", reason="ValueError: a b"
    ),
    "a timeout": Case(
        JobTimeoutError("late"), "failed", JobState.RETRYABLE, AGAIN, recorded="late", reason="JobTimeoutError: late"
    ),
    "a timeout at the last attempt": Case(JobTimeoutError(), "discarded", JobState.DISCARDED, number=3),
    "a cancellation of the worker's own": Case(asyncio.CancelledError(), "failed", JobState.RETRYABLE, AGAIN),
    "an exit": Case(SystemExit(2), "failed", JobState.RETRYABLE, AGAIN, recorded="2", reason="SystemExit: 2"),
    "the worker's own delay": Case(ValueError(), "failed", JobState.RETRYABLE, timedelta(7), own_delay=timedelta(7)),
    "the worker's own delay of 0": Case(ValueError(), "failed", JobState.RETRYABLE, KEEP, own_delay=KEEP),
    "the worker's own delay at the last attempt": Case(
        ValueError(), "discarded", JobState.DISCARDED, number=3, own_delay=timedelta(7)
    ),
    "JobRetry": Case(JobRetry(), "failed", JobState.RETRYABLE, AGAIN, reason="JobRetry"),
    "JobRetry after a delay": Case(
        JobRetry(5), "failed", JobState.RETRYABLE, timedelta(seconds=5), recorded="after 0:00:05"
    ),
    "JobRetry at once": Case(JobRetry(0), "failed", JobState.RETRYABLE, KEEP, recorded="after 0:00:00"),
    "JobRetry's delay before the worker's own": Case(
        JobRetry(timedelta(minutes=1)),
        "failed",
        JobState.RETRYABLE,
        timedelta(minutes=1),
        own_delay=timedelta(7),
        recorded="after 0:01:00",
    ),
    "JobRetry without a delay, the worker's own": Case(
        JobRetry(), "failed", JobState.RETRYABLE, timedelta(7), own_delay=timedelta(7)
    ),
    "JobRetry at the last attempt": Case(
        JobRetry(5), "discarded", JobState.DISCARDED, number=3, recorded="after 0:00:05"
    ),
    "JobCancel": Case(JobCancel("gone"), "cancelled", JobState.CANCELLED, recorded="gone", reason="JobCancel: gone"),
    "JobCancel at the last attempt": Case(JobCancel(), "cancelled", JobState.CANCELLED, number=3),
    "JobDiscard": Case(
        JobDiscard("hopeless"), "discarded", JobState.DISCARDED, recorded="hopeless", reason="JobDiscard: hopeless"
    ),
    "JobSnooze": Case(JobSnooze(60), "snoozed", JobState.SCHEDULED, timedelta(minutes=1), counts=False, recorded=None),
    "JobSnooze for 0": Case(JobSnooze(0), "snoozed", JobState.AVAILABLE, KEEP, counts=False, recorded=None),
    "JobSnooze at the last attempt": Case(
        JobSnooze(1), "snoozed", JobState.SCHEDULED, timedelta(seconds=1), counts=False, number=3, recorded=None
    ),
    "JobSnooze, whatever the worker's own delay": Case(
        JobSnooze(1),
        "snoozed",
        JobState.SCHEDULED,
        timedelta(seconds=1),
        counts=False,
        own_delay=timedelta(7),
        recorded=None,
    ),
}


@pytest.mark.parametrize("case", ENDINGS.values(), ids=ENDINGS)
def test_what_an_error_means_for_its_job(case: Case) -> None:
    """The event, the next state, when it is due, and whether the start counts."""
    outcome = raised(case.error, attempt(case.number), middle, delay=case.own_delay)
    assert (outcome.event, outcome.state, outcome.delay, outcome.counts) == (
        case.event,
        case.state,
        case.delay,
        case.counts,
    )
    assert outcome.output is None
    if case.reason is not None:
        assert outcome.reason == case.reason
    if case.recorded is None:
        assert (outcome.error, outcome.reason) == (None, None)
    else:
        recorded = entry(outcome)
        assert (recorded["attempt"], recorded["type"], recorded["error"], recorded["client"]) == (
            case.number,
            type(case.error).__name__,
            case.recorded,
            "client-1",
        )


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (JobCancel("gone"), {"reason": "gone"}),
        (JobDiscard("hopeless"), {"reason": "hopeless"}),
        (JobSnooze(60), {"delay": timedelta(minutes=1)}),
        (JobRetry(5), {"delay": timedelta(seconds=5)}),
        (JobRetry(), {"delay": None}),
    ],
    ids=["JobCancel", "JobDiscard", "JobSnooze", "JobRetry after a delay", "JobRetry"],
)
def test_what_a_worker_raises_survives_a_process_boundary(error: Exception, fields: dict[str, object]) -> None:
    """A worker may do its work in another process and raise there how the job ends."""
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(copy), vars(copy), str(copy)) == (type(error), fields, str(error))


def test_without_a_stored_policy_the_default_one_counts() -> None:
    """The second failure waits 10 s by default, with the jitter drawn."""
    outcome = raised(ValueError(), attempt(2, retry=None), lambda: 1.0)
    assert outcome.delay.total_seconds() == pytest.approx(11)


@pytest.mark.parametrize(
    "retry", ['{"policy": "tomorrow"}', '{"policy": "fixed", "delay_seconds": -1}', "{", "null"], ids=repr
)
def test_a_stored_policy_that_cannot_be_read_does_not_keep_a_job_from_failing(retry: str) -> None:
    """What a newer client stored is not known here: the default policy serves, and the error is recorded."""
    outcome = raised(ValueError("bad"), attempt(1, retry=retry), middle)
    assert (outcome.event, outcome.state, outcome.delay, entry(outcome)["error"]) == (
        "failed",
        JobState.RETRYABLE,
        timedelta(seconds=5),
        "bad",
    )


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (UnreadableError(), "(its text can't be read: RuntimeError)"),
        (WrongTextError(), "(its text can't be read: TypeError)"),
    ],
    ids=["str() raises", "str() gives no text"],
)
def test_an_exception_without_readable_text_loses_no_job(error: Exception, text: str) -> None:
    """An error that can't say what it is still fails its attempt."""
    outcome = raised(thrown(error), attempt(), middle)
    assert (outcome.state, entry(outcome)["error"]) == (JobState.RETRYABLE, text)
    assert outcome.reason == f"{type(error).__name__}: {text}"


@pytest.mark.parametrize(
    ("text", "stored"),
    [("a\0b", "a\ufffdb"), ("a\ud800", "a\\ud800"), ("é👩", "é👩")],
    ids=["NUL", "lone surrogate", "Unicode"],
)
def test_an_errors_text_is_made_storable(text: str, stored: str) -> None:
    """What PostgreSQL can't hold is replaced in text, trace and reason."""
    outcome = raised(thrown(ValueError(text)), attempt(), middle)
    recorded = entry(outcome)
    assert (recorded["error"], outcome.reason) == (stored, f"ValueError: {stored}")
    assert f"ValueError: {stored}" in recorded["trace"]
    assert "\\u0000" not in (outcome.error or "")


@pytest.mark.parametrize("text", ["a\r\nb", "a\u2028b", "a\x1b[31mb", "a\x0bb\x85c"], ids=repr)
def test_the_reason_is_one_line(text: str) -> None:
    """An error can't write a second line, or a terminal's commands, into a log."""
    reason = raised(ValueError(text), attempt(), middle).reason or ""
    assert (len(reason.splitlines()), "\x1b" in reason) == (1, False)


def test_long_texts_are_cut() -> None:
    """An error's text is kept to 8 KiB, its trace to 32 KiB and the reason to a line of a log."""
    outcome = raised(thrown(ValueError("é" * 100_000)), attempt(), middle)
    recorded = entry(outcome)
    sizes = [len(recorded[key].encode()) for key in ("error", "trace")]
    assert [MAX_ERROR_BYTES - 1 <= sizes[0] <= MAX_ERROR_BYTES, MAX_TRACE_BYTES - 1 <= sizes[1] <= MAX_TRACE_BYTES] == [
        True,
        True,
    ]
    assert (MAX_ERROR_BYTES, MAX_TRACE_BYTES) == (8192, 32768)
    assert recorded["error"].endswith("… [cut, 200000 bytes]")
    assert len(outcome.reason or "") < 600


def test_a_trace_begins_with_the_worker() -> None:
    """This library's own frames at the head are left out; the worker's and what it calls stay."""
    namespace: dict[str, Any] = {"__name__": "workerqueue.engine.executor"}
    exec("def library(work):\n    work()", namespace)  # noqa: S102 - a frame that looks like the library's

    def fetch_page() -> None:
        raise LookupError("no page")

    def the_worker() -> None:
        fetch_page()

    def run() -> BaseException:
        try:
            namespace["library"](lambda: namespace["library"](the_worker))
        except LookupError as error:
            return error
        raise AssertionError

    error = run()
    # What the test itself put above the library would not be there in a process that works jobs.
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next
    trace: str = entry(raised(error, attempt(), middle))["trace"]
    frames = [line.rsplit(" in ", 1)[1] for line in trace.splitlines() if line.startswith("  File ")]
    assert frames == ["<lambda>", "library", "the_worker", "fetch_page"]
    assert trace.startswith("Traceback (most recent call last):\n")
    assert trace.endswith("LookupError: no page\n")


def test_a_trace_shows_the_cause_and_no_locals() -> None:
    """How the error came about is kept, what the variables held is not."""

    def the_worker() -> None:
        secret = "s3" + "cret"
        try:
            raise KeyError(len(secret))
        except KeyError as error:
            raise ValueError("bad") from error

    try:
        the_worker()
    except ValueError as error:
        trace = entry(raised(error, attempt(), middle))["trace"]
        assert ("KeyError: 6" in trace, "direct cause" in trace, "s3cret" in trace) == (True, True, False)
    else:
        raise AssertionError


@pytest.mark.parametrize("error", [JobCancel("x"), JobDiscard("x"), JobRetry(1)], ids=lambda e: type(e).__name__)
def test_an_outcome_that_was_raised_on_purpose_has_no_trace(error: BaseException) -> None:
    """How a worker says how its job ends is no accident to look into."""
    assert entry(raised(thrown(error), attempt(), middle))["trace"] is None


def test_a_failure_has_a_trace() -> None:
    """An accident has one."""
    assert "in the_worker" in entry(raised(thrown(ValueError()), attempt(), middle))["trace"]


def test_a_worker_that_returns_nothing_has_completed() -> None:
    """The job is completed without an output."""
    outcome = returned(None, attempt(), middle)
    assert outcome == COMPLETED == Outcome("completed", JobState.COMPLETED)
    assert (outcome.counts, outcome.output, outcome.error, outcome.delay) == (True, None, None, KEEP)


@pytest.mark.parametrize(
    ("value", "output"),
    [
        (0, 0),
        (False, False),
        ("", ""),
        ([], []),
        ({"a": [1, None]}, {"a": [1, None]}),
        (Report(name="r"), {"name": "r", "rate": 0.0}),
        ([Report(name="r")], [{"name": "r", "rate": 0.0}]),
        (timedelta(seconds=90), "PT1M30S"),
        ((1, 2), [1, 2]),
    ],
    ids=["0", "False", "empty text", "empty list", "object", "model", "models", "timedelta", "tuple"],
)
def test_what_a_worker_returns_is_the_output(value: object, output: object) -> None:
    """Whatever Pydantic can write as JSON is stored, falsy values too."""
    outcome = returned(value, attempt(), middle)
    assert (outcome.event, outcome.state, json.loads(outcome.output or "?"), outcome.error) == (
        "completed",
        JobState.COMPLETED,
        output,
        None,
    )


def endless() -> list[Any]:
    """A list that holds itself."""
    value: list[Any] = []
    value.append(value)
    return value


UNSTORABLE: dict[str, tuple[Callable[[], object], str]] = {
    "no JSON": (object, "output"),
    "NaN": (lambda: {"a": [math.nan]}, "output.a[0]"),
    "NaN in a model": (lambda: Report(name="r", rate=math.nan), "output.rate"),
    "too large": (lambda: "x" * 1024 * 1024, "output"),
    "too deep": (endless, "output"),
    "2**63": (lambda: {"n": 2**63}, "output.n"),
}


@pytest.mark.parametrize("case", UNSTORABLE)
def test_an_output_that_cannot_be_stored_fails_the_attempt(case: str) -> None:
    """The job is not lost: the attempt fails with the path, and is tried again while attempts are left."""
    make, path = UNSTORABLE[case]
    failed, discarded = (returned(make(), attempt(number), middle) for number in (1, 3))
    assert (failed.event, failed.state, failed.delay, failed.output) == ("failed", JobState.RETRYABLE, AGAIN, None)
    assert (discarded.event, discarded.state) == ("discarded", JobState.DISCARDED)
    recorded = entry(failed)
    assert recorded["type"] == OutputError.__name__
    assert recorded["error"].startswith(path)


@pytest.mark.parametrize(
    ("value", "stored"), [("a\0b", "a\ufffdb"), ({"k\0": ["\ud800"]}, {"k\ufffd": ["\\ud800"]})], ids=["NUL", "both"]
)
def test_text_in_an_output_is_cleaned(value: object, stored: object) -> None:
    """In outputs NUL and lone surrogates are replaced, as in errors, so that work that is done stays done."""
    outcome = returned(value, attempt(), middle)
    assert (outcome.state, json.loads(outcome.output or "null")) == (JobState.COMPLETED, stored)


def test_a_job_cut_off_by_a_stop_goes_back_uncounted() -> None:
    """It is available at once and loses no attempt."""
    assert (INTERRUPTED.state, INTERRUPTED.counts, INTERRUPTED.delay, INTERRUPTED.error) == (
        JobState.AVAILABLE,
        False,
        KEEP,
        None,
    )


def test_args_that_no_longer_fit_their_class_end_the_job() -> None:
    """The job is discarded with the path, at its first attempt, without a trace and without its values."""
    try:
        decode_model(Report, '{"name": ["s3cret"]}')
    except ArgsError as error:
        outcome = not_wanted(error, attempt(1))
    else:
        raise AssertionError
    recorded = entry(outcome)
    assert (outcome.event, outcome.state, outcome.counts) == ("discarded", JobState.DISCARDED, True)
    assert (recorded["type"], recorded["trace"], recorded["attempt"]) == ("ArgsError", None, 1)
    assert recorded["error"].startswith("args.name: ")
    assert outcome.reason == f"ArgsError: {recorded['error']}"
    assert "s3cret" not in (outcome.error or "")


@pytest.mark.parametrize(
    ("text", "stored"),
    [("refused", "refused"), ("a\0b", "a\ufffdb"), ("\ud800", "\\ud800")],
    ids=["plain", "NUL", "lone surrogate"],
)
def test_an_outcome_that_was_refused_is_replaced_by_one_that_can_be_written(text: str, stored: str) -> None:
    """Whatever PostgreSQL said of the data, the job ends discarded and says why."""
    outcome = without_data(Outcome("completed", JobState.COMPLETED, output="[]"), ValueError(text))
    assert (outcome.event, outcome.state, outcome.output) == ("discarded", JobState.DISCARDED, None)
    assert entry(outcome) == {
        "attempt": 0,
        "type": "ValueError",
        "error": f"a completed outcome was refused: {stored}",
        "trace": None,
        "client": None,
    }
    assert "\\u0000" not in (outcome.error or "")


def test_a_refused_outcome_is_an_entry_as_any_other() -> None:
    """What replaces a refused outcome, however long the refusal, fits the history of errors."""
    outcome = without_data(COMPLETED, ValueError("x" * 100_000))
    assert len(entry(outcome)["error"].encode()) <= MAX_ERROR_BYTES


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: JobSnooze(-1), "-1"),
        (lambda: JobSnooze(math.nan), "nan"),
        (lambda: JobRetry(timedelta(-1)), "0 or longer"),
        (lambda: JobRetry(True), "True"),
        (lambda: JobSnooze(timedelta.max), "at most a hundred years"),
        (lambda: JobRetry(timedelta.max), "at most a hundred years"),
    ],
    ids=["negative snooze", "no number", "negative retry", "truth value", "endless snooze", "endless retry"],
)
def test_a_delay_that_cannot_be_right_is_refused_where_it_is_written(make: Callable[[], object], text: str) -> None:
    """The mistake is seen at the worker's own line."""
    with pytest.raises(ValueError, match="expected") as refusal:
        make()
    assert text in str(refusal.value)
