"""Sees to dynamic queues that stand still: whoever ended their last job went before the next one had its turn."""

from __future__ import annotations

from typing import Final

from workerqueue.database import Connection, Database, let_others_run

EVERY: Final = 2.0
"""Seconds."""
LIMIT: Final = 1_000
"""Queues seen to at once."""


async def see_to_stranded_turns(database: Database, connection: Connection) -> None:
    """Let the next jobs of such queues run."""
    await let_others_run(database, connection, await database.jobs.list_turns(connection, LIMIT))
