"""The life of a job as a pure function, and over it a model of all jobs and clients: what the statements must do.

Time is a number of seconds from any zero. The transitions are the library's own table: an event that the table does
not know from a state is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Literal, NamedTuple

from workerqueue.job import BY_HAND, TRANSITIONS, WAITING, JobState

NEXT: Final[Mapping[tuple[str, JobState | None], JobState]] = {
    (transition.event, transition.source): transition.target for transition in (*TRANSITIONS, *BY_HAND)
}
KEPT_ERRORS: Final = 100
MOST: Final = 1
"""Jobs of a dynamic queue that run at once."""


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
    waits: bool = False
    """Whether it is pending for its turn in a dynamic queue, and was not parked by hand."""
    checkpoint: int | None = None
    """What a run has saved."""


# What can happen to a job that is there


@dataclass(frozen=True)
class Claim:
    """By whoever asked for it, or by whoever was handed its turn."""

    lease: int
    client: int


@dataclass(frozen=True)
class SetAside:
    """It was ready, and is not the next of its dynamic queue."""


@dataclass(frozen=True)
class HaveTurn:
    """It is the next of its dynamic queue, for anybody."""


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


@dataclass(frozen=True)
class Save:
    """A run saves something."""

    lease: int
    value: int


@dataclass(frozen=True)
class ByHand:
    """Somebody handles it, whatever runs."""

    how: Literal["cancel", "complete", "fail", "retry"]
    delay: float = 0.0
    output: str | None = None


Moving = Claim | SetAside | HaveTurn | End | PutBack | Lose | FallDue | Release | ByHand
"""What may change a job's state."""
Event = Moving | Save
OWN_NAMES: Final[Mapping[type[Moving], str]] = {
    SetAside: "wait for its turn",
    HaveTurn: "have its turn",
    FallDue: "fall due",
    Release: "release by hand",
}
"""What the table of transitions calls events of which there is one kind only."""


def insert(new: New, now: float) -> Row:
    """Give the row of a new job."""
    name = "insert parked" if new.parked else "insert for later" if new.delay > 0 else "insert"
    return Row(new, NEXT[name, None], now + new.delay)


def step(row: Row, event: Event, now: float) -> Row | Refusal:
    """Give the row after an event, or why it stays as it is."""
    if isinstance(event, End | PutBack | Lose | Save) and event.lease != row.lease:
        return Refusal.STALE
    if isinstance(event, Save):
        return replace(row, checkpoint=event.value)
    target = NEXT.get((name_of(row, event), row.state))
    if target is None or not _is_pending_for(row, event):
        return Refusal.STATE
    return _after(row, event, target, now)


def _after(row: Row, event: Moving, target: JobState, now: float) -> Row | Refusal:
    """Give the row after an event that the table of transitions has."""
    match event:
        case Claim():
            starters = row.starters if row.client is None else (*row.starters, row.client)
            return replace(
                row,
                state=target,
                attempt=row.attempt + 1,
                lease=event.lease,
                client=event.client,
                starters=starters,
                waits=False,
            )
        case SetAside() | HaveTurn():
            return replace(row, state=target, waits=isinstance(event, SetAside))
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
        case ByHand():
            return _handled(row, event, target, now)


def name_of(row: Row, event: Moving) -> str:
    """Say what an event is called in the table of transitions."""
    is_last = row.attempt >= row.new.max_attempts
    match event:
        case Claim():
            return "be handed its turn" if row.waits else "claim"
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
        case ByHand(how="fail"):
            return "fail by hand for the last time" if _failed(row) >= row.new.max_attempts else "fail by hand"
        case ByHand():
            return f"{event.how} by hand"
        case _:
            return OWN_NAMES[type(event)]


def _is_pending_for(row: Row, event: Event) -> bool:
    """Tell a parked job, which is released and retried by hand, from one that waits for its turn."""
    if isinstance(event, ByHand):
        return not (event.how == "retry" and row.waits)
    return row.state is not JobState.PENDING or row.waits is not isinstance(event, Release)


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


