"""Forgets clients that ended long ago: every start of a process leaves a row."""

from __future__ import annotations

import logging
from typing import Final

from workerqueue.database import Database
from workerqueue.maintenance.limited import ANSWER, limited

_log = logging.getLogger("workerqueue.maintenance")

EVERY: Final = 3600.0
"""Seconds."""
OLDER_THAN: Final = 7 * 86_400.0
"""Seconds: who looks into an incident of last week finds who worked then."""
BATCH: Final = 1_000
"""A turn: what is not forgotten now is forgotten in an hour."""
TIMEOUT: Final = 60.0
"""Seconds: it may read the whole history."""


async def prune_clients(database: Database) -> None:
    """Forget those whom no job names any more."""
    async with limited(database, TIMEOUT) as connection:
        pruned = await database.chores.prune_clients(connection, OLDER_THAN, BATCH, timeout=TIMEOUT + ANSWER)
    if pruned:
        _log.info("Forgot %d clients that ended long ago", pruned)
