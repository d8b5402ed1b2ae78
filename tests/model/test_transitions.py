"""The pure machine keeps to the table of transitions, all of it and nothing else."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from tests.model.machine import (
    ByHand,
    Claim,
    End,
    Event,
    FallDue,
    HaveTurn,
    Lose,
    New,
    PutBack,
    Refusal,
    Release,
    Row,
    SetAside,
    insert,
    step,
)
from workerqueue.job import BY_HAND, FINAL, TRANSITIONS, JobState

LEASE = 7
EVENTS: list[Event] = [
    Claim(8, 2),
    SetAside(),
    HaveTurn(),
    End(LEASE, "complete"),
    End(LEASE, "fail", 60.0, "ValueError"),
    End(LEASE, "discard", error="JobDiscard"),
    End(LEASE, "cancel", error="JobCancel"),
    End(LEASE, "snooze", 60.0),
    End(LEASE, "snooze"),
    End(LEASE, "interrupt"),
    PutBack(LEASE),
    Lose(LEASE),
    FallDue(),
    Release(),
    ByHand("cancel"),
    ByHand("complete"),
    ByHand("fail", 60.0),
    ByHand("retry"),
]


def rows(state: JobState) -> list[Row]:
    """Give a job in a state: with attempts left and on its last one; a pending one parked, or waiting for its turn."""
    running = state is JobState.RUNNING
    row = Row(New("a"), state, due=0.0, attempt=1, lease=LEASE if running else None, client=1)
    pending = [replace(row, waits=True)] if state is JobState.PENDING else []
    return [row, replace(row, attempt=3), *pending]


def test_every_transition_of_the_table_is_made_and_no_other() -> None:
    """From every state, by every event, with attempts left and without."""
    made: set[tuple[JobState | None, JobState]] = {(row.state, after.state) for row, _, after in moves()}
    made |= {(None, insert(new, 0.0).state) for new in (New("a"), New("a", delay=1.0), New("a", parked=True))}
    assert made == {(transition.source, transition.target) for transition in (*TRANSITIONS, *BY_HAND)}


def test_an_event_leads_to_one_state() -> None:
    """The table is a function of event and state."""
    every = (*TRANSITIONS, *BY_HAND)
    assert len({transition[:2] for transition in every}) == len(every)


@pytest.mark.parametrize("state", FINAL)
def test_nothing_moves_a_final_job(state: JobState) -> None:
    """Whatever happens, and whatever lease it comes with; but for a retry by hand."""
    moved = [event for row in rows(state) for event in EVENTS if not isinstance(step(row, event, 1.0), Refusal)]
    assert moved == [ByHand("retry")] * len(rows(state))


def test_a_running_job_has_a_lease_and_no_other_has() -> None:
    """Whatever moved it."""
    assert all((after.lease is not None) == (after.state is JobState.RUNNING) for _, _, after in moves())


def test_what_comes_with_another_lease_is_stale() -> None:
    """Every event of a run is refused, also after the job was claimed anew."""
    anew = replace(rows(JobState.RUNNING)[0], lease=LEASE + 1)
    of_runs = [event for event in EVENTS if isinstance(event, End | PutBack | Lose)]
    assert {step(anew, event, 1.0) for event in of_runs} == {Refusal.STALE}


def test_attempts_count_what_the_table_says() -> None:
    """A claim adds one, and a failure by hand of what does not run; a snooze, a stop, a lost answer take it back."""
    changes = {
        (type(event).__name__, getattr(event, "how", "")): after.attempt - row.attempt
        for row, event, after in moves()
        if not (isinstance(event, ByHand) and row.state is JobState.RUNNING)
    }
    taken_back = {("End", "snooze"), ("End", "interrupt"), ("PutBack", "")}
    assert {key for key, change in changes.items() if change == -1} == taken_back
    assert {key for key, change in changes.items() if change == 1} == {("Claim", ""), ("ByHand", "fail")}


def test_what_waits_for_its_turn_is_not_what_was_parked() -> None:
    """A turn moves the one, a release by hand the other; nothing else moves either, and no job waits anywhere else."""
    by_event = {(row.waits, type(event)) for row, event, _ in moves() if row.state is JobState.PENDING}
    assert by_event == {(False, Release), (True, Claim), (True, HaveTurn), (False, ByHand), (True, ByHand)}
    assert {row.waits for row, event, _ in moves() if event == ByHand("retry")} == {False}
    assert all(after.waits == isinstance(event, SetAside) for _, event, after in moves())


def test_what_is_not_due_waits() -> None:
    """A scheduled job moves at its time and not before."""
    row = replace(rows(JobState.SCHEDULED)[0], due=5.0)
    assert step(row, FallDue(), 4.9) is Refusal.EARLY
    assert isinstance(step(row, FallDue(), 5.0), Row)


def moves() -> list[tuple[Row, Event, Row]]:
    """Give every step that is not refused."""
    all_rows = itertools.chain.from_iterable(rows(state) for state in JobState)
    steps = [(row, event, step(row, event, 1.0)) for row, event in itertools.product(all_rows, EVENTS)]
    return [(row, event, after) for row, event, after in steps if isinstance(after, Row)]
