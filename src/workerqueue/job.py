"""A job as its worker and its readers see it, its states, and the table of legal transitions.

Theory. A job is *live* until its outcome is final. Live jobs wait (`available`, `scheduled`, `retryable`,
`pending`) or run (`running`); only a waiting job that is `available` can be claimed. Each change of state is an
event in `TRANSITIONS`; the database statements make exactly these, and the drawing in `docs/architecture.md` is
generated from this table. The states are River's eight.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from pydantic import JsonValue, TypeAdapter
from pydantic_core import to_json

from workerqueue.errors import StaleRunError
from workerqueue.job_context import NOTHING, Context
from workerqueue.payload import MAX_METADATA_BYTES, MAX_OUTPUT_BYTES, encode_json

A = TypeVar("A", covariant=True)
T = TypeVar("T")


class JobState(StrEnum):
    """Where a job is in its life."""

    AVAILABLE = "available"
    SCHEDULED = "scheduled"
    PENDING = "pending"
    RUNNING = "running"
    RETRYABLE = "retryable"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    DISCARDED = "discarded"

    @property
    def is_final(self) -> bool:
        """Tell whether nothing but an explicit retry moves the job again."""
        return self in FINAL


STATES: Final = {state.value: state for state in JobState}
"""A state by its stored name; calling `JobState` takes ten times as long."""

FINAL: Final = frozenset({JobState.COMPLETED, JobState.CANCELLED, JobState.DISCARDED})
LIVE: Final = frozenset(JobState) - FINAL
WAITING: Final = LIVE - {JobState.RUNNING}


class Transition(NamedTuple):
    """One legal step: what happens, from where (`None`: the job is made) and to where."""

    event: str
    source: JobState | None
    target: JobState


TRANSITIONS: Final = (
    Transition("insert", None, JobState.AVAILABLE),
    Transition("insert for later", None, JobState.SCHEDULED),
    Transition("insert parked", None, JobState.PENDING),
    Transition("release by hand", JobState.PENDING, JobState.AVAILABLE),
    Transition("fall due", JobState.SCHEDULED, JobState.AVAILABLE),
    Transition("fall due", JobState.RETRYABLE, JobState.AVAILABLE),
    Transition("claim", JobState.AVAILABLE, JobState.RUNNING),
    Transition("wait for its turn", JobState.AVAILABLE, JobState.PENDING),
    Transition("have its turn", JobState.PENDING, JobState.AVAILABLE),
    Transition("be handed its turn", JobState.PENDING, JobState.RUNNING),
    Transition("complete", JobState.RUNNING, JobState.COMPLETED),
    Transition("fail", JobState.RUNNING, JobState.RETRYABLE),
    Transition("fail for the last time, discard", JobState.RUNNING, JobState.DISCARDED),
    Transition("cancel", JobState.RUNNING, JobState.CANCELLED),
    Transition("snooze", JobState.RUNNING, JobState.SCHEDULED),
    Transition("snooze for no time", JobState.RUNNING, JobState.AVAILABLE),
    Transition("cut off by a stop", JobState.RUNNING, JobState.AVAILABLE),
    Transition("lose its client", JobState.RUNNING, JobState.AVAILABLE),
    Transition("lose its client for the last time, discard", JobState.RUNNING, JobState.DISCARDED),
)

BY_HAND: Final = (
    *(Transition("cancel by hand", each, JobState.CANCELLED) for each in JobState if each in WAITING),
    *(Transition("complete by hand", each, JobState.COMPLETED) for each in JobState if each in LIVE),
    *(Transition("fail by hand", each, JobState.RETRYABLE) for each in JobState if each in LIVE),
    *(Transition("fail by hand for the last time", each, JobState.DISCARDED) for each in JobState if each in LIVE),
    *(
        Transition("retry by hand", each, JobState.AVAILABLE)
        for each in JobState
        if each in (FINAL | WAITING) - {JobState.AVAILABLE}
    ),
)
"""What `client.jobs` does beside that; one that waits for its turn in a dynamic queue is not retried."""


@dataclass(frozen=True, slots=True)
class AttemptError:
    """How one attempt failed."""

    at: datetime
    attempt: int
    type: str
    """The exception's class, such as `TimeoutError`."""
    error: str
    trace: str | None = None
    client: str | None = None


class Saver(Protocol):
    """The run of a job, which can save what its worker says of it."""

    def save(self, *, progress: str | None = None, checkpoint: str | None = None) -> Awaitable[None]:
        """Save JSON with the job, as long as the run is the job's current one."""
        ...


class _Saved:
    """Something that has been saved already."""

    def __await__(self) -> Generator[object, None, None]:
        return
        yield


SAVED: Final[Awaitable[None]] = _Saved()


