"""What the statements take and give: rows as they come, and what jobs make of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final, NamedTuple, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter
from pydantic_core import to_json

from workerqueue.config import PRIORITIES
from workerqueue.errors import ContextError
from workerqueue.job import ERRORS, AttemptError, Job, JobState
from workerqueue.job_context import NOTHING, Context, read_context
from workerqueue.outcome import Outcome
from workerqueue.payload import read_json

A = TypeVar("A")


class Inserted(NamedTuple):
    """What the database decided about new jobs."""

    ids: Sequence[int]
    """In the order of the input."""
    at: datetime
    """When they were inserted."""


class InsertedOnce(NamedTuple):
    """What the database decided about jobs that may have been there."""

    ids: Sequence[int | None]
    """In the order of the input; `None` for a job whose insert_id was known."""
    at: datetime
    """When the others were inserted."""


class Happened(NamedTuple):
    """What happened to one job."""

    type: str
    """As events call it."""
    job: int
    """Its id."""
    kind: str


class StoredJob(NamedTuple):
    """A row of a job table with its JSON still text: it is decoded job by job, so that a bad row fails alone."""

    id: int
    kind: str
    args: str
    queue: str
    pool: str
    state: str
    priority: int
    attempt: int
    max_attempts: int
    timeout: timedelta
    created_at: datetime
    scheduled_at: datetime
    attempted_at: datetime | None
    attempted_by: list[str] | None
    finalized_at: datetime | None
    errors: str | None
    tags: list[str] | None
    metadata: str | None
    output: str | None
    context: str | None
    progress: str | None
    checkpoint: str | None
    deadline_at: datetime | None

    def __repr__(self) -> str:
        return f"StoredJob(id={self.id}, kind={self.kind!r}, state={self.state!r})"  # what else it holds may be secret

    def to_job(self, args: A) -> Job[A]:
        """Make the job as its worker and its readers see it."""
        return Job(
            id=self.id,
            kind=self.kind,
            args=args,
            queue=self.queue,
            pool=self.pool,
            state=JobState(self.state),
            priority=self.priority,
            attempt=self.attempt,
            max_attempts=self.max_attempts,
            created_at=self.created_at,
            scheduled_at=self.scheduled_at,
            timeout=self.timeout,
            attempted_at=self.attempted_at,
            attempted_by=self.attempted_by or [],
            finalized_at=self.finalized_at,
            errors=ERRORS.validate_json(self.errors) if self.errors else [],
            tags=self.tags or [],
            metadata=cast("dict[str, JsonValue]", read_json(self.metadata)) if self.metadata else {},
            output=read_json(self.output),
            deadline_at=self.deadline_at,
            context=NOTHING if self.context is None else _readable_context(self.context),
            last_progress=read_json(self.progress),
            last_checkpoint=read_json(self.checkpoint),
        )


def _readable_context(stored: str) -> Context:
    """Read a context; a reader must be able to look at a job whose context is none."""
    try:
        return read_context(cast("dict[str, object]", read_json(stored)))
    except ContextError:
        return NOTHING


class KnownInsert(NamedTuple):
    """What was inserted under an insert_id."""

    job: int
    """Its id."""
    at: datetime
    """When it was inserted."""
    stored: StoredJob | None
    """The job as it is now; `None` if its history has ended."""


class KeyHolder(NamedTuple):
    """What has a key."""

    job: int | None
    """Its id; `None` if no job has had the key."""
    is_kept: bool
    """Whether the key counts though its job has ended."""
    stored: StoredJob | None
    """The job as it is now; `None` if its history has ended."""
    at: datetime
    """When it was looked at."""


class ClientRow(NamedTuple):
    """What others may know of a client that works."""

    id: str
    host: str
    pid: int
    pools: Sequence[str]
    kinds: Sequence[str]


class WorkingClient(NamedTuple):
    """A client that works, as others see it."""

    id: str
    started_at: datetime
    heartbeat_at: datetime
    """When it last said that it is alive."""
    queues: list[str]
    """The configured queues that it works."""
    kinds: list[str]
    running: int
    """How many jobs it runs."""


class Beat(NamedTuple):
    """What a heartbeat hears back."""

    alive: bool
    """Whether the client still counts as alive; if not, its jobs are others'."""
    overdue: bool
    """Whether another client has not beaten for too long."""
    late: bool
    """Whether its own last beat is so long ago that others may have been kept from theirs as well."""
    said_of_queues: str
    """Another text whenever something was said of queues at run time."""
    asked_to_stop: Collection[int]
    """The ids of those of its runs that were asked to."""
    is_heard: bool
    """Whether anybody has subscribed to events."""


