"""Low-water marks by themselves: against a model of the table, on a clock that only the test moves."""

from __future__ import annotations

import random
from bisect import insort
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from workerqueue.database import Claimed, Mark, Walked
from workerqueue.engine import marks as module
from workerqueue.engine.marks import LAG, MAX_MARKS, SHARE, Marks

INTERVAL = 1.0
ROUND_TRIP = 0.000_5
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
SEEDS = range(10)


def draws(seed: int) -> random.Random:
    """Give a source of draws that is the same in each run."""
    return random.Random(seed)  # noqa: S311 - draws for a model, no secrets


@dataclass
class Row:
    """A job in the model: those of kinds that are not worked here stay for ever."""

    place: Mark
    committed: float
    is_known: bool = True
    claimed: float | None = None


class Table:
    """A pool's ready jobs, as a claim sees them; time passes only here."""

    def __init__(self, step: float = 0.000_000_3) -> None:
        self.now = 1000.0
        self.step = step
        """Seconds that walking over one entry takes."""
        self.rows: list[Row] = []
        """Those that are ready, in the order they run."""
        self.claimed: list[Row] = []
        self._ids = count(1)

    def at(self, seconds: float) -> datetime:
        """Give the database's time of a moment."""
        return EPOCH + timedelta(seconds=seconds)

    def insert(self, priority: int = 1, *, due: float = 0.0, commits: float = 0.0, is_known: bool = True) -> Row:
        """Insert a job that is due so many seconds from now, and becomes visible so many seconds from now."""
        place = Mark(priority, self.at(self.now + due), next(self._ids))
        row = Row(place, self.now + commits, is_known)
        insort(self.rows, row, key=lambda row: row.place)
        return row

    def left(self, began: float) -> list[Row]:
        """Give the known jobs that a look could have seen and has not claimed."""
        return [row for row in self.rows if row.is_known and row.committed <= began]

    def claim(self, wanted: int, marks: Sequence[Mark]) -> list[Claimed]:
        """Claim as the statement does, and take as long as it walks."""
        began = self.now
        behind = {mark.priority: mark for mark in marks}
        claimed: list[Claimed] = []
        for row in list(self.rows):
            if row.committed > began or row.place <= behind.get(row.place.priority, row.place._replace(id=0)):
                continue
            self.now += self.step
            if row.is_known:
                row.claimed = began
                self.claimed.append(row)
                claimed.append(job(*row.place, at=self.at(began)))
                if len(claimed) == wanted:
                    break
        self.rows = [row for row in self.rows if row.claimed is None]
        self.now += ROUND_TRIP
        return claimed

    def walked(self, seen_ago: float) -> Walked:
        """Answer as the statement does that finds marks."""
        until = self.at(self.now - seen_ago)
        passed = Counter(row.place.priority for row in self.rows if row.committed <= self.now)
        self.now += ROUND_TRIP
        return Walked(until, [("p", priority, jobs) for priority, jobs in passed.items() if jobs > 9])


def job(priority: int, scheduled_at: datetime, id: int, *, at: datetime) -> Claimed:  # noqa: A002 - as the job has it
    """Give a job as a claim gives it."""
    return Claimed(id, "k", "{}", "p", "p", priority, 1, 3, 60.0, at, scheduled_at, at, None, "c", 1)


class Looker:
    """Looks as the producer does, and keeps how long each look took and what it skipped."""

    def __init__(self, table: Table, interval: float = INTERVAL) -> None:
        self.table = table
        self.marks = Marks(interval)
        self.took: list[float] = []
        self.longest = 0.0

    def look(self, wanted: int = 100) -> list[Claimed]:
        """Take one look at the pool."""
        began = self.table.now
        claimed = self.table.claim(wanted, self.marks.current().get("p", ()))
        self.took.append(self.table.now - began)
        self.longest = max(self.longest, self.took[-1])
        if self.marks.note({"p": wanted}, {"p": claimed}, began):
            asked = self.table.now
            self.marks.found(self.table.walked(self.marks.seen_ago()), asked)
        return claimed


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Table:
    """A model whose clock is the marks' clock."""
    made = Table()
    monkeypatch.setattr(module, "monotonic", lambda: made.now)
    return made


def shape(marks: Mapping[str, Sequence[Mark]]) -> list[int]:
    """The priorities at which there are marks."""
    return [mark.priority for mark in marks.get("p", ())]


# What must never happen


