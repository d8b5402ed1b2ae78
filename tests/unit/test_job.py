"""A job's states and the table of its legal transitions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel, JsonValue, ValidationError

from workerqueue import AttemptError, InsertResult, Job, JobState
from workerqueue.job import ERRORS, FINAL, LIVE, TRANSITIONS, Transition

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Invoice(BaseModel):
    total: int


def job_with(output: JsonValue) -> Job[dict[str, int]]:
    """A job that has completed with this output."""
    return Job(
        id=1,
        kind="bill",
        args={},
        queue="default",
        pool="default",
        state=JobState.COMPLETED,
        priority=1,
        attempt=1,
        max_attempts=3,
        created_at=NOW,
        scheduled_at=NOW,
        timeout=timedelta(seconds=60),
        output=output,
    )


def test_the_states_are_rivers_eight() -> None:
    """The states are texts, with River's names."""
    assert [str(state) for state in JobState] == [
        "available",
        "scheduled",
        "pending",
        "running",
        "retryable",
        "completed",
        "cancelled",
        "discarded",
    ]


def test_three_states_are_final() -> None:
    """A state is final or live, and says so."""
    final = {JobState.COMPLETED, JobState.CANCELLED, JobState.DISCARDED}
    assert {state for state in JobState if state.is_final} == final == FINAL
    assert set(JobState) - final == LIVE


def test_every_state_that_a_job_can_enter_now_can_be_reached_from_its_insert() -> None:
    """Following the table from the making of a job, one comes to every state."""
    reached: set[JobState | None] = {None}
    for _ in JobState:
        reached |= {step.target for step in TRANSITIONS if step.source in reached}
    assert reached - {None} == set(JobState)


def test_every_transition_joins_states_that_exist() -> None:
    """The table holds states, not texts that look like them, and no step twice."""
    assert {type(step.target) for step in TRANSITIONS} == {JobState}
    assert {type(step.source) for step in TRANSITIONS} == {JobState, type(None)}
    assert {type(step) for step in TRANSITIONS} == {Transition}
    assert len({(step.event, step.source, step.target) for step in TRANSITIONS}) == len(TRANSITIONS)


def test_a_job_is_made_waiting_and_ends_where_nothing_leads_on() -> None:
    """No job is inserted running or final; only `available` is claimed; what is final stays so."""
    made = {step.target for step in TRANSITIONS if step.source is None}
    assert made == {JobState.AVAILABLE, JobState.SCHEDULED, JobState.PENDING}
    assert {step.source for step in TRANSITIONS if step.target is JobState.RUNNING} == {
        JobState.AVAILABLE,
        JobState.PENDING,
    }
    assert {step.source for step in TRANSITIONS} & FINAL == set()


def test_every_live_state_has_a_way_out() -> None:
    """No job can be stuck in a state that is not final."""
    assert {step.source for step in TRANSITIONS} - {None} == LIVE


def test_an_output_is_read_as_a_model() -> None:
    """`output` is the stored JSON, `output_as` its typed form."""
    job = job_with({"total": 5})
    assert (job.output, job.output_as(Invoice)) == ({"total": 5}, Invoice(total=5))


@pytest.mark.parametrize("output", [None, {"total": "many"}, [1]], ids=["none", "wrong value", "wrong shape"])
def test_an_output_that_is_no_such_model_is_refused(output: JsonValue) -> None:
    """Reading an output as what it is not raises Pydantic's error."""
    with pytest.raises(ValidationError):
        job_with(output).output_as(Invoice)


def test_two_jobs_share_no_lists() -> None:
    """What is appended to one job's history is not in another's."""
    one, other = job_with(None), job_with(None)
    one.errors.append(AttemptError(NOW, 1, "ValueError", "x"))
    one.tags.append("a")
    one.metadata["a"] = 1
    one.attempted_by.append("c")
    assert (other.errors, other.tags, other.metadata, other.attempted_by) == ([], [], {}, [])


def test_an_insert_result_is_frozen_and_new_by_default() -> None:
    """A result says whether the job was there already; it makes its job once, and nothing of it can be set."""

    class Asked:
        def to_job(self, job_id: int, at: datetime) -> Job[dict[str, int]]:
            del job_id, at
            return job_with(None)

    result: Any = InsertResult(Asked(), 1, NOW)
    assert (result.duplicate, result.job is result.job) == (False, True)
    for name in ("duplicate", "job"):
        with pytest.raises(AttributeError):
            setattr(result, name, None)


def test_the_stored_history_is_read_as_attempt_errors() -> None:
    """Each entry has its time, attempt, type, text, trace and client; trace and client may be missing."""
    stored = (
        '[{"at": "2026-01-02T00:00:00Z", "attempt": 1, "type": "ValueError", "error": "x",'
        ' "trace": "t", "client": "c"},'
        ' {"at": "2026-01-02T00:00:00+00:00", "attempt": 2, "type": "TimeoutError", "error": ""}]'
    )
    assert ERRORS.validate_json(stored) == [
        AttemptError(NOW, 1, "ValueError", "x", "t", "c"),
        AttemptError(NOW, 2, "TimeoutError", "", None, None),
    ]