class Rescued(NamedTuple):
    """What became of the clients that were declared dead, and of their jobs."""

    dead: Sequence[str]
    """Their ids."""
    returned: int
    discarded: int
    """Jobs whose last attempt it was."""
    turns: Sequence[str]
    """Dynamic queues in which somebody must see to the next job."""
    happened: Sequence[Happened] = ()
    """The same job by job."""


class Promotion(NamedTuple):
    """What came of a look at what falls due."""

    promoted: int
    """How many jobs were made available."""
    next_due: float | None
    """In how many seconds the next one falls due, if any waits."""
    has_turns: bool
    """Whether any dynamic queue runs a job, or should."""


class Mark(NamedTuple):
    """A place in the order in which a pool's jobs run."""

    priority: int
    scheduled_at: datetime
    id: int


NO_MARK: Final = Mark(PRIORITIES.start, datetime.min.replace(tzinfo=UTC), 0)
"""The place before every job."""


class Walked(NamedTuple):
    """What a look at some pools has walked over."""

    until: datetime
    """It saw what was due before this moment, except for what was committed late."""
    places: Sequence[tuple[str, int, int]]
    """Pool, priority, and how many entries lie there before that moment; not exact where they are many."""


class Extras(BaseModel):
    """What most claimed jobs have none of."""

    model_config = ConfigDict(hide_input_in_errors=True)

    attempted_by: list[str] | None = None
    errors: list[AttemptError] | None = None
    tags: list[str] | None = None
    metadata: dict[str, JsonValue] | None = None
    retry: JsonValue = None
    context: dict[str, JsonValue] | None = None
    progress: JsonValue = None
    checkpoint: JsonValue = None
    deadline_at: datetime | None = None

    def add_to(self, job: Job[object]) -> None:
        """Put them into a job.

        Raises:
            ContextError: If the context is none.
        """
        job.attempted_by = self.attempted_by or job.attempted_by
        job.errors = self.errors or []
        job.tags = self.tags or []
        job.metadata = self.metadata or {}
        job.context = read_context(self.context)
        job.deadline_at = self.deadline_at
        job.last_progress = self.progress
        job.last_checkpoint = self.checkpoint


_NO_EXTRAS: Final = Extras()


class Claimed(NamedTuple):
    """A claimed job, its JSON still text: it is decoded job by job, so that a bad row fails alone."""

    id: int
    kind: str
    args: str
    queue: str | None
    """The dynamic one, if it waits in one."""
    pool: str
    priority: int
    attempt: int
    max_attempts: int
    timeout_seconds: float
    created_at: datetime
    scheduled_at: datetime
    attempted_at: datetime
    rest: str | None
    """Its `Extras`, if it has any."""
    client: str
    lease: int

    @classmethod
    def from_json(cls, runs: str | None, client: str, lease: int) -> list[Self]:
        """Read what a statement gives as a JSON array of arrays, or as nothing."""
        return [cls(*row, client, lease) for row in _RUNS.validate_json(runs)] if runs else []

    def __repr__(self) -> str:
        return f"Claimed(id={self.id}, kind={self.kind!r})"  # what else it holds may be secret

    def extras(self) -> Extras:
        """Read what most jobs have none of.

        Raises:
            ValueError: If it can't be read, as plain SQL can store it.
        """
        return _NO_EXTRAS if self.rest is None else Extras.model_validate_json(self.rest)

    def policy(self) -> str | None:
        """Give the job's own retry policy as it is stored; one that can't be read is none."""
        try:
            retry = self.extras().retry
        except ValueError:
            return None
        return None if retry is None else to_json(retry).decode()

    def to_job(self, args: A) -> Job[A]:
        """Make the job as its worker sees it.

        Raises:
            ValueError: If what is stored beside its args can't be read.
            ContextError: If its context is not one.
        """
        job = Job(
            id=self.id,
            kind=self.kind,
            args=args,
            queue=self.queue or self.pool,
            pool=self.pool,
            state=JobState.RUNNING,
            priority=self.priority,
            attempt=self.attempt,
            max_attempts=self.max_attempts,
            created_at=self.created_at,
            scheduled_at=self.scheduled_at,
            timeout=timedelta(seconds=self.timeout_seconds),
            attempted_at=self.attempted_at,
            attempted_by=[self.client],
            errors=[],  # given, since the defaults of lists are made by a call
            tags=[],
            metadata={},
        )
        if self.rest is not None:  # seldom: each field that is given costs every job
            self.extras().add_to(job)
        return job


_RUNS: Final = TypeAdapter(
    list[tuple[int, str, str, str | None, str, int, int, int, float, datetime, datetime, datetime, str | None]]
)


