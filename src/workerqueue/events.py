"""What happens to jobs and queues, told to whoever listens; and the listener that writes every log line about a job."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final

from workerqueue.job import Job
from workerqueue.job_context import NOTHING, Context
from workerqueue.options import Payload

_log = logging.getLogger("workerqueue.jobs")

TYPES: Final = (
    "inserted",
    "started",
    "completed",
    "failed",
    "snoozed",
    "cancelled",
    "discarded",
    "rescued",
    "stale",
    "interrupted",
    "queue_paused",
    "queue_resumed",
)
"""What can happen: to a job, or to a queue. A run is `interrupted` when a stop cuts it off, and `stale` when what
came of it is not taken any more."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a job, or to a queue."""

    type: str
    """One of `TYPES`."""
    job_id: int | None
    kind: str
    queue: str
    attempt: int = 0
    max_attempts: int = 0
    duration: timedelta | None = None
    """How long the run took, once it has ended."""
    reason: str | None = None
    """The error in one line."""
    context: Context = NOTHING
    at: datetime = field(default_factory=lambda: datetime.now(UTC), compare=False)
    """When, by the clock of whoever told it; from elsewhere, by the database's."""
    missed: int = 0
    """How many events before this one were lost, as nobody took them."""
    read: Callable[[], Job[Payload] | None] | None = field(default=None, repr=False, compare=False)
    """Gives the job: making one for nobody would cost more than most jobs do."""

    @classmethod
    def of_job(cls, type_: str, job: Job[Payload], reason: str | None = None) -> Event:
        """Make the event of something that happened to a job, as it is now."""
        return cls(
            type_,
            job.id,
            job.kind,
            job.queue,
            job.attempt,
            job.max_attempts,
            reason=reason,
            context=job.context,
            read=lambda: job,
        )

    @cached_property
    def job(self) -> Job[Payload] | None:
        """The job as it then was; from elsewhere, as it is now. `None` for a queue, or if its history has ended."""
        return None if self.read is None else self.read()


Listener = Callable[[Event], None]


class Events:
    """Tells every listener of every event, in order; a listener that raises is logged and does no harm."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = [log_event]

    def add(self, listener: Listener) -> None:
        """Add a listener; it is called on the event loop and must not block."""
        self._listeners.append(listener)

    def remove(self, listener: Listener) -> None:
        """Take a listener away."""
        self._listeners.remove(listener)

    def is_heard(self, type_: str) -> bool:
        """Tell whether anybody would hear of an event: making one for nobody costs more than most jobs do."""
        return len(self._listeners) > 1 or _log.isEnabledFor(_LEVELS.get(type_, logging.INFO))

    def emit(self, event: Event) -> None:
        """Tell an event."""
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:  # noqa: BLE001 - whatever a listener does, the job goes on
                _log.exception("a listener failed at an event")


_LEVELS: Final = {
    "inserted": logging.DEBUG,
    "failed": logging.WARNING,
    "rescued": logging.WARNING,
    "discarded": logging.ERROR,
    "stale": logging.WARNING,
}


def log_event(event: Event) -> None:
    """Write an event as a log line, such as `Task completed`, its facts as fields of the record."""
    level = _LEVELS.get(event.type, logging.INFO)
    if not _log.isEnabledFor(level):
        return
    if event.job_id is None:
        _log.log(level, "Queue %s", event.type.removeprefix("queue_"), extra={"queue": event.queue})
        return
    fields: dict[str, object] = {
        "task_kind": event.kind,
        "job_id": event.job_id,
        "queue": event.queue,
        "attempt": event.attempt,
        "max_attempts": event.max_attempts,
    }
    if event.duration is not None:
        fields["duration_ms"] = round(event.duration.total_seconds() * 1000, 3)
    if event.reason is not None:
        fields["error"] = event.reason
    _log.log(level, "Task %s", event.type, extra=fields | event.context.said)
