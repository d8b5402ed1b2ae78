"""The statements of leadership and of the chores: one method per statement, named as its file."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final, NamedTuple, cast

from workerqueue.database.caller import Connection
from workerqueue.database.driver_errors import in_our_words
from workerqueue.database.statements import statement

_PLAIN_NAME: Final = re.compile(r"[a-z0-9_]+")

RESIGNED: Final = "\tleader"
"""What is said on the channel when a leader resigns; no pool is named like that."""


class Election(NamedTuple):
    """How a try to lead went."""

    term: int | None
    """The term in which this client leads, if it does."""
    free_in: float | None
    """In how many seconds the term runs out that was under way before, if there was one."""


class Day(NamedTuple):
    """A table of finalized jobs."""

    name: str
    pages: int
    ended_ago: float | None
    """Seconds since its day ended; none for the table of what has no day."""


class Deleted(NamedTuple):
    """What came of a look at some pages."""

    jobs: Sequence[tuple[str, str, int]]
    """Queue, state, and how many were deleted."""
    remaining: int
    """How many rows stay there."""
    overdue: int
    """How many of them should not: others hold them, or they were too many."""
    next_due: float | None
    """In how many seconds the next of the others is past its retention."""


class Index(NamedTuple):
    """An index of the live table, as it was when last vacuumed."""

    name: str
    pages: int
    entries: float
    is_valid: bool


class ChoreTable:
    """The statements that keep one schema in order; each ends within `timeout` seconds."""

    def __init__(self, schema: str, channel: str) -> None:
        self._schema = schema
        self._channel = channel

    async def elect_leader(self, connection: Connection, number: int, seconds: float, *, timeout: float) -> Election:
        """Take or keep the lead for so many seconds."""
        with in_our_words(self._schema):
            rows = await connection.fetch(statement("elect_leader", self._schema), number, seconds, timeout=timeout)
        return Election._make(rows[0])

    async def resign_leader(self, connection: Connection, number: int, *, timeout: float) -> None:
        """Give up the lead, if this client has it, and tell the others."""
        with in_our_words(self._schema):
            await connection.execute(
                statement("resign_leader", self._schema), number, self._channel, RESIGNED, timeout=timeout
            )

    async def limit_time(self, connection: Connection, seconds: float, *, timeout: float) -> None:
        """Have the server end what takes longer than so many seconds in this transaction."""
        with in_our_words(self._schema):
            await connection.execute(self._about("limit_time", milliseconds=f"{seconds * 1000:.0f}"), timeout=timeout)

    async def list_days(self, connection: Connection, *, timeout: float) -> list[Day]:
        """List the tables of finalized jobs."""
        with in_our_words(self._schema):
            rows = await connection.fetch(statement("list_days", self._schema), timeout=timeout)
        return [Day._make(row) for row in rows]

    async def delete_finalized(
        self, connection: Connection, table: str, pages: range, ages: str, limit: int, *, timeout: float
    ) -> Deleted:
        """Delete at most `limit` jobs past their retention from some pages of a day's table."""
        sql = self._about("delete_finalized", table=table)
        with in_our_words(self._schema):
            row = (await connection.fetch(sql, pages.start, pages.stop, ages, limit, timeout=timeout))[0]
        jobs = cast("list[tuple[str, str, int]]", json.loads(row["deleted"] or "[]"))
        return Deleted(jobs, *row[1:])

    async def trim_finalized(self, connection: Connection, counts: str, limit: int, *, timeout: float) -> int:
        """Delete at most `limit` jobs beyond the numbers to keep, and say how many."""
        with in_our_words(self._schema):
            rows = await connection.fetch(statement("trim_finalized", self._schema), counts, limit, timeout=timeout)
        deleted: int = rows[0]["deleted"]
        return deleted

    async def drop_day(self, connection: Connection, table: str, *, timeout: float) -> None:
        """Drop a day's table, with all that is in it; its name ends with the day."""
        with in_our_words(self._schema):
            await connection.execute(self._about("drop_day", table=table, day=table[-8:]), timeout=timeout)

    async def fold_tally(self, connection: Connection, limit: int, *, timeout: float) -> int:
        """Add up at most `limit` counts of ended jobs, and say how many there were."""
        with in_our_words(self._schema):
            rows = await connection.fetch(statement("fold_tally", self._schema), limit, timeout=timeout)
        folded: int = rows[0]["folded"]
        return folded

    async def prune_clients(self, connection: Connection, older_than: float, limit: int, *, timeout: float) -> int:
        """Forget at most `limit` clients that ended so many seconds ago and that no job names; say how many."""
        with in_our_words(self._schema):
            rows = await connection.fetch(statement("prune_clients", self._schema), older_than, limit, timeout=timeout)
        pruned: int = rows[0]["pruned"]
        return pruned

    async def list_indexes(self, connection: Connection, *, timeout: float) -> list[Index]:
        """List the indexes of the live table."""
        with in_our_words(self._schema):
            rows = await connection.fetch(statement("list_indexes", self._schema), timeout=timeout)
        return [Index._make(row) for row in rows]

    async def rebuild_index(self, connection: Connection, index: str, *, timeout: float) -> None:
        """Build an index of the live table anew."""
        with in_our_words(self._schema):
            await connection.execute(self._about("rebuild_index", index=index), timeout=timeout)

    async def drop_index(self, connection: Connection, index: str, *, timeout: float) -> None:
        """Drop an index."""
        with in_our_words(self._schema):
            await connection.execute(self._about("drop_index", index=index), timeout=timeout)

    def _about(self, name: str, **places: str) -> str:
        """Give a statement about a table or an index: a name is no parameter."""
        sql = statement(name, self._schema)
        for place, value in places.items():
            if not _PLAIN_NAME.fullmatch(value):  # they come from the catalog, by our own patterns
                raise ValueError(f"{place}: expected letters, digits and underscores, got {value!r}")
            sql = sql.replace(f"{{{place}}}", value)
        return sql
