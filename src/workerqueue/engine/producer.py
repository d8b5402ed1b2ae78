"""Claims jobs for the pools that have free slots."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic
from typing import Final

import anyio

from workerqueue.database import Claim, Claimant, Claimed, Connection, Database, keep_trying
from workerqueue.engine.choice import Ruled, RuledClaims, Wanted
from workerqueue.engine.idleness import Idleness
from workerqueue.engine.marks import Marks
from workerqueue.engine.presence import Presence
from workerqueue.engine.rules import Rules
from workerqueue.engine.slots import Slots
from workerqueue.engine.turns import Turns
from workerqueue.engine.unanswered import Unanswered

_log = logging.getLogger("workerqueue.engine")

JITTER: Final = 0.1
MAX_CLAIM: Final = 1_000
BUSY_PAUSE: Final = 0.002
"""Seconds between two looks while many jobs come and nobody is told of them."""
SECOND_LOOK: Final = 0.05
"""Seconds from a look that found nothing of what was hinted at to one before the marks."""
LEAST_PAUSE: Final = 0.005
"""Seconds until a pool is looked at again of which a rate lets nothing start now, at least."""


class Producer:
    """Asks the database for work when a pool has room and may have ready jobs; `give_back` releases a claimed job.

    A pool may have ready jobs after a hint, after a claim that gave all it asked for, and each time the poll
    interval has passed; so a hint that is lost costs at most that interval. A pool whose rules let nothing start waits
    for one of its jobs to end, or for its rate.
    """

    def __init__(
        self,
        database: Database,
        pools: dict[str, Slots],
        kinds: Sequence[str],
        rules: Rules,
        client: str,
        presence: Presence,
        give_back: Callable[[Claimed], None],
        open_pool: Callable[[str], Slots],
        *,
        poll_interval: float,
        concurrency: int | None,
    ) -> None:
        self._database = database
        self._pools = pools
        self._rules = rules
        self._presence = presence
        self._give_back = give_back
        self._open_pool = open_pool
        self._poll_interval = poll_interval
        self._concurrency = concurrency
        self._may_have_work: set[str] = set(pools)
        self._hinted: set[str] = set()
        self._held_until: dict[str, float] = {}
        """Pools that have jobs which their rules hold back, and until when at most."""
        self._written = 0
        self._changed = asyncio.Event()
        self._stopping = False
        self._stopped = asyncio.Event()
        self._claiming = False
        self._rules_changed = True
        self._marks = Marks(poll_interval)
        self._idle = Idleness(database, client, list(pools))
        self._unanswered = Unanswered(database)
        self._by_rules = RuledClaims(database, rules)
        self._claimant = Claimant(client, 0, list(pools), list(kinds), rules.limits, rules.strict)
        self.turns = Turns(database, self._taker, self._take, self._unanswered, self._changed.set)

    def hint(self, pool: str | None) -> None:
        """Note that a pool may have ready jobs; `None` means any."""
        if pool is None:
            self._may_have_work.update(self._rules.pools)
            self._held_until.clear()
            self._marks.ask()
        elif pool in self._claimant.pools:
            self._may_have_work.add(pool)
            self._hinted.add(pool)
        else:
            return
        self._changed.set()

    def change_rules(self) -> None:
        """Note that something was said of queues: read it before the next claim."""
        self._rules_changed = True
        self.hint(None)

    def slot_freed(self, pool: str) -> None:
        """Note that a pool has a free slot."""
        if pool in self._may_have_work and self._pools[pool].is_low:
            self._changed.set()

    def run_written(self) -> None:
        """Note that a run has ended, and that limits no longer count it."""
        self._written += 1
        if self._held_until:
            self._held_until.clear()
            self._changed.set()

    @property
    def is_dry(self) -> bool:
        """Whether the last look at every pool found nothing more to claim."""
        return not self._may_have_work and not self._claiming and not self.turns.waiting

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
            self._unanswered.look_again()
            self._idle.forget()
            self.change_rules()
            while not self._stopping:
                self._changed.clear()
                await self._read_changes(connection)
                await self._unanswered.release(connection)
                await self.turns.hand_over(connection)
                self._give_back_overdue()
                if wanted := self._wanted():
                    await self._claim(connection, await self._registered(connection), wanted)
                else:
                    await self._rest(connection)
            await self._idle.end(connection)

    async def _read_changes(self, connection: Connection) -> None:
        if not self._rules_changed:
            return
        self._rules_changed = False
        try:
            self._rules.change(await self._database.queues.list_changes(connection))
        except BaseException:
            self._rules_changed = True
            raise
        await self._change_pools(connection)
        for name in self._rules.pools:
            self._pools[name].max_workers = self._rules.max_workers(name)
        self._give_back_barred()
        self._claimant = self._claimant_of(self._claimant.number)

    async def _change_pools(self, connection: Connection) -> None:
        """Work the queues that were added, and those no more that were removed."""
        pools = self._rules.pools
        if pools == self._claimant.pools:
            return
        for name in pools:
            if name not in self._pools:
                self._pools[name] = self._open_pool(name)
        await self._presence.change_pools(connection, pools)
        self._idle.change_pools(pools)
        self._claimant = replace(self._claimant, pools=pools)
        self._may_have_work = set(pools)

    def _give_back_barred(self) -> None:
        """Release what has not been started of queues that were paused or removed."""
        worked = set(self._rules.pools)

        def is_barred(job: Claimed) -> bool:
            queues = (job.pool,) if job.queue is None else (job.pool, job.queue)
            return job.pool not in worked or self._rules.is_paused(*queues)

        for slots in self._pools.values():
            for job in slots.take_back(which=is_barred):
                self._give_back(job)

    async def _registered(self, connection: Connection) -> Claimant:
        """Give who claims, under the number that this client has now."""
        number = await self._presence.number(connection)
        if self._claimant.number != number:
            self._claimant = self._claimant_of(number)
        return self._claimant

    def _claimant_of(self, number: int) -> Claimant:
        return replace(
            self._claimant, number=number, plain_pools=self._rules.plain_pools, plain_kinds=self._rules.plain_kinds
        )

    def _taker(self, queues: int) -> Claimant | None:
        """Say who runs the next jobs of dynamic queues: this client, if it is registered and has room for them."""
        has_room = self._concurrency is None or self._in_hand() + queues <= self._concurrency
        is_registered = self._presence.registered == self._claimant.number
        return self._claimant if has_room and is_registered and not self._stopping else None

    def _take(self, run: Claimed) -> None:
        if self._stopping:
            self._give_back(run)
        else:
            self._pools[run.pool].hand([run])

    def _give_back_overdue(self) -> None:
        for slots in self._pools.values():
            for job in slots.take_back_overdue():
                self._give_back(job)

    def _wanted(self) -> dict[str, Wanted]:
        """Say how many jobs to ask for, by pool: free slots, within the cap on the whole process."""
        room = MAX_CLAIM if self._concurrency is None else self._concurrency - self._in_hand()
        now = monotonic()
        wanted: dict[str, Wanted] = {}
        # In random order, so that under a cap no pool is always served first.
        for name in random.sample(sorted(self._may_have_work), len(self._may_have_work)):
            if self._held_until.get(name, 0.0) > now:
                continue
            slots = self._pools[name]
            count = min(slots.wanted(), room)
            if count > 0:
                wanted[name] = Wanted(count, min(count, slots.free))
                room -= count
        return wanted

    def _in_hand(self) -> int:
        return sum(slots.in_hand for slots in self._pools.values())

    async def _claim(self, connection: Connection, claimant: Claimant, wanted: Mapping[str, Wanted]) -> None:
        # A hint that comes while the claim is under way may be about a job the claim no longer saw.
        self._may_have_work.difference_update(wanted)
        hinted = self._hinted & wanted.keys()
        self._hinted -= hinted
        chosen = {pool: room for pool, room in wanted.items() if self._rules.chooses(pool)}
        counted = {pool: room for pool, room in wanted.items() if pool not in chosen and self._rules.counts(pool)}
        plain = {pool: room.most for pool, room in wanted.items() if pool not in chosen and pool not in counted}
        self._claiming = True
        try:
            if plain:
                await self._claim_first(connection, claimant, plain, hinted)
            if counted:
                await self._claim_counted(connection, claimant, counted, hinted)
            for pool, room in chosen.items():
                await self._claim_chosen(connection, claimant, pool, room)
        except BaseException:
            self._may_have_work.update(wanted)
            raise
        finally:
            self._claiming = False

    async def _claim_first(
        self, connection: Connection, claimant: Claimant, wanted: Mapping[str, int], hinted: Collection[str]
    ) -> None:
        """Claim what comes first."""
        marks, began = self._marks.current(), monotonic()
        with self._leased() as lease:
            claim = await self._database.jobs.claim_jobs(connection, claimant, lease=lease, wanted=wanted, marks=marks)
        await self._took(connection, claim, wanted, began, hinted)

    async def _claim_counted(
        self, connection: Connection, claimant: Claimant, wanted: Mapping[str, Wanted], hinted: Collection[str]
    ) -> None:
        """Claim what comes first of pools that have a limit or a rate, as far as these leave room."""
        marks, began, written = self._marks.current(), monotonic(), self._written
        with self._leased() as lease:
            ruled = await self._by_rules.claim_first(connection, claimant, lease, wanted, marks)
        await self._took(connection, ruled.claim, ruled.asked, began, hinted)
        self._hold_back(ruled, written)

    async def _claim_chosen(self, connection: Connection, claimant: Claimant, pool: str, wanted: Wanted) -> None:
        """Claim what the rules choose among a pool's jobs."""
        written = self._written
        with self._leased() as lease:
            ruled = await self._by_rules.claim_chosen(connection, claimant, lease, pool, wanted)
        self._hand(ruled.claim, [pool])
        self._hold_back(ruled, written)
        await self._idle.claimed(connection, len(ruled.claim.jobs))

    @contextmanager
    def _leased(self) -> Generator[int]:
        """Draw a lease for a claim; one whose answer is lost is noted."""
        lease = secrets.randbits(63)
        try:
            yield lease
        except BaseException:
            self._unanswered.add(lease)
            raise

    async def _took(
        self, connection: Connection, claim: Claim, wanted: Mapping[str, int], began: float, hinted: Collection[str]
    ) -> None:
        """Hand over what came first, and learn from how the claim went."""
        by_pool = self._hand(claim, wanted)
        for pool, jobs in by_pool.items():
            if len(jobs) + claim.aside.get(pool, 0) == wanted[pool]:
                self._may_have_work.add(pool)
        # Only now: a connection lost here must not lose what was claimed.
        await self._idle.claimed(connection, len(claim.jobs))
        if not all(by_pool[pool] for pool in hinted if pool in by_pool):
            self._marks.ask()  # what was hinted at may lie before them
        if self._marks.note(wanted, by_pool, began, claim.aside):
            await self._find_marks(connection, wanted)

    def _hold_back(self, ruled: Ruled, written: int) -> None:
        """See that pools are looked at again whose rules hold jobs back: when a run has ended, or a rate lets go."""
        for pool in ruled.more:
            self._may_have_work.add(pool)
            took = any(job.pool == pool for job in ruled.claim.jobs) or ruled.claim.aside.get(pool)
            # What ended while the claim was under way may have made room that it no longer saw.
            if not took and written == self._written:
                pause = self._poll_interval if ruled.free_in is None else max(ruled.free_in, LEAST_PAUSE)
                self._held_until[pool] = monotonic() + min(pause, self._poll_interval)

    def _hand(self, claim: Claim, pools: Collection[str]) -> dict[str, list[Claimed]]:
        """Give claimed jobs to their pools' slots."""
        by_pool: dict[str, list[Claimed]] = {name: [] for name in pools}
        for job in claim.jobs:
            by_pool[job.pool].append(job)
        for name, jobs in by_pool.items():
            self._pools[name].hand(jobs)
        self.turns.see_to(claim.turns)
        return by_pool

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
            self._may_have_work.update(self._rules.pools)
            return
        pause = self._poll_interval * (1 - random.uniform(0, JITTER))  # noqa: S311 - jitter, not a secret
        if not self._may_have_work:
            pause = min(pause, max(self._marks.due_in(), SECOND_LOOK))
        free_at = min(self._held_until.values(), default=None)
        if free_at is not None and free_at - monotonic() < pause:
            with anyio.move_on_after(max(free_at - monotonic(), 0)):
                await self._changed.wait()
            self._held_until = {name: until for name, until in self._held_until.items() if until > monotonic()}
            return
        with anyio.move_on_after(pause) as waiting:
            await self._changed.wait()
        if waiting.cancelled_caught:
            self.hint(None)
