"""What the statements take and give beside jobs themselves: answers, places, rules, and what was said."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Final, NamedTuple, TypeVar

from workerqueue.config import PRIORITIES
from workerqueue.database.job_rows import Claimed, StoredJob

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


class Happened(NamedTuple):
    """What happened to one job."""

    type: str
    """As events call it."""
    job: int
    """Its id."""
    kind: str


class KnownInsert(NamedTuple):
    """What was inserted under an insert_id."""

    job: int
    """Its id."""
    at: datetime
    """When it was inserted."""
    stored: StoredJob | None
    """The job as it is now; `None` if its history has ended."""


class KeyHolder(NamedTuple):
    """What has a key."""

    job: int | None
    """Its id; `None` if no job has had the key."""
    is_kept: bool
    """Whether the key counts though its job has ended."""
    stored: StoredJob | None
    """The job as it is now; `None` if its history has ended."""
    at: datetime
    """When it was looked at."""


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
    said_of_queues: str
    """Another text whenever something was said of queues at run time."""
    asked_to_stop: Collection[int]
    """The ids of those of its runs that were asked to."""
    is_heard: bool
    """Whether anybody has subscribed to events."""


class Rescued(NamedTuple):
    """What became of the clients that were declared dead, and of their jobs."""

    dead: Sequence[str]
    """Their ids."""
    returned: int
    discarded: int
    """Jobs whose last attempt it was."""
    turns: Sequence[str]
    """Dynamic queues in which somebody must see to the next job."""
    happened: Sequence[Happened] = ()
    """The same job by job."""


class Promotion(NamedTuple):
    """What came of a look at what falls due."""

    promoted: int
    """How many jobs were made available."""
    next_due: float | None
    """In how many seconds the next one falls due, if any waits."""
    has_turns: bool
    """Whether any dynamic queue runs a job, or should."""


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


@dataclass(frozen=True)
class Claimant:
    """Who claims, and what of."""

    client: str
    """Its id."""
    number: int
    """The number that it registered under."""
    pools: Sequence[str]
    kinds: Sequence[str]
    limits: Mapping[str, int] = field(default_factory=dict[str, int])
    """How many jobs of a kind may run at once in one dynamic queue, where that is not one."""
    strict: Collection[str] = ()
    """Kinds whose dynamic queues are held up by a job that will be tried again."""
    plain_pools: Sequence[str] = ()
    """The pools that no rule counts the jobs of: the next job of a dynamic queue may be run there at once."""
    plain_kinds: Sequence[str] = ()

    is_counted: bool = False
    """Whether limits count what it claims."""

    @cached_property
    def parameters(self) -> tuple[object, ...]:
        """What claims read."""
        limits = [self.limits.get(kind, 1) for kind in self.kinds]
        strict = [kind in self.strict for kind in self.kinds]
        return self.number, list(self.kinds), limits, strict, list(self.pools), self.is_counted or None


class Claim(NamedTuple):
    """What a claim took."""

    jobs: list[Claimed]
    aside: Mapping[str, int]
    """By pool, how many more were ready, and wait for their turn in a dynamic queue now."""
    turns: Collection[str]
    """Dynamic queues in strict order, in which somebody must see to the next job."""


class Choice(NamedTuple):
    """What rules let be claimed of a pool now."""

    ids: Sequence[int]
    is_more: bool
    """Whether more waits than was chosen; none says that the pool is paused."""
    free_in: float | None
    """In how many seconds a rate lets something start that it holds back now."""
    after: str | None
    """The lane behind which the next choice begins."""


class Room(NamedTuple):
    """How many jobs a pool may be given."""

    pool: str
    jobs: int
    free_in: float | None
    """In how many seconds its rate leaves room again, if that has none."""
    is_waited_for: bool
    """Whether there is none, and jobs wait for it."""


class QueueChange(NamedTuple):
    """What was said of a queue at run time; `None` leaves it as it is configured."""

    name: str
    paused_at: datetime | None
    max_workers: int | None
    global_limit: int | None
    rate_starts: int | None
    rate_seconds: float | None
    burst: int | None
    is_added: bool
    """Whether it is a queue that nobody's configuration has."""
    changed_at: datetime


class Controlled(NamedTuple):
    """What a call by hand met, and whether it did what it was to do."""

    id: int
    ok: bool
    state: str
    """The job's state before."""
    queue: str | None
    """A dynamic queue in which it may be another one's turn now."""


class JobFilter(NamedTuple):
    """Which jobs to list; `None` asks for no such thing."""

    states: Sequence[str] | None = None
    kinds: Sequence[str] | None = None
    queues: Sequence[str] | None = None
    """By the name they wait under."""
    pools: Sequence[str] | None = None
    tags: Sequence[str] | None = None
    """Any of these."""
    ids: Sequence[int] | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    tenant: str | None = None


class StoredSchedule(NamedTuple):
    """A schedule as it is stored."""

    name: str
    definition: str
    """JSON."""
    next_at: datetime | None
    last_at: datetime | None
    paused_at: datetime | None
    last_error: str | None
    now: datetime
    """When it was read."""

    def __repr__(self) -> str:
        return f"StoredSchedule(name={self.name!r}, next_at={self.next_at})"  # what else it holds may be secret


class Taken(NamedTuple):
    """What came of taking a lease."""

    place: int | None
    """Which one; `None` if none was taken."""
    fence: int | None
    all_held: bool
    """Whether all are held; if not, another was quicker."""


class Counted(NamedTuple):
    """How many jobs of a queue are in one state."""

    pool: str
    state: str
    jobs: int


class Removal(NamedTuple):
    """What came of removing a queue."""

    removed: bool
    jobs: int
    """How many live jobs it has: none, if it was removed."""


class Recorded(NamedTuple):
    """What came of the ends of runs of dynamic queues."""

    accepted: set[int]
    """The ids of runs whose lease was still good."""
    runs: list[Claimed]
    """The next ones, which are this client's."""
    turns: Sequence[str]
    """Dynamic queues in which somebody must see to the next job."""


class HandedOver(NamedTuple):
    """What came of a look at dynamic queues whose jobs have ended."""

    runs: list[Claimed]
    """The next ones, which are this client's."""
    again: Sequence[str]
    """Queues that must be looked at once more."""