def _failed(row: Row) -> int:
    """Give the attempt that ends when a job is called failed: the one under way, or the next."""
    return row.attempt if row.state is JobState.RUNNING else row.attempt + 1


def _handled(row: Row, event: ByHand, target: JobState, now: float) -> Row:
    after = replace(row, state=target, lease=None, waits=False, output=event.output)
    match event.how:
        case "fail":
            after = replace(after, attempt=_failed(row))
            due = now + event.delay if target is JobState.RETRYABLE else row.due
            return replace(after, due=due, errors=_with(replace(row, attempt=after.attempt), "FailedByHandError"))
        case "retry":
            most = max(row.new.max_attempts, row.attempt + 1)
            return replace(after, due=now, new=replace(row.new, max_attempts=most))
        case _:
            return after


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


@dataclass(frozen=True)
class Client:
    """A client as the others see it."""

    state: ClientState
    pools: frozenset[str]
    kinds: frozenset[str]

    @property
    def alive(self) -> bool:
        """Tell whether nobody has declared it dead, and it has not stopped."""
        return self.state in ALIVE


@dataclass(frozen=True)
class Turn:
    """A dynamic queue in which a job runs, or waits."""

    jobs: tuple[str, ...]
    """The tokens of those that run, as far as was noted: one may have ended unseen."""
    waiting: bool
    """Whether any were set aside since somebody looked; if not, the last to end drops the queue."""
    strict: bool = False
    """Whether a job keeps its turn until it is over, tried again or not."""


class Claims(NamedTuple):
    """What a claim has done."""

    tokens: list[str]
    aside: dict[str, int]
    """By pool."""
    turns: set[str]
    """Where the order is strict, so that somebody must see to what was set aside."""


class Ended(NamedTuple):
    """What came of outcomes."""

    accepted: set[str]
    runs: list[str]
    """The next ones of their dynamic queues, which are the client's now."""
    turns: set[str]
    """Where somebody must look again."""


class Rescue(NamedTuple):
    """What a rescue has done."""

    dead: list[int]
    returned: int
    discarded: int
    turns: set[str]


class Runner(NamedTuple):
    """Who runs what it is handed, where it can."""

    lease: int
    client: int
    pools: Collection[str]
    kinds: Collection[str]


