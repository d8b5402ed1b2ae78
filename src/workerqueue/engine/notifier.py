"""Passes the database's hints on to the producer; a lost hint costs a poll interval, never a job."""

from __future__ import annotations

from collections.abc import Callable

from workerqueue.database import Database, keep_trying


async def pass_on_hints(database: Database, on_hint: Callable[[str | None], None]) -> None:
    """Listen for ever, through every loss of the connection."""
    await keep_trying("notifier", lambda: database.listen(on_hint))
