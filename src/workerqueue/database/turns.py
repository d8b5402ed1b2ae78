"""Sees to the next jobs of dynamic queues for whoever will not run them: a rescue, a release, a sweep."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from workerqueue.database.caller import Connection
from workerqueue.database.connection import Database

TRIES: Final = 5
"""Looks at a queue that others change at the same moment; what still stands then is found by the sweep."""


async def let_others_run(database: Database, connection: Connection, queues: Collection[str]) -> None:
    """Make the next jobs of these dynamic queues available."""
    for _ in range(TRIES):
        if not queues:
            return
        queues = (await database.jobs.hand_over(connection, queues)).again
