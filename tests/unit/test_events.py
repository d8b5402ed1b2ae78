"""What happens to jobs is told to every listener and written to the log."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from workerqueue.events import Event, Events, log_event
from workerqueue.job_context import Context

COMPLETED = Event("completed", 7, "startRun", "runs-1", 2, 3, timedelta(milliseconds=12.5))


def test_every_listener_is_told_in_order() -> None:
    """Listeners hear the same event, in the order they were added."""
    heard: list[tuple[str, Event]] = []
    events = Events()
    events.add(lambda event: heard.append(("first", event)))
    events.add(lambda event: heard.append(("second", event)))
    events.emit(COMPLETED)
    assert heard == [("first", COMPLETED), ("second", COMPLETED)]


def test_a_listener_that_raises_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    """The next listener is told all the same, and the failure is logged with its trace."""
    heard: list[Event] = []

    def broken(event: Event) -> None:
        raise LookupError(event.kind)

    events = Events()
    events.add(broken)
    events.add(heard.append)
    with caplog.at_level(logging.ERROR, "workerqueue.jobs"):
        events.emit(COMPLETED)
        events.emit(COMPLETED)
    assert heard == [COMPLETED, COMPLETED]
    assert [(record.levelname, "LookupError" in (record.exc_text or "")) for record in caplog.records] == [
        ("ERROR", True)
    ] * 2


@pytest.mark.parametrize(
    ("type_", "level"),
    [
        ("started", logging.INFO),
        ("completed", logging.INFO),
        ("snoozed", logging.INFO),
        ("cancelled", logging.INFO),
        ("interrupted", logging.INFO),
        ("failed", logging.WARNING),
        ("stale", logging.WARNING),
        ("discarded", logging.ERROR),
    ],
)
def test_each_event_is_a_log_line_of_its_level(type_: str, level: int, caplog: pytest.LogCaptureFixture) -> None:
    """The line says what happened; what needs a look stands out."""
    with caplog.at_level(logging.DEBUG, "workerqueue.jobs"):
        Events().emit(Event(type_, 7, "startRun", "runs-1", 2, 3))
    assert [(record.name, record.levelno, record.getMessage()) for record in caplog.records] == [
        ("workerqueue.jobs", level, f"Task {type_}")
    ]


@pytest.mark.req("C28")
@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (Event("started", 7, "startRun", "runs-1", 2, 3), {}),
        (COMPLETED, {"duration_ms": 12.5}),
        (Event("completed", 7, "startRun", "runs-1", 2, 3, timedelta()), {"duration_ms": 0.0}),
        (
            Event("failed", 7, "startRun", "runs-1", 2, 3, timedelta(seconds=1.0000014), "ValueError: bad"),
            {"duration_ms": 1000.001, "error": "ValueError: bad"},
        ),
    ],
    ids=["started", "completed", "completed at once", "failed"],
)
def test_the_facts_are_fields_of_the_log_record(
    event: Event, fields: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    """Kind, job id, queue and attempt always; duration and error where there are any."""
    with caplog.at_level(logging.INFO, "workerqueue.jobs"):
        log_event(event)
    plain = set(vars(logging.makeLogRecord({}))) | {"message"}
    (record,) = caplog.records
    assert {key: value for key, value in vars(record).items() if key not in plain} == {
        "task_kind": "startRun",
        "job_id": 7,
        "queue": "runs-1",
        "attempt": 2,
        "max_attempts": 3,
        **fields,
    }


def test_a_line_nobody_wants_is_not_written(caplog: pytest.LogCaptureFixture) -> None:
    """Below the logger's level nothing is made."""
    with caplog.at_level(logging.WARNING, "workerqueue.jobs"):
        log_event(COMPLETED)
    assert caplog.records == []


@pytest.mark.req("B48")
def test_the_context_of_a_job_is_on_its_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    """As fields of the record; what is not set is not there."""
    caplog.set_level(logging.INFO, "workerqueue.jobs")
    log_event(Event("started", 7, "startRun", "runs-1", 2, 3, context=Context(tenant="t1", correlation_id="c-42")))
    fields = vars(caplog.records[0])
    assert (fields["tenant"], fields["correlation_id"]) == ("t1", "c-42")
    assert "user" not in fields
