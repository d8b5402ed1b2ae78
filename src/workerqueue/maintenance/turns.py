"""Sees to dynamic queues that stand still: whoever ended their last job went before the next one had its turn."""

from __future__ import annotations

from typing import Final

from workerqueue.database import Database, let_others_run

EVERY: Final = 2.0
"""Seconds."""
LIMIT: Final = 1_000
"""Queues seen to at once."""


async def see_to_stranded_turns(database: Database) -> None:
    """Let the next jobs of such queues run, until there is none."""
    async with database.acquire() as connection:
        queues = await database.jobs.list_turns(connection, LIMIT)
        await let_others_run(database, connection, queues)
