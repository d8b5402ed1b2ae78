"""Frees jobs that run nowhere: their client's row is missing, or has ended without them.

A heartbeat calls for a rescue only when it sees a client overdue; what was stranded otherwise nobody looks for.
"""

from __future__ import annotations

import logging
from typing import Final

from workerqueue.database import Database, let_others_run

_log = logging.getLogger("workerqueue.maintenance")

EVERY: Final = 60.0
"""Seconds."""
LONG_DEAD: Final = 86_400.0
"""Seconds: who died lately is the heartbeats' to judge, as they know whether the database was away for all."""


async def free_stranded_jobs(database: Database, lease_ttl: float) -> None:
    """Free them, and those of clients that have been dead for long and that no heartbeat has judged."""
    async with database.acquire() as connection:
        rescued = await database.jobs.rescue_jobs(connection, max(lease_ttl, LONG_DEAD))
        await let_others_run(database, connection, rescued.turns)
    if rescued.returned or rescued.discarded:
        _log.warning(
            "Freed %d stranded jobs, and discarded %d that had no attempt left",
            rescued.returned,
            rescued.discarded,
        )
