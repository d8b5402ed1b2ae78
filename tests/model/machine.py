"""The life of a job as a pure function, and over it a model of all jobs and clients: what the statements must do.

Time is a number of seconds from any zero. The transitions are the library's own table: an event that the table does
not know from a state is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Literal, NamedTuple

from workerqueue.job import TRANSITIONS, JobState

NEXT: Final[Mapping[tuple[str, JobState | None], JobState]] = {
    (transition.event, transition.source): transition.target for transition in TRANSITIONS
}
KEPT_ERRORS: Final = 100


class Refusal(StrEnum):
    """Why an event changes nothing."""

    STALE = "its lease is not the run's current one"
    STATE = "the table of transitions does not have it"
    EARLY = "it is not due yet"


@dataclass(frozen=True)
class New:
    """A job to insert."""

    token: str
    """Names the job in model and table, whatever its id."""
    kind: str = "plain"
    pool: str = "default"
    queue: str | None = None
    priority: int = 1
    max_attempts: int = 3
    delay: float = 0.0
    parked: bool = False
    follow_up: New | None = None
    """What is inserted if it is discarded."""


@dataclass(frozen=True)
class Row:
    """A job."""

    new: New
    state: JobState
    due: float
    id: int = 0
    """As the database gave it; 0 before that is known."""
    attempt: int = 0
    lease: int | None = None
    client: int | None = None
    """Who started it last."""
    starters: tuple[int, ...] = ()
    """Who started it before."""
    errors: tuple[tuple[int, str], ...] = ()
    """Attempt and type of each failure."""
    output: str | None = None


# What can happen to a job that is there


@dataclass(frozen=True)
class Claim:
    lease: int
    client: int


@dataclass(frozen=True)
class End:
    """A run has ended."""

    lease: int
    how: Literal["complete", "fail", "discard", "cancel", "snooze", "interrupt"]
    delay: float = 0.0
    error: str | None = None
    """The type of the entry in the history."""
    output: str | None = None


@dataclass(frozen=True)
class PutBack:
    """The claim's answer was lost: nobody knows of the run."""

    lease: int


@dataclass(frozen=True)
class Lose:
    """The client that ran it is gone."""

    lease: int


@dataclass(frozen=True)
class FallDue: ...


@dataclass(frozen=True)
class Release: ...


Event = Claim | End | PutBack | Lose | FallDue | Release


def insert(new: New, now: float) -> Row:
    """Give the row of a new job."""
    name = "insert parked" if new.parked else "insert for later" if new.delay > 0 else "insert"
    return Row(new, NEXT[name, None], now + new.delay)


def step(row: Row, event: Event, now: float) -> Row | Refusal:
    """Give the row after an event, or why it stays as it is."""
    if isinstance(event, End | PutBack | Lose) and event.lease != row.lease:
        return Refusal.STALE
    target = NEXT.get((name_of(row, event), row.state))
    if target is None:
        return Refusal.STATE
    match event:
        case Claim():
            starters = row.starters if row.client is None else (*row.starters, row.client)
            return replace(
                row, state=target, attempt=row.attempt + 1, lease=event.lease, client=event.client, starters=starters
            )
        case End():
            return _ended(row, event, target, now)
        case PutBack():
            return replace(row, state=target, lease=None, attempt=row.attempt - 1)
        case Lose():
            return replace(row, state=target, lease=None, errors=_with(row, "ClientLost"))
        case FallDue():
            return Refusal.EARLY if row.due > now else replace(row, state=target)
        case Release():
            return replace(row, state=target, due=now)


def name_of(row: Row, event: Event) -> str:
    """Say what an event is called in the table of transitions."""
    is_last = row.attempt >= row.new.max_attempts
    match event:
        case Claim():
            return "claim"
        case PutBack() | End(how="interrupt"):
            return "cut off by a stop"
        case Lose():
            return "lose its client for the last time, discard" if is_last else "lose its client"
        case End(how="fail"):
            return "fail for the last time, discard" if is_last else "fail"
        case End(how="discard"):
            return "fail for the last time, discard"
        case End(how="snooze"):
            return "snooze" if event.delay else "snooze for no time"
        case End(how=("complete" | "cancel") as how):
            return how
        case FallDue():
            return "fall due"
        case _:
            return "release by hand"


def _ended(row: Row, end: End, target: JobState, now: float) -> Row:
    counts = end.how not in ("snooze", "interrupt")
    waits = target in (JobState.SCHEDULED, JobState.RETRYABLE)
    return replace(
        row,
        state=target,
        lease=None,
        attempt=row.attempt if counts else row.attempt - 1,
        due=now + end.delay if waits else row.due,
        errors=row.errors if end.error is None else _with(row, end.error),
        output=end.output,
    )


