"""Frees jobs that run nowhere: their client's row is missing, or has ended without them.

A heartbeat calls for a rescue only when it sees a client overdue; what was stranded otherwise nobody looks for.
"""

from __future__ import annotations

import logging
from typing import Final

from workerqueue.database import Database

_log = logging.getLogger("workerqueue.maintenance")

EVERY: Final = 60.0
"""Seconds."""


async def free_stranded_jobs(database: Database, lease_ttl: float) -> None:
    """Free them, and those of clients that are dead and that no other has seen."""
    async with database.acquire() as connection:
        rescued = await database.jobs.rescue_jobs(connection, lease_ttl)
    if rescued.returned or rescued.discarded:
        _log.warning(
            "Freed %d stranded jobs, and discarded %d that had no attempt left", rescued.returned, rescued.discarded
        )
