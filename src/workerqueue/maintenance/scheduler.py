"""Makes jobs available when their time has come: those scheduled for later, and those that wait to be retried."""

from __future__ import annotations

from typing import Final

import anyio

from workerqueue.database import Database, keep_trying

BATCH: Final = 1_000
SHORTEST_PAUSE: Final = 0.05
"""Seconds; what is due and not taken is being taken by another client."""


async def promote_due_jobs(database: Database, poll_interval: float) -> None:
    """Promote due jobs for ever; any number of clients may do it at once.

    It sleeps until the next job it knows of falls due, at most the poll interval: a nearer one may be inserted.
    """

    async def while_connected() -> None:
        async with database.dedicated() as connection:
            while True:
                promoted, due = await database.jobs.promote_due_jobs(connection, BATCH)
                if promoted == BATCH:
                    continue
                pause = poll_interval if due is None else min(due, poll_interval)
                await anyio.sleep(max(pause, SHORTEST_PAUSE))

    await keep_trying("scheduler", while_connected)
