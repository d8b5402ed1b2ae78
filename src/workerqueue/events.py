"""What happens to jobs, told to whoever listens; and the listener that writes every log line about a job."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

_log = logging.getLogger("workerqueue.jobs")


@dataclass(frozen=True, slots=True)
class RunEvent:
    """Something that happened to one run of a job."""

    type: str
    """`started completed failed snoozed cancelled discarded interrupted stale`."""
    job_id: int
    kind: str
    queue: str
    attempt: int
    max_attempts: int
    duration: timedelta | None = None
    """How long the run took, once it has ended."""
    reason: str | None = None
    """The error in one line."""


Listener = Callable[[RunEvent], None]


class Events:
    """Tells every listener of every event, in order; a listener that raises is logged and does no harm."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = [log_event]

    def add(self, listener: Listener) -> None:
        """Add a listener; it is called on the event loop and must not block."""
        self._listeners.append(listener)

    def is_heard(self, type_: str) -> bool:
        """Tell whether anybody would hear of an event: making one for nobody costs more than most jobs do."""
        return len(self._listeners) > 1 or _log.isEnabledFor(_LEVELS.get(type_, logging.INFO))

    def emit(self, event: RunEvent) -> None:
        """Tell an event."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:  # noqa: BLE001 - whatever a listener does, the job goes on
                _log.exception("a listener failed at an event")


_LEVELS = {"failed": logging.WARNING, "discarded": logging.ERROR, "stale": logging.WARNING}


def log_event(event: RunEvent) -> None:
    """Write an event as a log line, such as `Task completed`, its facts as fields of the record."""
    level = _LEVELS.get(event.type, logging.INFO)
    if not _log.isEnabledFor(level):
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
    _log.log(level, "Task %s", event.type, extra=fields)