@pytest.mark.parametrize("seed", SEEDS)
def test_a_job_committed_within_the_lag_is_never_passed_over(table: Table, seed: int) -> None:
    """Whatever was claimed, found or left before: a look that gets less than it wants leaves no such job."""
    chance = draws(seed)
    table.step = chance.choice([0.000_000_3, 0.000_1, 0.002])
    looker = Looker(table)
    for _ in range(300):
        for _ in range(chance.choice([0, 0, 1, 3, 20])):
            commits = chance.uniform(0, 0.9 * LAG.total_seconds())
            table.insert(chance.randint(-3, 3), commits=commits, is_known=chance.random() < 0.7)
        if chance.random() < 0.1:
            looker.marks.ask()
        if chance.random() < 0.02:
            looker.marks.clear()
        began, wanted = table.now, chance.choice([1, 5, 100])
        if len(looker.look(wanted)) < wanted:
            assert table.left(began) == []
        table.now += chance.choice([0.0, 0.001, 0.1, 0.5, 3.0])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_job_that_appears_before_a_mark_waits_for_the_next_round_at_most(table: Table, seed: int) -> None:
    """However late it was committed, it is claimed an interval later, or where looks take long, in their share."""
    chance = draws(seed)
    table.step = chance.choice([0.000_000_3, 0.000_1])
    looker = Looker(table)
    for _ in range(400):
        for _ in range(chance.choice([0, 1, 2])):
            known = chance.random() < 0.5
            table.insert(chance.randint(-3, 3), due=-chance.uniform(0, 60), commits=chance.random(), is_known=known)
        looker.look()
        table.now += chance.uniform(0, 0.3)
    patience = INTERVAL + SHARE * looker.longest + 0.4
    waited = [row.claimed - row.committed for row in table.claimed if row.claimed is not None]
    assert max(waited) < patience
    assert table.left(table.now - patience) == []


def test_a_look_that_got_all_it_wanted_marks_nothing_that_it_did_not_see(table: Table) -> None:
    """What is less urgent than its last job keeps its marks, and gets none."""
    looker = Looker(table)
    for priority in (0, 5, 5, 5, 9):
        table.insert(priority, due=-60)
    assert [claimed.priority for claimed in looker.look(2)] == [0, 5]
    assert shape(looker.marks.current()) == [0, 5]
    assert [claimed.priority for claimed in looker.look()] == [5, 5, 9]
    assert shape(looker.marks.current()) == [0, 5, 9]


def test_what_was_found_counts_only_as_far_as_the_look_came(table: Table) -> None:
    """The database names every priority there is; the look may have ended before."""
    table.step = 0.01
    looker = Looker(table)
    for priority in (0, 3, 7):
        for _ in range(20):
            table.insert(priority, due=-60, is_known=False)
    table.insert(3, due=-30)
    assert len(looker.look(1)) == 1
    assert shape(looker.marks.current()) == [0, 3]


# What they are for


def test_jobs_of_other_kinds_are_walked_once_whatever_their_priorities(table: Table) -> None:
    """They lie before, between and behind the known ones, and cost the next claims nothing."""
    table.step = 0.001
    looker = Looker(table)
    for n in range(1000):
        table.insert(n % 4, due=-60, is_known=False)
    looker.look()
    for priority in (-1, 2, 9):
        table.insert(priority)
    assert [claimed.priority for claimed in looker.look()] == [-1, 2, 9]
    first, second = looker.took
    assert first > 1000 * table.step > 100 * second


def test_marks_move_with_every_look_that_comes_by(table: Table) -> None:
    """Jobs of other kinds that came later are passed over when the lag has passed, and nothing is asked for it."""
    looker = Looker(table)
    for priority in (1, 2):
        table.insert(priority)
    looker.look()
    others = [table.insert(1, is_known=False) for _ in range(100)]
    table.now += 2 * LAG.total_seconds()
    table.insert(2)
    assert len(looker.look()) == 1
    assert looker.marks.current()["p"][0] > others[-1].place


@pytest.mark.parametrize("hints", [0.0, 40.0], ids=["an idle client", "a flood of hints"])
@pytest.mark.parametrize("known", [False, True], ids=["nothing to do", "known jobs come"])
def test_looking_before_marks_takes_its_share_of_the_time_and_no_more(table: Table, hints: float, known: bool) -> None:
    """A million jobs of other kinds take a third of a second to walk: not more often than every seven seconds."""
    table.step = 0.003  # a hundred stand for them
    looker = Looker(table)
    for n in range(100):
        table.insert(n % 3, due=-60, is_known=False)
    looker.look()
    began, looks = table.now, len(looker.took)
    while table.now < began + 60:
        if known:
            table.insert(1)
        if hints:
            table.now += 1 / hints
            looker.marks.ask()  # as if none of them were ever answered
        else:
            table.now += INTERVAL
            looker.marks.ask()
        assert len(looker.look()) == known
    walks = [took for took in looker.took[looks:] if took > 0.1]
    assert len(walks) >= 4
    assert sum(walks[1:]) <= 60 / SHARE
    assert max(took for took in looker.took[looks:] if took <= 0.1) < 0.01


