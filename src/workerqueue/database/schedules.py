"""The statements of schedules: one method per statement, named as its file."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

from workerqueue.database.caller import Connection
from workerqueue.database.driver_errors import in_our_words
from workerqueue.database.rows import StoredSchedule
from workerqueue.database.statements import CALL_TIMEOUT, statement

SCHEDULED: Final = "\tschedules"
"""What is said on the channel when schedules were changed; no pool is named like that."""


class ScheduleTable:
    """The statements over `schedule` in one schema."""

    def __init__(self, schema: str, channel: str) -> None:
        self._schema = schema
        self._channel = channel

    async def list_schedules(
        self, connection: Connection, names: Collection[str] | None = None
    ) -> list[StoredSchedule]:
        """List some schedules, or all."""
        with in_our_words(self._schema):
            rows = await connection.fetch(
                statement("list_schedules", self._schema), None if names is None else list(names), timeout=CALL_TIMEOUT
            )
        return [StoredSchedule._make(row) for row in rows]

    async def now(self, connection: Connection) -> datetime:
        """Tell the time by the database's clock."""
        with in_our_words(self._schema):
            at: datetime = await connection.fetchval(statement("now", self._schema), timeout=CALL_TIMEOUT)
        return at

    async def set_schedule(self, connection: Connection, name: str, definition: str, next_at: datetime | None) -> bool:
        """Register a schedule, or change one; say whether anything changed."""
        with in_our_words(self._schema):
            rows = await connection.fetch(
                statement("set_schedule", self._schema),
                name,
                definition,
                next_at,
                self._channel,
                SCHEDULED,
                timeout=CALL_TIMEOUT,
            )
        return bool(rows[0]["changed"])

    async def advance_schedule(
        self, connection: Connection, name: str, over: datetime, next_at: datetime | None, error: str | None
    ) -> bool:
        """Move a schedule on from a time that is over; say whether nobody else did before."""
        with in_our_words(self._schema):
            rows = await connection.fetch(
                statement("advance_schedule", self._schema), name, over, next_at, error, timeout=CALL_TIMEOUT
            )
        return bool(rows)

    async def pause_schedule(self, connection: Connection, name: str, next_at: datetime | None) -> bool:
        """Pause a schedule, or let it go on from a time; say whether it is there."""
        with in_our_words(self._schema):
            rows = await connection.fetch(
                statement("pause_schedule", self._schema),
                name,
                next_at,
                self._channel,
                SCHEDULED,
                timeout=CALL_TIMEOUT,
            )
        return bool(rows)

    async def delete_schedule(self, connection: Connection, name: str) -> bool:
        """Delete a schedule; say whether it was there."""
        with in_our_words(self._schema):
            rows = await connection.fetch(statement("delete_schedule", self._schema), name, timeout=CALL_TIMEOUT)
        return bool(rows)
