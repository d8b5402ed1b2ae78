"""Adds up the counts of ended jobs, so that to read them costs the same however many there are."""

from __future__ import annotations

from typing import Final

from workerqueue.database import Connection, Database

EVERY: Final = 20.0
"""Seconds."""
LIMIT: Final = 10_000
TIMEOUT: Final = 10.0


async def fold_tally(database: Database, connection: Connection) -> None:
    """Add them up, until what is left is about one for each queue and state."""
    folded = LIMIT
    while folded == LIMIT:
        folded = await database.chores.fold_tally(connection, LIMIT, timeout=TIMEOUT)