# Rounds


def test_marks_hold_until_the_interval_has_passed_and_then_until_they_are_looked_before(table: Table) -> None:
    """A round ends each mark; a look that comes by lets it hold again, and one that does not come so far does not."""
    looker = Looker(table)
    for priority in (0, 5):
        table.insert(priority, due=-60)
    looker.look()
    assert shape(looker.marks.current()) == [0, 5]
    table.now += INTERVAL
    assert shape(looker.marks.current()) == []
    for _ in range(2):
        table.insert(0)
    looker.look(1)
    assert shape(looker.marks.current()) == [0]
    looker.look()
    assert shape(looker.marks.current()) == [0, 5]


def test_a_look_that_is_asked_for_begins_at_once_or_in_its_share(table: Table) -> None:
    """After a cheap look at once; after a dear one when that is paid for, and then the asking is over."""
    looker = Looker(table, interval=1000.0)
    table.insert(1, due=-60)
    looker.look()
    assert looker.marks.due_in() == float("inf")
    looker.marks.ask()
    assert looker.marks.due_in() <= 0
    table.step = 0.1
    looker.look()
    looker.marks.ask()
    due_in = looker.marks.due_in()
    assert due_in > (SHARE - 2) * looker.took[-1] > 0
    assert shape(looker.marks.current()) == [1]
    table.now += due_in
    assert shape(looker.marks.current()) == []
    assert looker.marks.due_in() == float("inf")


def test_finding_marks_takes_its_share_of_the_time_too(table: Table) -> None:
    """A look that stays slow, since nothing helps, is not made slower by asking each time."""
    marks = Marks(INTERVAL)

    def slow_look() -> bool:
        began = table.now
        table.now += 1
        return marks.note({"p": 1}, {"p": []}, began)

    assert slow_look()
    asked = table.now
    table.now += 1
    marks.found(Walked(table.at(asked - 2), []), asked)
    answers = [slow_look() for _ in range(SHARE + 1)]
    assert answers == [False] * (SHARE - 1) + [True] * 2


def test_a_look_before_marks_is_slow_and_asks_nothing(table: Table) -> None:
    """What it walks over is known; only a look from the marks that is slow meets something new."""
    table.step = 0.001
    looker = Looker(table)
    for _ in range(100):
        table.insert(1, due=-60, is_known=False)
    looker.look()
    took = looker.took[0]
    table.now += SHARE * took + INTERVAL
    assert shape(looker.marks.current()) == []
    began = table.now
    assert table.claim(1, []) == []
    assert not looker.marks.note({"p": 1}, {"p": []}, began)
    assert shape(looker.marks.current()) == [1]


def test_a_claim_of_many_jobs_is_not_slow_for_taking_its_time(table: Table) -> None:
    """Ten milliseconds are much for nothing, and little for a thousand jobs."""
    marks = Marks(INTERVAL)

    def is_slow(jobs: int) -> bool:
        at = table.at(table.now)
        table.now += 0.01
        return marks.note({"p": 1000}, {"p": [job(1, at, n, at=at) for n in range(jobs)]}, table.now - 0.01)

    assert [is_slow(0), is_slow(1), is_slow(1000)] == [True, True, False]


def test_forgetting_leaves_no_mark(table: Table) -> None:
    """On another server every time and every id may be another."""
    looker = Looker(table)
    table.insert(1, due=-60)
    looker.look()
    looker.marks.clear()
    assert shape(looker.marks.current()) == []


# Bounds


@pytest.mark.parametrize("seed", SEEDS)
def test_marks_are_few_in_order_and_those_that_save_most(table: Table, seed: int) -> None:
    """Of many priorities those stay before which most lies; equals give way to the more urgent."""
    chance = draws(seed)
    looker = Looker(table)
    many = chance.sample(range(-100, 100), MAX_MARKS + 5)
    for priority in range(-100, 100):
        for _ in range(2 if priority in many else 1):
            table.insert(priority, due=-60)
    looker.look(1000)
    assert shape(looker.marks.current()) == sorted(many)[:MAX_MARKS]


def test_a_mark_stays_behind_the_clock_and_behind_the_last_job(table: Table) -> None:
    """By the lag where the job is newer; at the job itself where it is older and more were wanted."""
    looker = Looker(table)
    old = table.insert(1, due=-60)
    table.insert(1, due=-0.5)
    began = table.now
    looker.look(1)
    assert looker.marks.current()["p"] == [old.place]
    looker.look(1)
    (mark,) = looker.marks.current()["p"]
    assert table.at(began) - LAG <= mark.scheduled_at < table.at(table.now) - LAG
