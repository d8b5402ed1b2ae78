"""Low-water marks: where the next claim of a pool begins to look.

While jobs are claimed in order, what lies before the last one is dead: claimed, or not for this client. The
entries stay in the index until vacuum removes them, which a transaction held open anywhere prevents; without a
mark every claim walks them all again (400,000 jobs under one held snapshot: 57 k → 13 k jobs/s and falling; inserted
and worked at once: 65 µs of PostgreSQL a job instead of 15).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from time import monotonic
from typing import Final

from workerqueue.database import Claimed, Mark

LAG: Final = timedelta(seconds=1)
"""A mark stays so far behind the database's clock: what was inserted at the same time commits in any order."""
SHARE: Final = 20
"""A look without the mark is taken at most this often in the time it takes: at most 5 % of the time goes there."""


class Marks:
    """The marks of one producer's pools.

    A job may still appear before a mark: committed late, due in the past, put back. So a mark lasts for one
    look interval at most (longer only where the look itself takes long), and a job waits no longer because of it.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._marks: dict[str, Mark] = {}
        self._looked_at: dict[str, float] = {}
        self._look_took: dict[str, float] = {}

    def current(self) -> Mapping[str, Mark]:
        """Give the marks that still hold."""
        now = monotonic()
        for pool, looked_at in self._looked_at.items():
            if now - looked_at > max(self._interval, SHARE * self._look_took[pool]):
                self._marks.pop(pool, None)
        return dict(self._marks)

    def note(self, pool: str, last: Claimed | None, began: float) -> None:
        """Take note of a claim: its last job, if it got any, and when it began."""
        mark = self._marks.get(pool)
        if mark is None:
            self._looked_at[pool], self._look_took[pool] = began, monotonic() - began
        if last is not None:
            # What is more urgent is claimed without moving the mark back.
            self._marks[pool] = max(_behind(last), mark or _behind(last))

    def clear(self) -> None:
        """Look at every pool from its first job again."""
        self._marks.clear()


def _behind(last: Claimed) -> Mark:
    """Give the place behind a claimed job, not nearer to now than the lag."""
    newest = last.attempted_at - LAG
    if last.scheduled_at < newest:
        return Mark(last.priority, last.scheduled_at, last.id)
    return Mark(last.priority, newest, 0)
