"""Low-water marks: where the next look at a pool begins, by priority.

What a look has walked over is not worth walking again: entries that are dead (claimed jobs, until vacuum removes
them, which a transaction held open anywhere prevents) and jobs of kinds that are not worked here. Without marks each
look walks all of them (a million: a third of a second).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from time import monotonic
from typing import Final

from workerqueue.config import PRIORITIES
from workerqueue.database import Claimed, Mark, Walked

LAG: Final = timedelta(seconds=1)
"""A mark stays so far behind the database's clock: what was inserted at the same time commits in any order."""
SHARE: Final = 20
"""What is done to look before marks, or to find them, is done again only after so many times the time it took."""
MAX_MARKS: Final = 32
"""Marks of a pool: each one costs every claim about a microsecond."""
SLOW: Final = 0.005
"""Seconds above which a look that claims nothing has walked over too much."""
SLOW_JOB: Final = 0.000_05
"""Seconds that each claimed job adds to that."""


@dataclass(slots=True)
class _Place:
    """How far one priority has been walked, in which round of looks, and how many entries lie before it."""

    mark: Mark
    round: int
    saves: int = 0


class Marks:
    """The marks of one producer's pools.

    A job may still appear before a mark: committed late, due in the past, put back. So from time to time a round
    begins: no mark holds until a look has come by its place again. That is once per interval, or when asked for,
    but never so soon that looks before marks would take more than 5 % of the time.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._places: dict[str, dict[int, _Place]] = {}
        self._reached: dict[str, int] = {}
        """By pool, the first priority that the last look did not get to the end of."""
        self._looked_at = monotonic()
        self._round = 0
        self._round_began = monotonic()
        self._round_took = 0.0
        self._is_asked = False
        self._find_again_at = 0.0

    def current(self) -> Mapping[str, Sequence[Mark]]:
        """Give the marks that hold for the look that is about to begin, by pool and in order."""
        now = monotonic()
        if now - self._round_began >= max(self._interval, SHARE * self._round_took) or self.due_in() <= 0:
            self._round += 1
            self._round_began, self._round_took, self._is_asked = now, 0.0, False
        return {
            pool: [place.mark for _, place in sorted(places.items()) if place.round == self._round]
            for pool, places in self._places.items()
        }

    def ask(self) -> None:
        """Ask for a look before the marks: something may be there."""
        self._is_asked = True

    def due_in(self) -> float:
        """Say in how many seconds the look that was asked for may begin; infinity if none was."""
        return self._round_began + SHARE * self._round_took - monotonic() if self._is_asked else inf

    def note(
        self,
        wanted: Mapping[str, int],
        claimed: Mapping[str, Sequence[Claimed]],
        began: float,
        aside: Mapping[str, int] | None = None,
    ) -> bool:
        """Take note of a look: what was wanted and what was claimed, by pool and in order, and when it began.

        `aside` is how many more it came by, by pool, and set aside: a look that ended with them did not see the rest.

        Returns:
            Whether it took so long that it is worth finding out what it walked over.
        """
        now = monotonic()
        took, count = now - began, sum(map(len, claimed.values()))
        self._looked_at = began
        self._reached = {
            pool: (jobs[-1].priority if jobs else PRIORITIES.start)
            if len(jobs) + (aside or {}).get(pool, 0) >= wanted[pool]
            else PRIORITIES.stop
            for pool, jobs in claimed.items()
        }
        looked_before = self._renew(next((jobs[0].attempted_at - LAG for jobs in claimed.values() if jobs), None))
        for pool, jobs in claimed.items():
            self._put_claimed(pool, jobs)
        is_slow = took > SLOW + SLOW_JOB * count
        if looked_before:
            self._round_took += took
            return False  # it was slow because it passed over marks; they hold again
        if is_slow:
            self._round_took = max(self._round_took, took)
        return is_slow and now >= self._find_again_at

    def seen_ago(self) -> float:
        """Say how many seconds ago the look noted last saw everything, except for what was committed late."""
        return monotonic() - self._looked_at + LAG.total_seconds()

    def found(self, walked: Walked, began: float) -> None:
        """Take note of what the look noted last has walked over, as the database was asked since `began`."""
        self._renew(walked.until)
        for pool, priority, jobs in walked.places:
            if priority < self._reached[pool]:
                self._put(pool, Mark(priority, walked.until, 0), max(jobs, self._saves(pool, priority)))
        now = monotonic()
        self._find_again_at = now + SHARE * (now - began)

    def clear(self) -> None:
        """Forget every mark: it may be another server from now on."""
        self._places.clear()
        self._round_took = 0.0

    def _renew(self, until: datetime | None) -> bool:
        """Let the marks hold that the last look has come by, and say whether it has looked before one of them.

        They move to `until`, where that is known: everything before was seen.
        """
        looked_before = False
        for pool, reached in self._reached.items():
            for priority, place in self._places.get(pool, {}).items():
                if priority < reached:
                    looked_before |= place.round != self._round
                    place.round = self._round
                    place.mark = place.mark if until is None else Mark(priority, until, 0)
        return looked_before

    def _put_claimed(self, pool: str, jobs: Sequence[Claimed]) -> None:
        for priority, count in Counter(job.priority for job in jobs).items():
            newest = Mark(priority, jobs[-1].attempted_at - LAG, 0)
            # What comes after the last job of a look that got all it wanted was not seen.
            mark = newest if priority < self._reached[pool] else min(newest, _place_of(jobs[-1]))
            self._put(pool, mark, count + self._saves(pool, priority))

    def _put(self, pool: str, mark: Mark, saves: int) -> None:
        places = self._places.setdefault(pool, {})
        places[mark.priority] = _Place(mark, self._round, saves)
        if len(places) > MAX_MARKS:
            del places[min(places, key=lambda priority: (places[priority].saves, -priority))]

    def _saves(self, pool: str, priority: int) -> int:
        place = self._places.get(pool, {}).get(priority)
        return 0 if place is None else place.saves


def _place_of(job: Claimed) -> Mark:
    return Mark(job.priority, job.scheduled_at, job.id)
