"""What a reader sees of queues: their settings as they hold now, their jobs counted, and who works them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Self

from workerqueue.args import is_name
from workerqueue.config import DEFAULT_QUEUE, Config, QueueConfig
from workerqueue.database import ALL, Counted, QueueChange
from workerqueue.rate import Rate
from workerqueue.template import QueueTemplate


@dataclass(frozen=True, slots=True)
class Counts:
    """How many jobs are in each state."""

    available: int = 0
    scheduled: int = 0
    pending: int = 0
    running: int = 0
    retryable: int = 0
    completed: int = 0
    cancelled: int = 0
    discarded: int = 0

    @property
    def live(self) -> int:
        """How many are not finalized."""
        return self.available + self.scheduled + self.pending + self.running + self.retryable

    @classmethod
    def of(cls, counted: Iterable[Counted]) -> Self:
        """Add up what was counted."""
        numbers = dict.fromkeys((each.name for each in fields(cls)), 0)
        for each in counted:
            numbers[each.state] += each.jobs
        return cls(**numbers)


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for a queue in all processes together; `None` is no limit."""

    global_limit: int | None = None
    """How many of its jobs run at once."""
    rate: str | None = None
    """How many start in a time, such as `100/m`."""
    burst: int | None = None
    """How many of these at once."""


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue as it is now."""

    name: str
    pool: str
    """The configured queue whose workers run its jobs: itself, if it is no dynamic one."""
    paused: bool
    """Whether its jobs are held back: it, its pool or all queues are paused."""
    paused_at: datetime | None
    """When it was paused itself."""
    max_workers: int | None
    """How many of its jobs one process runs at once; `None` where this client's configuration does not have it."""
    limits: Limits
    counts: Counts
    """Its jobs. Of a dynamic queue only live ones are counted: it may come and go a million times."""
    clients: int
    """How many living clients work it; with none, its jobs wait."""


@dataclass(frozen=True, slots=True)
class Stats:
    """How many jobs there are."""

    queues: Mapping[str, Counts]
    """By queue: those configured here, added, worked, and those that have jobs or had some. Dynamic queues count in
    their pool."""
    total: Counts
    unworked: list[str]
    """Queues that have live jobs and no living client that works them."""


@dataclass(frozen=True, slots=True)
class QueueView:
    """One look at all queues of a schema."""

    config: Config
    changes: Mapping[str, QueueChange]
    """What was said of queues at run time, by their names."""
    counted: Collection[Counted]
    worked: Mapping[str, int]
    """How many living clients work each."""

    @property
    def added(self) -> frozenset[str]:
        """The queues that were added at run time."""
        return frozenset(name for name, each in self.changes.items() if each.is_added)

    @property
    def pools(self) -> list[str]:
        """The queues that are no dynamic ones, as far as anything is known of them here."""
        counted = {each.pool for each in self.counted}
        return sorted({*self.config.all_queues, *self.added, *self.worked, *counted})

    def pool(self, name: str) -> Queue:
        """Give a queue that is no dynamic one."""
        change = self.changes.get(name)
        config = self.config.all_queues.get(name)
        if config is None and name in self.added:
            config = QueueConfig()
        max_workers = None if config is None else config.max_workers
        if change is not None and change.max_workers is not None:
            max_workers = change.max_workers
        return Queue(
            name=name,
            pool=name,
            paused=self._is_paused(name),
            paused_at=None if change is None else change.paused_at,
            max_workers=max_workers,
            limits=_limits(config or QueueConfig(), change),
            counts=Counts.of(each for each in self.counted if each.pool == name),
            clients=self.worked.get(name, 0),
        )

    def dynamic(self, name: str, counted: Collection[Counted]) -> Queue:
        """Give a dynamic queue whose live jobs were counted."""
        pool = next((each.pool for each in counted), None) or pool_of(self.config, name) or DEFAULT_QUEUE
        change = self.changes.get(name)
        return replace(
            self.pool(pool),
            name=name,
            paused=self._is_paused(name) or self._is_paused(pool),
            paused_at=None if change is None else change.paused_at,
            limits=Limits(),
            counts=Counts.of(counted),
        )

    def stats(self) -> Stats:
        """Count the jobs of every queue."""
        queues = {name: Counts.of(each for each in self.counted if each.pool == name) for name in self.pools}
        unworked = [name for name, counts in queues.items() if counts.live and name not in self.worked]
        return Stats(queues, Counts.of(self.counted), unworked)

    def _is_paused(self, name: str) -> bool:
        return any(each in self.changes and self.changes[each].paused_at is not None for each in (ALL, name))


def pool_of(config: Config, name: str) -> str | None:
    """Give the queue of the first kind whose template could give a dynamic name.

    A function could give any name, and is not asked.
    """
    for task in config.tasks.values():
        if task.template is not None and is_name(name) and _fits(task.template, name):
            return task.queue or DEFAULT_QUEUE
    return None


def _fits(template: QueueTemplate, name: str) -> bool:
    if template.function is not None:
        return False
    pattern = "".join(re.escape(text) + ("" if field is None else ".+") for text, field in template.parts)
    return re.fullmatch(pattern, name) is not None


def _limits(config: QueueConfig, change: QueueChange | None) -> Limits:
    limits = Limits(config.global_limit, config.rate, config.burst)
    if change is not None and change.global_limit is not None:
        limits = replace(limits, global_limit=change.global_limit)
    if change is not None and change.rate_starts is not None and change.rate_seconds is not None:
        limits = replace(limits, rate=str(Rate(change.rate_starts, change.rate_seconds)), burst=change.burst)
    return limits
