"""Low-water marks: where the next claim of a pool begins to look.

While jobs are claimed in order, what lies before the last one is dead: claimed, or not for this client. The
entries stay in the index until vacuum removes them, which a transaction held open anywhere prevents; without a
mark every claim walks them all again (400,000 jobs under one held snapshot: 57 k → 13 k jobs/s and falling).
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Final

from workerqueue.database import Claimed, Mark

SHARE: Final = 20
"""A look without the mark is taken at most this often in the time it takes: at most 5 % of the time goes there."""


class Marks:
    """The marks of one producer's pools, kept while its claims come back full.

    A job may appear before a mark: committed late, due in the past, returned, promoted. So a mark lasts for one
    look interval at most (longer only where the look itself takes long), and is dropped by every hint and by
    every claim that did not get all it asked for.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._marks: dict[str, Mark] = {}
        self._began: dict[str, float] = {}
        self._last_look: dict[str, float] = {}

    def current(self) -> Mapping[str, Mark]:
        """Give the marks that still hold."""
        now = monotonic()
        for pool, began in list(self._began.items()):
            if now - began > max(self._interval, SHARE * self._last_look.get(pool, 0.0)):
                self.drop(pool)
        return dict(self._marks)

    def note(self, pool: str, last: Claimed | None, seconds: float) -> None:
        """Take note of a claim: its last job if it got all it asked for, and how long it took."""
        if pool not in self._marks:
            self._last_look[pool] = seconds
        if last is None:
            self.drop(pool)
            return
        self._began.setdefault(pool, monotonic())
        place = Mark(last.priority, last.scheduled_at, last.id)
        # What is more urgent is claimed without moving the mark back.
        self._marks[pool] = max(place, self._marks.get(pool, place))

    def drop(self, pool: str) -> None:
        """Look at a pool from its first job again."""
        self._marks.pop(pool, None)
        self._began.pop(pool, None)

    def clear(self) -> None:
        """Look at every pool from its first job again."""
        self._marks.clear()
        self._began.clear()