def _with(row: Row, error: str) -> tuple[tuple[int, str], ...]:
    return (*row.errors, (row.attempt, error))[-KEPT_ERRORS:]


# All jobs and clients


class ClientState(StrEnum):
    """How the others see a client."""

    BEATING = "beating"
    SILENT = "silent"
    """It has not beaten for too long, and nobody has declared it dead."""
    STOPPED = "stopped"
    LOST = "lost"


ALIVE: Final = frozenset({ClientState.BEATING, ClientState.SILENT})


class Rescue(NamedTuple):
    """What a rescue has done."""

    dead: list[int]
    returned: int
    discarded: int


@dataclass
class Model:
    """The tables, as they must be; each method is a statement and gives its answer."""

    now: float = 0.0
    rows: dict[str, Row] = field(default_factory=dict[str, Row])
    clients: dict[int, ClientState] = field(default_factory=dict[int, ClientState])

    def insert(self, news: Iterable[New]) -> None:
        """Insert jobs."""
        for new in news:
            self.rows[new.token] = insert(new, self.now)

    def learn_ids(self, ids: Mapping[str, int]) -> None:
        """Take note of the ids that the database has given to what has none yet."""
        for token, row in self.rows.items():
            if not row.id and token in ids:
                self.rows[token] = replace(row, id=ids[token])

    def claim(self, lease: int, client: int, wanted: Mapping[str, int], kinds: Collection[str]) -> list[str]:
        """Claim the first of each pool, in the order they are to run."""
        if self.clients.get(client) not in ALIVE:
            return []
        claimed: list[Row] = []
        for pool, room in wanted.items():
            ready = [row for row in self.within(JobState.AVAILABLE) if row.new.pool == pool and row.new.kind in kinds]
            claimed += sorted(ready, key=_order)[:room]
        for row in claimed:
            self._happen(row, Claim(lease, client))
        return [row.new.token for row in sorted(claimed, key=_order)]

    def end(self, ends: Sequence[tuple[str, End]]) -> set[str]:
        """Write how runs ended, and tell which writes were accepted."""
        return {token for token, end in ends if self._happen(self.rows[token], end)}

    def put_back(self, lease: int) -> int:
        """Put back what a claim took."""
        return sum(self._happen(row, PutBack(lease)) for row in self.within(JobState.RUNNING) if row.lease == lease)

    def release(self, token: str) -> bool:
        """Release a parked job."""
        return self._happen(self.rows[token], Release())

    def promote(self, limit: int) -> int:
        """Make available what is due, the longest due first."""
        waiting = sorted(self.within(JobState.SCHEDULED, JobState.RETRYABLE), key=lambda row: (row.due, row.id))
        return sum(self._happen(row, FallDue()) for row in waiting[:limit])

    def next_due(self) -> float | None:
        """Tell in how many seconds the next waiting job falls due."""
        later = [row.due for row in self.within(JobState.SCHEDULED, JobState.RETRYABLE) if row.due > self.now]
        return min(later) - self.now if later else None

    def beat(self, client: int) -> bool:
        """Beat; tell whether the client still counts as alive."""
        alive = self.clients.get(client) in ALIVE
        if alive:
            self.clients[client] = ClientState.BEATING
        return alive

    def rescue(self) -> Rescue:
        """Declare the silent dead, and free what no living client runs."""
        dead = [number for number, state in self.clients.items() if state is ClientState.SILENT]
        self.clients |= dict.fromkeys(dead, ClientState.LOST)
        lost = [row for row in self.within(JobState.RUNNING) if self.clients.get(row.client or 0) not in ALIVE]
        for row in lost:
            self._happen(row, Lose(row.lease or 0))
        discarded = sum(self.rows[row.new.token].state is JobState.DISCARDED for row in lost)
        return Rescue(dead, len(lost) - discarded, discarded)

    def pass_time(self, seconds: float) -> None:
        """Bring every live job nearer to its time."""
        for token, row in self.rows.items():
            if not row.state.is_final:
                self.rows[token] = replace(row, due=row.due - seconds)

    def within(self, *states: JobState) -> list[Row]:
        """Give the jobs that are in one of these states."""
        return [row for row in self.rows.values() if row.state in states]

    def _happen(self, row: Row, event: Event) -> bool:
        after = step(row, event, self.now)
        if isinstance(after, Refusal):
            return False
        self.rows[row.new.token] = after
        if after.state is JobState.DISCARDED and row.new.follow_up is not None:
            self.insert([row.new.follow_up])
        return True


def _order(row: Row) -> tuple[int, float, int]:
    return row.new.priority, row.due, row.id
