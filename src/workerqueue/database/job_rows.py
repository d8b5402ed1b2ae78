"""Jobs as the statements give and take them: stored, claimed and finished, their JSON still text."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, NamedTuple, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter
from pydantic_core import to_json

from workerqueue.errors import ContextError
from workerqueue.job import ERRORS, AttemptError, Job, JobState
from workerqueue.job_context import NOTHING, Context, read_context
from workerqueue.outcome import Outcome
from workerqueue.payload import read_json

A = TypeVar("A")


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


class Finished(NamedTuple):
    """A run that has ended, and how."""

    job: Claimed
    outcome: Outcome
    seconds: float = 0.0
    """How long it took."""
