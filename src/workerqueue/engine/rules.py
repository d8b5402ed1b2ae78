"""The rules of one client's pools and kinds: what its claims must count or tell apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

from workerqueue.config import QueueConfig, TaskConfig
from workerqueue.database import ALL, QueueChange
from workerqueue.durations import as_timedelta
from workerqueue.rate import read_rate

Written = dict[str, object]
"""A pool's or a kind's rules, as the statements read them."""


class Rules:
    """What is configured, and what was said since of a running fleet.

    Where a kind has rules, its jobs may wait in any pool, so all pools are claimed by rules then.

    Args:
        pools: The pools that the client works.
        tasks: The rows of the kinds that it works.
        works_all: Whether it works the queues that are added at run time, too.
    """

    def __init__(
        self, pools: Mapping[str, QueueConfig], tasks: Mapping[str, TaskConfig], *, works_all: bool = False
    ) -> None:
        self._configured = pools
        self._pools = dict(pools)
        self._works_all = works_all
        self._tasks = tasks
        self._changes: Mapping[str, QueueChange] = {}
        self._kinds = {kind: _kind_rules(kind, task) for kind, task in tasks.items() if task.has_rules}

    @property
    def pools(self) -> list[str]:
        """The pools that are worked now."""
        return list(self._pools)

    @property
    def limits(self) -> dict[str, int]:
        """How many jobs of a kind may run at once in one dynamic queue, where that is not one."""
        return {kind: task.dynamic_limit for kind, task in self._tasks.items() if task.dynamic_limit != 1}

    @property
    def strict(self) -> set[str]:
        """The kinds whose dynamic queues are held up by a job that will be tried again."""
        return {kind for kind, task in self._tasks.items() if task.dynamic_order == "strict"}

    @property
    def plain_pools(self) -> list[str]:
        """The pools of which a claim takes what comes first."""
        return [pool for pool in self._pools if not self.counts(pool) and not self.chooses(pool)]

    @property
    def plain_kinds(self) -> list[str]:
        """The kinds without rules."""
        return [kind for kind in self._tasks if kind not in self._kinds]

    @property
    def kinds(self) -> list[Written]:
        """The rules of kinds."""
        return list(self._kinds.values())

    def change(self, changes: Collection[QueueChange]) -> None:
        """Take what was said of queues at run time."""
        self._changes = {change.name: change for change in changes}
        self._pools = dict(self._configured)
        if self._works_all:
            self._pools |= {each.name: _ADDED for each in changes if each.is_added and each.name not in self._pools}

    def is_paused(self, *queues: str) -> bool:
        """Tell whether one of these queues is paused, or all are."""
        changes = [self._changes.get(name) for name in (*queues, ALL)]
        return any(change is not None and change.paused_at is not None for change in changes)

    def max_workers(self, pool: str) -> int:
        """Give how many workers a pool has."""
        change = self._changes.get(pool)
        return self._pools[pool].max_workers if change is None or change.max_workers is None else change.max_workers

    def counts(self, pool: str) -> bool:
        """Tell whether a queue itself has a limit or a rate."""
        queue, change = self._pools[pool], self._changes.get(pool)
        return (
            queue.global_limit is not None
            or queue.rate is not None
            or (change is not None and (change.global_limit is not None or change.rate_starts is not None))
        )

    def chooses(self, pool: str) -> bool:
        """Tell whether claims must choose among a pool's jobs, rather than take what comes first."""
        return bool(self._kinds) or self._pools[pool].tells_apart

    def of_pool(self, pool: str) -> Written:
        """Give a pool's rules as they are configured; what was changed since, the statement reads itself."""
        queue = self._pools[pool]
        return {
            "pool": pool,
            "is_fair": queue.fair_by is not None,
            "ageing_seconds": None if queue.ageing is None else as_timedelta(queue.ageing).total_seconds(),
            "global_limit": queue.global_limit,
            **_rate(queue.rate, queue.burst),
        }

    def gates(self, pools: Collection[str]) -> list[str]:
        """Name the gates that whoever claims of these pools must hold."""
        of_pools = [f"queue:{pool}" for pool in pools if self.counts(pool)]
        of_kinds = [
            f"kind:{kind}"
            for kind in self._kinds
            if any((self._tasks[kind].global_limit, self._tasks[kind].partition_limit, self._tasks[kind].rate))
        ]
        return of_pools + of_kinds

    def limited_since(self, pools: Collection[str]) -> dict[str, datetime]:
        """Say since when pools have a limit of run time: what was claimed before it was not counted."""
        changes = [self._changes[pool] for pool in pools if pool in self._changes]
        return {change.name: change.changed_at for change in changes if change.global_limit is not None}

    def have_rates(self, pools: Collection[str]) -> bool:
        """Tell whether a rate needs to know what is started of these pools."""
        changes = [change for pool in pools if (change := self._changes.get(pool)) is not None]
        return (
            any(self._pools[pool].rate for pool in pools)
            or any(change.rate_starts for change in changes)
            or any(self._tasks[kind].rate for kind in self._kinds)
        )


_ADDED: Final = QueueConfig()


def _kind_rules(kind: str, task: TaskConfig) -> Written:
    return {
        "kind": kind,
        "local_limit": task.local_limit,
        "global_limit": task.global_limit,
        "partition_limit": task.partition_limit,
        "is_partitioned": task.partition_by is not None,
        **_rate(task.rate, task.burst),
    }


def _rate(text: str | None, burst: int | None) -> Written:
    if text is None:
        return {"rate_starts": None, "rate_seconds": None, "burst": None}
    rate = read_rate(text)
    return {"rate_starts": rate.starts, "rate_seconds": rate.seconds, "burst": burst}