@dataclass
class Model:
    """The tables, as they must be; each method is a statement and gives its answer."""

    now: float = 0.0
    rows: dict[str, Row] = field(default_factory=dict[str, Row])
    clients: dict[int, Client] = field(default_factory=dict[int, Client])
    turns: dict[str, Turn] = field(default_factory=dict[str, Turn])
    """By the names of dynamic queues; one jobs of which neither run nor wait is not there."""

    def insert(self, news: Iterable[New]) -> None:
        """Insert jobs."""
        for new in news:
            self.rows[new.token] = insert(new, self.now)

    def learn_ids(self, ids: Mapping[str, int]) -> None:
        """Take note of the ids that the database has given to what has none yet."""
        for token, row in self.rows.items():
            if not row.id and token in ids:
                self.rows[token] = replace(row, id=ids[token])

    def claim(
        self,
        lease: int,
        client: int,
        wanted: Mapping[str, int],
        kinds: Collection[str],
        strict: Collection[str] = (),
    ) -> Claims:
        """Claim the first of each pool, in the order they are to run; set aside who has not its turn."""
        if not self._is_alive(client):
            return Claims([], {}, set())
        ready: list[Row] = []
        for pool, room in wanted.items():
            of_pool = [row for row in self.within(JobState.AVAILABLE) if row.new.pool == pool and row.new.kind in kinds]
            ready += sorted(of_pool, key=_order)[:room]
        ready.sort(key=_order)
        # What was noted and is ready has ended unseen: nobody else of its queue was let through meanwhile.
        could_run = {name: self.could_run(name, wanted, kinds) for name in _names(ready)}
        have_turn = {
            token
            for name, first in could_run.items()
            for token in self._take_turn(name, ready, first[0].new.token, strict)
        }
        aside = [row for row in ready if row.new.queue is not None and row.new.token not in have_turn]
        for row in ready:
            self._happen(row, SetAside() if row in aside else Claim(lease, client))
        return Claims(
            [row.new.token for row in ready if row not in aside],
            dict(Counter(row.new.pool for row in aside)),
            _names(row for row in aside if row.new.kind in strict),
        )

    def _take_turn(self, name: str, ready: Sequence[Row], first: str, strict: Collection[str]) -> tuple[str, ...]:
        """Note which of a dynamic queue's ready jobs runs, and give all that are noted.

        In strict order none is let through here: what had its turn may come again.
        """
        mine = [row.new for row in ready if row.new.queue == name]
        turn = self.turns.get(name, Turn((), False))
        is_strict = turn.strict or any(new.kind in strict for new in mine)
        room = max(MOST - len(turn.jobs), 0) if mine[0].token == first and not is_strict else 0
        noted = turn.jobs + tuple(new.token for new in mine[:room])
        self.turns[name] = Turn(noted, turn.waiting or len(mine) > room, is_strict)
        return noted

    def end(self, ends: Sequence[tuple[str, End]], here: Runner | None = None) -> Ended:
        """Write how runs ended, and see to the next jobs of their dynamic queues.

        Where what ended is ready again, it may come before what waits, and in strict order it keeps its turn if it will
        be tried again, so that somebody must look anew.
        """
        accepted = {token for token, end in ends if self._happen(self.rows[token], end)}
        again: set[str] = set()
        seen_to: set[str] = set()
        for token in accepted:
            name = self.rows[token].new.queue
            if name is not None and self.turns.get(name) == Turn((token,), waiting=False):
                del self.turns[name]
            elif name is not None:
                (again if self.rows[token].state is JobState.AVAILABLE else seen_to).add(name)
        again |= {name for name in seen_to if name not in self.turns or self.turns[name].strict}
        return Ended(accepted, self.hand_over(seen_to - again, here), again)

    def put_back(self, lease: int) -> tuple[int, set[str]]:
        """Put back what a claim took; tell how many, and where somebody must see to the next job."""
        rows = [row for row in self.within(JobState.RUNNING) if row.lease == lease]
        for row in rows:
            self._happen(row, PutBack(lease))
        return len(rows), _names(rows)

    def hand_over(self, names: Iterable[str], here: Runner | None = None) -> list[str]:
        """See to the next jobs of dynamic queues: run them here, or let anybody; tell what runs now."""
        runs: list[str] = []
        for name in {*names} & self.turns.keys():
            turn = self.turns[name]
            held = tuple(token for token in turn.jobs if self._holds(turn, self.rows[token]))
            could_run = [row for row in self.could_run(name, *self.known()) if row.new.token not in held]
            first = could_run[: MOST - len(held)]
            # What has had its turn and is not over has it again, before all others.
            first += [row for row in map(self.rows.__getitem__, held) if row.state is JobState.AVAILABLE or row.waits]
            mine = [row.new.token for row in first if here is not None and self._can_run(here, row)]
            for row in first:
                if here is not None and row.new.token in mine:
                    self._happen(row, Claim(here.lease, here.client))
                elif row.waits:
                    self._happen(row, HaveTurn())
            others_wait = any(row.waits and row.new.queue == name for row in self.rows.values())
            waiting = others_wait or len(could_run) > MOST - len(held)
            # In strict order a turn is kept for whoever claims the job next: claims give none themselves.
            have_turn = [row.new.token for row in first] if turn.strict else mine
            self.turns[name] = Turn(tuple(dict.fromkeys((*held, *have_turn))), waiting, turn.strict)
            if not waiting and not self.turns[name].jobs:
                del self.turns[name]
            runs += mine
        return runs

    def _holds(self, turn: Turn, row: Row) -> bool:
        """Tell whether a job that was noted keeps its turn."""
        return row.state is JobState.RUNNING or (turn.strict and not row.state.is_final)

    def list_turns(self, limit: int) -> list[str]:
        """List the dynamic queues that stand still, or where what was noted to run does not."""
        return sorted(
            name
            for name, turn in self.turns.items()
            if not turn.jobs or any(self.rows[token].state is not JobState.RUNNING for token in turn.jobs)
        )[:limit]

    def could_run(self, name: str, pools: Collection[str], kinds: Collection[str]) -> list[Row]:
        """Give the jobs of a dynamic queue that are ready or wait for their turn, in the order they are to run."""
        ready = [row for row in self.rows.values() if row.state is JobState.AVAILABLE or row.waits]
        mine = [row.new for row in ready if row.new.queue == name and row.new.pool in pools and row.new.kind in kinds]
        return sorted((self.rows[new.token] for new in mine), key=_order)

    def known(self) -> tuple[set[str], set[str]]:
        """Give the pools and the kinds that somebody alive works."""
        alive = [client for client in self.clients.values() if client.alive]
        return {pool for each in alive for pool in each.pools}, {kind for each in alive for kind in each.kinds}

    def release(self, token: str) -> bool:
        """Release a parked job."""
        return self._happen(self.rows[token], Release())

    def save(self, token: str, lease: int, value: int) -> bool:
        """Save something of a run."""
        return self._happen(self.rows[token], Save(lease, value))

    def handle(self, token: str, event: ByHand) -> tuple[bool, str, str | None]:
        """Handle a job by hand: whether it was, its state before, and where it may be another one's turn."""
        row = self.rows[token]
        is_done = self._happen(row, event)
        stays = event.how == "retry" and (row.state is JobState.AVAILABLE or row.waits)
        frees = is_done and event.how != "retry"
        return is_done or stays, row.state.value, row.new.queue if frees else None

    def delete(self, token: str) -> tuple[bool, str, str | None]:
        """Delete a job that does not run."""
        row = self.rows[token]
        is_done = row.state is not JobState.RUNNING
        if is_done:
            del self.rows[token]
        return is_done, row.state.value, row.new.queue if row.state in WAITING else None

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
        alive = self._is_alive(client)
        if alive:
            self.become(client, ClientState.BEATING)
        return alive

    def become(self, client: int, state: ClientState) -> None:
        """Change how the others see a client."""
        self.clients[client] = replace(self.clients[client], state=state)

    def rescue(self) -> Rescue:
        """Declare the silent dead, and free what no living client runs."""
        dead = [number for number, client in self.clients.items() if client.state is ClientState.SILENT]
        for number in dead:
            self.become(number, ClientState.LOST)
        lost = [row for row in self.within(JobState.RUNNING) if not self._is_alive(row.client or 0)]
        for row in lost:
            self._happen(row, Lose(row.lease or 0))
        discarded = sum(self.rows[row.new.token].state is JobState.DISCARDED for row in lost)
        return Rescue(dead, len(lost) - discarded, discarded, _names(lost))

    def pass_time(self, seconds: float) -> None:
        """Bring every live job nearer to its time."""
        for token, row in self.rows.items():
            if not row.state.is_final:
                self.rows[token] = replace(row, due=row.due - seconds)

    def within(self, *states: JobState) -> list[Row]:
        """Give the jobs that are in one of these states."""
        return [row for row in self.rows.values() if row.state in states]

    def _is_alive(self, client: int) -> bool:
        return client in self.clients and self.clients[client].alive

    def _can_run(self, here: Runner, row: Row) -> bool:
        return row.new.pool in here.pools and row.new.kind in here.kinds and self._is_alive(here.client)

    def _happen(self, row: Row, event: Event) -> bool:
        after = step(row, event, self.now)
        if isinstance(after, Refusal):
            return False
        self.rows[row.new.token] = after
        if after.state is JobState.DISCARDED and row.new.follow_up is not None:
            self.insert([row.new.follow_up])
        return True


def _names(rows: Iterable[Row]) -> set[str]:
    """Give the dynamic queues that jobs wait in."""
    return {row.new.queue for row in rows if row.new.queue is not None}


def _order(row: Row) -> tuple[int, float, int]:
    return row.new.priority, row.due, row.id
