"""Forgets the keys of jobs whose history is gone too."""

from __future__ import annotations

from typing import Final

from workerqueue.database import Database
from workerqueue.maintenance.limited import ANSWER, limited

EVERY: Final = 600.0
"""Seconds."""
LIMIT: Final = 1_000
"""Keys looked at by one statement."""
TIMEOUT: Final = 30.0


async def prune_keys(database: Database) -> None:
    """Forget those that are kept no longer, key by key."""
    after: str | None = ""
    while after is not None:
        async with limited(database, TIMEOUT) as connection:
            after = await database.keys.prune_keys(connection, after, LIMIT, timeout=TIMEOUT + ANSWER)