@dataclass(frozen=True)
class Claimant:
    """Who claims, and what of."""

    client: str
    """Its id."""
    number: int
    """The number that it registered under."""
    pools: Sequence[str]
    kinds: Sequence[str]
    limits: Mapping[str, int] = field(default_factory=dict[str, int])
    """How many jobs of a kind may run at once in one dynamic queue, where that is not one."""
    strict: Collection[str] = ()
    """Kinds whose dynamic queues are held up by a job that will be tried again."""
    plain_pools: Sequence[str] = ()
    """The pools that no rule counts the jobs of: the next job of a dynamic queue may be run there at once."""
    plain_kinds: Sequence[str] = ()

    is_counted: bool = False
    """Whether limits count what it claims."""

    @cached_property
    def parameters(self) -> tuple[object, ...]:
        """What claims read."""
        limits = [self.limits.get(kind, 1) for kind in self.kinds]
        strict = [kind in self.strict for kind in self.kinds]
        return self.number, list(self.kinds), limits, strict, list(self.pools), self.is_counted or None


class Claim(NamedTuple):
    """What a claim took."""

    jobs: list[Claimed]
    aside: Mapping[str, int]
    """By pool, how many more were ready, and wait for their turn in a dynamic queue now."""
    turns: Collection[str]
    """Dynamic queues in strict order, in which somebody must see to the next job."""


class Choice(NamedTuple):
    """What rules let be claimed of a pool now."""

    ids: Sequence[int]
    is_more: bool
    """Whether more waits than was chosen; none says that the pool is paused."""
    free_in: float | None
    """In how many seconds a rate lets something start that it holds back now."""
    after: str | None
    """The lane behind which the next choice begins."""


class Room(NamedTuple):
    """How many jobs a pool may be given."""

    pool: str
    jobs: int
    free_in: float | None
    """In how many seconds its rate leaves room again, if that has none."""
    is_waited_for: bool
    """Whether there is none, and jobs wait for it."""


class QueueChange(NamedTuple):
    """What was said of a queue at run time; `None` leaves it as it is configured."""

    name: str
    paused_at: datetime | None
    max_workers: int | None
    global_limit: int | None
    rate_starts: int | None
    rate_seconds: float | None
    burst: int | None
    is_added: bool
    """Whether it is a queue that nobody's configuration has."""
    changed_at: datetime


class Controlled(NamedTuple):
    """What a call by hand met, and whether it did what it was to do."""

    id: int
    ok: bool
    state: str
    """The job's state before."""
    queue: str | None
    """A dynamic queue in which it may be another one's turn now."""


class JobFilter(NamedTuple):
    """Which jobs to list; `None` asks for no such thing."""

    states: Sequence[str] | None = None
    kinds: Sequence[str] | None = None
    queues: Sequence[str] | None = None
    """By the name they wait under."""
    pools: Sequence[str] | None = None
    tags: Sequence[str] | None = None
    """Any of these."""
    ids: Sequence[int] | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    tenant: str | None = None


class StoredSchedule(NamedTuple):
    """A schedule as it is stored."""

    name: str
    definition: str
    """JSON."""
    next_at: datetime | None
    last_at: datetime | None
    paused_at: datetime | None
    last_error: str | None
    now: datetime
    """When it was read."""

    def __repr__(self) -> str:
        return f"StoredSchedule(name={self.name!r}, next_at={self.next_at})"  # what else it holds may be secret


class Taken(NamedTuple):
    """What came of taking a lease."""

    place: int | None
    """Which one; `None` if none was taken."""
    fence: int | None
    all_held: bool
    """Whether all are held; if not, another was quicker."""


class Counted(NamedTuple):
    """How many jobs of a queue are in one state."""

    pool: str
    state: str
    jobs: int


class Removal(NamedTuple):
    """What came of removing a queue."""

    removed: bool
    jobs: int
    """How many live jobs it has: none, if it was removed."""


class Recorded(NamedTuple):
    """What came of the ends of runs of dynamic queues."""

    accepted: set[int]
    """The ids of runs whose lease was still good."""
    runs: list[Claimed]
    """The next ones, which are this client's."""
    turns: Sequence[str]
    """Dynamic queues in which somebody must see to the next job."""


class HandedOver(NamedTuple):
    """What came of a look at dynamic queues whose jobs have ended."""

    runs: list[Claimed]
    """The next ones, which are this client's."""
    again: Sequence[str]
    """Queues that must be looked at once more."""


class Finished(NamedTuple):
    """A run that has ended, and how."""

    job: Claimed
    outcome: Outcome
    seconds: float = 0.0
    """How long it took."""