# Not frozen: a frozen dataclass of this size takes three times as long to make, and one is made per attempt.
@dataclass(slots=True)
class Job(Generic[A]):
    """One job: everything stored about it, its args as the object their class makes of them."""

    id: int
    kind: str
    args: A
    queue: str
    """The name it waits under: a configured queue, or a dynamic name such as `runs-42`."""
    pool: str
    """The configured queue whose workers run it."""
    state: JobState
    priority: int
    """Smaller runs first."""
    attempt: int
    """How many starts have counted: snoozes and starts cut off by a stop do not."""
    max_attempts: int
    created_at: datetime
    scheduled_at: datetime
    timeout: timedelta
    attempted_at: datetime | None = None
    attempted_by: list[str] = field(default_factory=list[str])
    """The ids of the clients that started it, oldest first."""
    finalized_at: datetime | None = None
    errors: list[AttemptError] = field(default_factory=list[AttemptError])
    tags: list[str] = field(default_factory=list[str])
    metadata: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    output: JsonValue = None
    deadline_at: datetime | None = None
    """When nobody wants it any more, done or not."""
    context: Context = NOTHING
    """On whose behalf it was inserted, and what it belongs to."""
    last_progress: JsonValue = None
    """What its worker said last of how far it is."""
    last_checkpoint: JsonValue = None
    """What an attempt saved for those after it."""
    _saver: Saver | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def is_last_attempt(self) -> bool:
        """Whether the job is discarded if this attempt fails."""
        return self.attempt >= self.max_attempts

    def output_as(self, kind: type[T] | TypeAdapter[T]) -> T:
        """Read the stored output as a type: a model, `list[Model]`, or whatever else Pydantic reads.

        Raises:
            pydantic.ValidationError: If the output is not one.
        """
        return _read_as(kind, self.output)

    def checkpoint_as(self, kind: type[T] | TypeAdapter[T]) -> T | None:
        """Read what an attempt has saved as a type; `None` if none has saved anything.

        Raises:
            pydantic.ValidationError: If what was saved is not one.
        """
        return None if self.last_checkpoint is None else _read_as(kind, self.last_checkpoint)

    def progress(self, value: object) -> Awaitable[None]:
        """Say how far the job is, for whoever looks at it: a number, or anything else that is JSON, at most 64 KiB.

        For the worker that runs it. It is being written from the call on; awaiting it waits until it is. Where several
        wait to be written, the newest is. From a thread or a child process the call returns when it is written.

        Raises:
            ArgsError: If the value can't be stored; the path says where.
            StaleRunError: Awaited, if the run is not the job's current one any more.
        """
        return self._run().save(progress=encode_json(value, "progress", MAX_METADATA_BYTES))

    def checkpoint(self, value: object) -> Awaitable[None]:
        """Save how far the work is for a later attempt, which finds it in `last_checkpoint`; at most 1 MiB of JSON.

        Otherwise as `progress`. It outlives retries, snoozes and crashes; a job that has ended still shows it.

        Raises:
            ArgsError: If the value can't be stored; the path says where.
            StaleRunError: Awaited, if the run is not the job's current one any more.
        """
        return self._run().save(checkpoint=encode_json(value, "checkpoint", MAX_OUTPUT_BYTES))

    def attach(self, saver: Saver | None) -> None:
        """Say by which run the job's worker can save; for whoever runs it."""
        self._saver = saver

    def _run(self) -> Saver:
        if self._saver is None:
            raise StaleRunError(f"job {self.id} is not being run here: progress and checkpoint are for its worker")
        return self._saver


def _read_as(kind: type[T] | TypeAdapter[T], stored: JsonValue) -> T:
    adapter = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
    return adapter.validate_json(to_json(stored))  # from JSON, where a date is text and a tuple a list


class Insertion(Protocol[A]):
    """What was asked for, and can tell what became of it."""

    def to_job(self, job_id: int, at: datetime) -> Job[A]:
        """Make the job from what the database decided: its id, and when it was inserted."""
        ...


class InsertResult(Generic[A]):
    """What an insert made."""

    __slots__ = ("_at", "_duplicate", "_id", "_insertion", "_job")

    def __init__(self, insertion: Insertion[A], job_id: int, at: datetime, duplicate: bool = False) -> None:
        self._insertion = insertion
        self._id = job_id
        self._at = at
        self._duplicate = duplicate
        self._job: Job[A] | None = None

    @property
    def duplicate(self) -> bool:
        """Whether the job was there already."""
        return self._duplicate

    @property
    def job(self) -> Job[A]:
        """The job as it was inserted; made when it is first asked for, since most callers never do."""
        if self._job is None:
            self._job = self._insertion.to_job(self._id, self._at)
        return self._job

    def __repr__(self) -> str:
        return f"InsertResult(job={self.job!r}, duplicate={self.duplicate})"


@dataclass(frozen=True, slots=True)
class ControlResult(Generic[A]):
    """What a controlling call did; it never raises for a job's sake."""

    ok: bool
    state: JobState | None
    """The job's state after the call; `None` if there is no such job."""
    reason: str | None
    """Why it was refused: `not_found`, `not_yours`, or the state that forbids it."""
    job: Job[A] | None


ERRORS: Final = TypeAdapter(list[AttemptError])
"""Reads the stored history of failed attempts."""
