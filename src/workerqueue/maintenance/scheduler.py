"""Makes jobs available when their time has come: those scheduled for later, and those that wait to be retried."""

from __future__ import annotations

from typing import Final

import anyio

from workerqueue.database import Database, keep_trying
from workerqueue.maintenance.leader import Leader

BATCH: Final = 1_000
SHORTEST_PAUSE: Final = 0.05
"""Seconds; what is due and not taken is being taken by another client."""
LONGEST_PAUSE: Final = 5.0
"""Seconds between two looks of a client that doesn't lead: nothing waits longer when the leader has died."""


async def promote_due_jobs(database: Database, leader: Leader, poll_interval: float) -> None:
    """Promote due jobs for ever; any number of clients may do it at once, and those that don't lead do it rarely.

    The leader sleeps until the next job it knows of falls due, at most the poll interval: a nearer one may be
    inserted.
    """

    async def while_connected() -> None:
        async with database.dedicated() as connection:
            while True:
                promoted, due = await database.jobs.promote_due_jobs(connection, BATCH)
                if promoted == BATCH:
                    continue
                if leader.is_leading:
                    pause = poll_interval if due is None else min(due, poll_interval)
                    await anyio.sleep(max(pause, SHORTEST_PAUSE))
                else:
                    with anyio.move_on_after(LONGEST_PAUSE):
                        await leader.wait()

    await keep_trying("scheduler", while_connected)
