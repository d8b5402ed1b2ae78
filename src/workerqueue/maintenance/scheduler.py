"""Makes jobs available when their time has come: those scheduled for later, and those that wait to be retried."""

from __future__ import annotations

from typing import Final

from workerqueue.database import Connection, Database
from workerqueue.maintenance.leader import Leader

BATCH: Final = 1_000
SHORTEST_PAUSE: Final = 0.05
"""Seconds; what is due and not taken is being taken by another client."""
LONGEST_PAUSE: Final = 5.0
"""Seconds between two looks of a client that doesn't lead: nothing waits longer when the leader has died."""


async def promote_due_jobs(
    database: Database, leader: Leader, poll_interval: float, connection: Connection
) -> tuple[float, bool]:
    """Promote due jobs once; any number of clients may do it at once.

    Who leads looks again when the next job it knows of falls due, at most after the poll interval, since a nearer one
    may be inserted. Who doesn't lead looks rarely.

    Returns:
        In how many seconds to look again, and whether any dynamic queue has a turn that could stand still.
    """
    promoted, due, has_turns = await database.jobs.promote_due_jobs(connection, BATCH)
    if promoted == BATCH:
        return 0.0, has_turns
    if not leader.is_leading:
        return LONGEST_PAUSE, has_turns
    return max(poll_interval if due is None else min(due, poll_interval), SHORTEST_PAUSE), has_turns
