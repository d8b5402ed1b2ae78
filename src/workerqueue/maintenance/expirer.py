"""Forgets values that have expired, and leases that nobody has held for a day."""

from __future__ import annotations

from typing import Final

from workerqueue.database import Database
from workerqueue.maintenance.limited import ANSWER, limited

EVERY: Final = 60.0
"""Seconds."""
LIMIT: Final = 1_000
"""Of one statement."""
TIMEOUT: Final = 10.0


async def expire_values(database: Database) -> None:
    """Forget them, until there are fewer than one statement's."""
    forgotten = LIMIT
    while forgotten >= LIMIT:
        async with limited(database, TIMEOUT) as connection:
            forgotten = await database.state.expire_values(connection, LIMIT, timeout=TIMEOUT + ANSWER)
