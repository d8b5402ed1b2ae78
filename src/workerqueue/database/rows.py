"""What the statements take and give: rows as they come, and what jobs make of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, TypeVar, cast

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic_core import to_json

from workerqueue.config import PRIORITIES
from workerqueue.job import ERRORS, AttemptError, Job, JobState
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
        )


class KnownInsert(NamedTuple):
    """What was inserted under an insert_id."""

    job: int
    """Its id."""
    at: datetime
    """When it was inserted."""
    stored: StoredJob | None
    """The job as it is now; `None` if its history has ended."""


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


class Rescued(NamedTuple):
    """What became of the clients that were declared dead, and of their jobs."""

    dead: Sequence[str]
    """Their ids."""
    returned: int
    discarded: int
    """Jobs whose last attempt it was."""


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
        """
        extras = self.extras()
        return Job(
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
            attempted_by=extras.attempted_by or [self.client],
            errors=extras.errors or [],
            tags=extras.tags or [],
            metadata=extras.metadata or {},
        )


class Finished(NamedTuple):
    """A run that has ended, and how."""

    job: Claimed
    outcome: Outcome
    seconds: float = 0.0
    """How long it took."""
