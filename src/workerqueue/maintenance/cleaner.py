"""Deletes finalized jobs by age and by number, and drops whole days once all that is in them may go.

No index leads to what is past its retention, since one would cost every completion: a day's table is read page by
page, and not again before something in it can be due.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Final, NamedTuple

import anyio

from workerqueue.database import Database, Day, Deleted
from workerqueue.errors import DatabaseError, DatabaseUnavailableError, SchemaError
from workerqueue.maintenance.batch import Batch
from workerqueue.maintenance.leader import Leader
from workerqueue.maintenance.limited import ANSWER, limited
from workerqueue.maintenance.retention import Retention

_log = logging.getLogger("workerqueue.maintenance")

EVERY: Final = 60.0
"""Seconds."""
PAGES: Final = 512
"""Read at once (4 MB, some 20,000 jobs), at most."""
BATCH: Final = 10_000
"""Deleted at once, at most."""
TIMEOUT: Final = 5.0
"""Seconds that one statement may take; after that it takes on less."""
TRIM_TIMEOUT: Final = 30.0
"""Seconds: it reads the history of the queues that keep a number of jobs."""
SHARE: Final = 50
"""A table that took a second to read is not read again for so many."""
QUIET: Final = 3600.0
"""Seconds after a day's end in which a statement that began before it may still write to its table."""


class Walk(NamedTuple):
    """What a walk over one table has come to."""

    deleted: Counter[tuple[str, str]]
    """By queue and state."""
    remaining: int
    next_due: float
    """In how many seconds something may be past its retention there."""


class Cleaner:
    """Cleans again and again, and remembers where nothing can be due yet.

    Args:
        database: Where the jobs are.
        retention: What to keep.
        leader: Whether to go on.
    """

    def __init__(self, database: Database, retention: Retention, leader: Leader) -> None:
        self._database = database
        self._retention = retention
        self._leader = leader
        self.pages = Batch(PAGES, PAGES)
        self._trimmed = Batch(BATCH, BATCH)
        self._due: dict[str, float] = {}
        self._trim_due = 0.0

    async def clean(self) -> None:
        """Clean once."""
        await _note_ends(self._database)
        deleted = await self._trim()
        days = await _days(self._database)
        for day in days:
            if self._leader.is_leading:
                deleted += await self._clean_day(day)
        names = {day.name for day in days}
        self._due = {name: due for name, due in self._due.items() if name in names}
        if deleted:
            _log.info("Deleted %d finalized jobs whose retention has ended", deleted)

    async def _trim(self) -> int:
        """Delete by number."""
        if self._retention.counts is None or self._trim_due > monotonic():
            return 0
        total = 0
        while self._leader.is_leading:
            limit, started = self._trimmed.size, monotonic()
            try:
                async with limited(self._database, TRIM_TIMEOUT) as connection:
                    deleted = await self._database.chores.trim_finalized(
                        connection, self._retention.counts, limit, timeout=TRIM_TIMEOUT + ANSWER
                    )
            except DatabaseUnavailableError:
                if not self._trimmed.shrink():
                    raise
                continue
            self._trimmed.grow()
            total += deleted
            if deleted < limit:
                self._trim_due = monotonic() + SHARE * (monotonic() - started)
                break
        return total

    async def _clean_day(self, day: Day) -> int:
        """Delete by age, in one day's table."""
        ended_ago = -1.0 if day.ended_ago is None else day.ended_ago
        if ended_ago > self._retention.longest + QUIET:
            await self._drop(day)
            return 0
        if self._due.get(day.name, 0.0) > monotonic():
            return 0
        started = monotonic()
        walk = await walk_day(
            self._database, day, self._retention.ages, self.pages, go_on=lambda: self._leader.is_leading
        )
        # What is written there from now on is kept for the shortest time at least.
        next_due = walk.next_due if ended_ago > QUIET else min(walk.next_due, self._retention.shortest)
        self._due[day.name] = monotonic() + max(next_due, SHARE * (monotonic() - started))
        if ended_ago > QUIET and not walk.remaining and self._leader.is_leading:
            await self._drop(day)
        return walk.deleted.total()

    async def _drop(self, day: Day) -> None:
        try:
            async with self._database.acquire() as connection:
                await self._database.chores.drop_day(connection, day.name, timeout=TIMEOUT)
        except DatabaseUnavailableError:
            raise
        except DatabaseError as error:  # somebody reads the history; it is tried again in the next round
            _log.debug("%s was not dropped: %s", day.name, error)


async def clean(database: Database, rules: Retention, limit: int | None) -> Counter[tuple[str, str]]:
    """Delete what the rules let go, at most `limit`, and say how many of each queue and state."""
    await _note_ends(database)
    deleted: Counter[tuple[str, str]] = Counter()
    pages = Batch(PAGES, PAGES)
    for day in await _days(database):
        left = None if limit is None else limit - deleted.total()
        deleted += (await walk_day(database, day, rules.ages, pages, limit=left)).deleted
    return deleted


async def walk_day(
    database: Database,
    day: Day,
    ages: str,
    pages: Batch,
    *,
    limit: int | None = None,
    go_on: Callable[[], bool] = lambda: True,
) -> Walk:
    """Delete from one day's table, some pages at a time, and rest as long as each took."""
    deleted: Counter[tuple[str, str]] = Counter()
    remaining, next_due, page = 0, float("inf"), 0
    while page < day.pages and (limit is None or deleted.total() < limit):
        if not go_on():
            return Walk(deleted, remaining + 1, 0.0)
        step = range(page, min(page + pages.size, day.pages))
        most = BATCH if limit is None else min(limit - deleted.total(), BATCH)
        started = monotonic()
        try:
            found = await _look(database, day.name, step, ages, most)
        except SchemaError:  # another leader has dropped it
            break
        except DatabaseUnavailableError:
            if not pages.shrink():
                raise
            continue
        pages.grow()
        for queue, state, jobs in found.jobs:
            deleted[queue, state] += jobs
        if found.overdue and found.jobs and (limit is None or deleted.total() < limit):
            continue  # there were more than one statement deletes
        remaining += found.remaining
        next_due = min(next_due, 0.0 if found.overdue else float("inf") if found.next_due is None else found.next_due)
        page = step.stop
        await anyio.sleep(monotonic() - started)
    return Walk(deleted, remaining, next_due)


async def _note_ends(database: Database) -> None:
    """Note until when jobs keep their keys whose history may be deleted now."""
    async with limited(database, TIMEOUT) as connection:
        await database.keys.note_ends(connection, timeout=TIMEOUT + ANSWER)


async def _days(database: Database) -> list[Day]:
    async with database.acquire() as connection:
        return await database.chores.list_days(connection, timeout=TIMEOUT)


async def _look(database: Database, table: str, pages: range, ages: str, limit: int) -> Deleted:
    async with limited(database, TIMEOUT) as connection:
        return await database.chores.delete_finalized(connection, table, pages, ages, limit, timeout=TIMEOUT + ANSWER)
