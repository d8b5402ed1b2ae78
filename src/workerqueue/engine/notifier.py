"""Passes the database's hints on to the producer; a lost hint costs a poll interval, never a job.

Where notifications are not delivered, as through a pooler in transaction mode, polling alone finds the jobs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import anyio

from workerqueue.database import Database, keep_trying

_log = logging.getLogger("workerqueue.engine")

TRY_AGAIN: Final = 60.0
"""Seconds until listening is tried again where it was in vain."""


async def pass_on_hints(database: Database, on_hint: Callable[[str | None], None]) -> None:
    """Listen for ever, through every loss of the connection."""
    told = False

    def pass_on(pool: str | None) -> None:
        nonlocal told
        if told:
            told = False
            _log.info("Notifications arrive again")
        on_hint(pool)

    async def listen() -> None:
        nonlocal told
        while True:
            await database.listen(pass_on)
            if not told:
                told = True
                _log.warning(
                    "Notifications don't arrive here, as through a pooler in transaction mode: jobs are found by "
                    "polling alone; to start them at once, give the worker a direct URL for listening"
                )
            await anyio.sleep(TRY_AGAIN)

    await keep_trying("notifier", listen)
