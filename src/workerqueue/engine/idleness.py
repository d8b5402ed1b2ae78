"""Whether inserters are to tell this client of new jobs: only while few come.

A notification wakes an idle client in about a millisecond, and costs every transaction that sends one a lock that
all of them share until they commit (20 inserters: 20,073 inserts/s without, 6,487 with). So a client says in a table
that it is idle, and inserts notify only while somebody is. Under load nobody is, and nobody notifies; nor where a
notification would not arrive.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Final

from workerqueue.database import Connection, Database

BUSY_PACE: Final = 2_000.0
"""Jobs a second above which a client looks by itself and is told no more."""
QUIET_PACE: Final = 500.0
"""Jobs a second below which it wants to be told again."""
WINDOW: Final = 0.05
"""Seconds over which the pace is measured."""
LASTS: Final = 30.0
"""Seconds that a mark holds; one that is left behind by a crash costs a notification an insert for so long."""


class Idleness:
    """The idle marks of one client's pools."""

    def __init__(self, database: Database, client: str, pools: Sequence[str]) -> None:
        self._database = database
        self._client = client
        self._pools = list(pools)
        self._marked_until = 0.0
        self._pace = 0.0
        self._count = 0
        self._began = monotonic()

    def change_pools(self, pools: Sequence[str]) -> None:
        """Be told of these pools from now on."""
        if set(pools) - set(self._pools):
            self._marked_until = 0.0
        self._pools = list(pools)

    @property
    def is_busy(self) -> bool:
        """Whether so many jobs come that looking for them costs less than being told."""
        self._measure()
        return self._pace > QUIET_PACE

    def forget(self) -> None:
        """Mark again when it is time: the connection was lost, and perhaps the server with the marks."""
        self._marked_until = 0.0

    async def settle(self, connection: Connection) -> bool:
        """Mark the pools as idle if they are not; say whether that was done, since then one more look is due."""
        if not self._database.hears:
            await self.end(connection)
            return False
        if self.is_busy or monotonic() < self._marked_until:
            return False
        is_new = self._marked_until == 0.0
        await self._database.jobs.mark_idle(connection, client=self._client, pools=self._pools, seconds=LASTS)
        self._marked_until = monotonic() + LASTS / 2
        return is_new

    async def claimed(self, connection: Connection, count: int) -> None:
        """Take note of claimed jobs; many of them end the marks."""
        self._count += count
        self._measure()
        if self._marked_until and self._pace > BUSY_PACE:
            await self.end(connection)

    async def end(self, connection: Connection) -> None:
        """Be told no more."""
        if self._marked_until:
            self._marked_until = 0.0
            await self._database.jobs.unmark_idle(connection, client=self._client)

    def _measure(self) -> None:
        now = monotonic()
        elapsed = now - self._began
        if elapsed >= WINDOW:
            self._pace = (self._pace + self._count / elapsed) / 2
            self._count, self._began = 0, now
