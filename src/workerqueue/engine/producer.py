"""Claims jobs for the pools that have free slots."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from time import monotonic
from typing import Final

import anyio

from workerqueue.database import Claimed, Connection, Database, keep_trying
from workerqueue.engine.idleness import Idleness
from workerqueue.engine.marks import Marks
from workerqueue.engine.presence import Presence
from workerqueue.engine.slots import Slots

_log = logging.getLogger("workerqueue.engine")

JITTER: Final = 0.1
MAX_CLAIM: Final = 1_000
BUSY_PAUSE: Final = 0.002
"""Seconds between two looks while many jobs come and nobody is told of them."""
SECOND_LOOK: Final = 0.05
"""Seconds from a look that found nothing of what was hinted at to one before the marks."""

LATE_COMMIT: Final = 60.0
"""Seconds after which the server is no longer at a claim whose connection was lost."""


class Producer:
    """Asks the database for work when a pool has room and may have ready jobs; `give_back` releases a claimed job.

    A pool may have ready jobs after a hint, after a claim that gave all it asked for, and each time the poll
    interval has passed; so a hint that is lost costs at most that interval.
    """

    def __init__(
        self,
        database: Database,
        pools: Mapping[str, Slots],
        kinds: Sequence[str],
        client: str,
        presence: Presence,
        give_back: Callable[[Claimed], None],
        *,
        poll_interval: float,
        concurrency: int | None,
    ) -> None:
        self._database = database
        self._pools = pools
        self._kinds = list(kinds)
        self._client = client
        self._presence = presence
        self._give_back = give_back
        self._poll_interval = poll_interval
        self._concurrency = concurrency
        self._may_have_work: set[str] = set(pools)
        self._hinted: set[str] = set()
        self._changed = asyncio.Event()
        self._stopping = False
        self._stopped = asyncio.Event()
        self._claiming = False
        self._marks = Marks(poll_interval)
        self._idle = Idleness(database, client, list(pools))
        self._unanswered: dict[int, float] = {}
        """The leases of claims whose answer was lost, and when."""
        self._release_at = 0.0

    def hint(self, pool: str | None) -> None:
        """Note that a pool may have ready jobs; `None` means any."""
        if pool is None:
            self._may_have_work.update(self._pools)
            self._marks.ask()
        elif pool in self._pools:
            self._may_have_work.add(pool)
            self._hinted.add(pool)
        else:
            return
        self._changed.set()

    def slot_freed(self, pool: str) -> None:
        """Note that a pool has a free slot."""
        if pool in self._may_have_work and self._pools[pool].is_low:
            self._changed.set()

    @property
    def is_dry(self) -> bool:
        """Whether the last look at every pool found nothing more to claim."""
        return not self._may_have_work and not self._claiming

    async def stop(self) -> None:
        """Claim no more; a claim under way is finished first, so that none of its rows is stranded."""
        self._stopping = True
        self._changed.set()
        await self._stopped.wait()

    async def run(self) -> None:
        """Claim until stopped, through every loss of the connection."""
        try:
            await keep_trying("producer", self._claim_while_connected)
        finally:
            self._stopped.set()

    async def _claim_while_connected(self) -> None:
        if self._stopping:
            return
        async with self._database.dedicated(durable=False) as connection:
            self._marks.clear()
            self.hint(None)
            self._release_at = 0.0
            self._idle.forget()
            while not self._stopping:
                self._changed.clear()
                await self._release_unanswered(connection)
                self._give_back_overdue()
                if wanted := self._wanted():
                    await self._claim(connection, await self._presence.number(connection), wanted)
                else:
                    await self._rest(connection)
            await self._idle.end(connection)

    def _give_back_overdue(self) -> None:
        for slots in self._pools.values():
            for job in slots.take_back_overdue():
                self._give_back(job)

    async def _release_unanswered(self, connection: Connection) -> None:
        """Put back what was claimed by a claim whose answer never came: nobody else would know of it.

        A claim may commit after its connection was lost, so what is not found is looked for again, less and less often.
        """
        now = monotonic()
        if not self._unanswered or now < self._release_at:
            return
        for lease, lost_at in [*self._unanswered.items()]:
            released = await self._database.jobs.release_claim(connection, lease)
            if released:
                _log.warning("Released %d jobs of a claim whose answer was lost", released)
            if released or now - lost_at > LATE_COMMIT:
                del self._unanswered[lease]
        self._release_at = now + max(1.0, now - min(self._unanswered.values(), default=now))

    def _wanted(self) -> dict[str, int]:
        """Say how many jobs to ask for, by pool: free slots, within the cap on the whole process."""
        room = MAX_CLAIM if self._concurrency is None else self._concurrency - self._in_hand()
        wanted: dict[str, int] = {}
        # In random order, so that under a cap no pool is always served first.
        for name in random.sample(sorted(self._may_have_work), len(self._may_have_work)):
            count = min(self._pools[name].wanted(), room)
            if count > 0:
                wanted[name] = count
                room -= count
        return wanted

    def _in_hand(self) -> int:
        return sum(slots.in_hand for slots in self._pools.values())

    async def _claim(self, connection: Connection, number: int, wanted: Mapping[str, int]) -> None:
        # A hint that comes while the claim is under way may be about a job the claim no longer saw.
        self._may_have_work.difference_update(wanted)
        hinted = self._hinted & wanted.keys()
        self._hinted -= hinted
        self._claiming = True
        lease, marks, began = secrets.randbits(63), self._marks.current(), monotonic()
        try:
            claimed = await self._database.jobs.claim_jobs(
                connection,
                lease=lease,
                client=self._client,
                number=number,
                wanted=wanted,
                kinds=self._kinds,
                marks=marks,
            )
        except BaseException:
            self._unanswered[lease] = monotonic()
            self._may_have_work.update(wanted)
            raise
        finally:
            self._claiming = False
        by_pool: dict[str, list[Claimed]] = {name: [] for name in wanted}
        for job in claimed:
            by_pool[job.pool].append(job)
        for name, jobs in by_pool.items():
            self._pools[name].hand(jobs)
            if len(jobs) == wanted[name]:
                self._may_have_work.add(name)
        # Only now: a connection lost here must not lose what was claimed.
        await self._idle.claimed(connection, len(claimed))
        if not all(by_pool[name] for name in hinted):
            self._marks.ask()  # what was hinted at may lie before them
        if self._marks.note(wanted, by_pool, began):
            await self._find_marks(connection, wanted)

    async def _find_marks(self, connection: Connection, pools: Collection[str]) -> None:
        """Ask what the last look has walked over."""
        began, seen_ago = monotonic(), self._marks.seen_ago()
        self._marks.found(await self._database.jobs.find_marks(connection, pools=pools, seen_ago=seen_ago), began)

    async def _rest(self, connection: Connection) -> None:
        """Wait for a hint, a free slot or the poll interval; be told of new jobs only while there are few."""
        if not self._may_have_work and await self._idle.settle(connection):
            self.hint(None)  # what was inserted before the mark was seen notified nobody
            return
        if self._idle.is_busy and not self._may_have_work:
            with anyio.move_on_after(BUSY_PAUSE):
                await self._changed.wait()
            self._may_have_work.update(self._pools)
            return
        pause = self._poll_interval * (1 - random.uniform(0, JITTER))  # noqa: S311 - jitter, not a secret
        if not self._may_have_work:
            pause = min(pause, max(self._marks.due_in(), SECOND_LOOK))
        with anyio.move_on_after(pause) as waiting:
            await self._changed.wait()
        if waiting.cancelled_caught:
            self.hint(None)
