"""Claims whose answer was lost: what they took is put back, since nobody else would know of it."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Final

from workerqueue.database import Connection, Database, let_others_run

_log = logging.getLogger("workerqueue.engine")

LATE_COMMIT: Final = 60.0
"""Seconds after which the server is no longer at a claim whose connection was lost."""


class Unanswered:
    """The leases of such claims, and when their answers were lost."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._leases: dict[int, float] = {}
        self._look_at = 0.0

    def add(self, lease: int) -> None:
        """Take note of a claim that may have committed unheard."""
        self._leases[lease] = monotonic()

    def look_again(self) -> None:
        """Look at once: there is a connection again."""
        self._look_at = 0.0

    async def release(self, connection: Connection) -> None:
        """Put back what these claims took.

        A claim may commit after its connection was lost, so what is not found is looked for again, less and less often.
        """
        now = monotonic()
        if not self._leases or now < self._look_at:
            return
        for lease, lost_at in [*self._leases.items()]:
            released, turns = await self._database.jobs.release_claim(connection, lease)
            await let_others_run(self._database, connection, turns)
            if released:
                _log.warning("Released %d jobs of a claim whose answer was lost", released)
            if released or now - lost_at > LATE_COMMIT:
                del self._leases[lease]
        self._look_at = now + max(1.0, now - min(self._leases.values(), default=now))
