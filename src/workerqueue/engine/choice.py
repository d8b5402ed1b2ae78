"""Claims by rules: what limits, rates, shares and ageing let be started of the pools that have such rules."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from math import inf
from time import monotonic
from typing import Final, NamedTuple

from workerqueue.database import Claim, Claimant, Connection, Database, Mark
from workerqueue.engine.rules import Rules, Written

CALL_TIMEOUT: Final = 10.0
"""Seconds that each statement may take."""

NOTHING: Final = Claim([], {}, ())


class Wanted(NamedTuple):
    """How many jobs a pool could take."""

    most: int
    """With those that would wait until a slot is free."""
    free: int
    """At once."""


class Ruled(NamedTuple):
    """What came of a claim by rules."""

    claim: Claim
    asked: Mapping[str, int]
    """How many jobs the rules let be asked for, by pool."""
    more: Collection[str]
    """Pools in which more may wait than the rules let be claimed."""
    free_in: float | None = None
    """In how many seconds a rate lets something start that it holds back now."""


class RuledClaims:
    """Claims of pools that have rules, in up to six statements.

    Where rules count, claims under the same rule come one after the other: each holds the rule's gate until it has
    committed, and counts by a statement that began after that. The statement that waits for the gate itself would see
    what was there before it waited.
    """

    def __init__(self, database: Database, rules: Rules) -> None:
        self._database = database
        self._rules = rules
        self._after: dict[str, str] = {}
        """By pool, the lane that was served last."""
        self._recount_at: dict[tuple[str, datetime], float] = {}
        """When to count again what runs in a pool that was limited at some time."""

    async def claim_first(
        self,
        connection: Connection,
        claimant: Claimant,
        lease: int,
        wanted: Mapping[str, Wanted],
        marks: Mapping[str, Sequence[Mark]],
    ) -> Ruled:
        """Claim what comes first, as far as the limits and rates of the queues themselves leave room."""
        async with self._holding(connection, wanted):
            rooms = await self._database.queues.find_room(connection, self._written(wanted))
            asked = {room.pool: room.jobs for room in rooms if room.jobs > 0}
            claim = NOTHING
            if asked:
                claim = await self._database.jobs.claim_jobs(
                    connection, replace(claimant, is_counted=True), lease=lease, wanted=asked, marks=marks
                )
                await self._note(connection, wanted, claim)
        more = [room.pool for room in rooms if room.is_waited_for]
        free_in = min((room.free_in for room in rooms if room.free_in is not None), default=None)
        return Ruled(claim, asked, more, free_in)

    async def claim_chosen(
        self, connection: Connection, claimant: Claimant, lease: int, pool: str, wanted: Wanted
    ) -> Ruled:
        """Claim what the rules of a pool and of the kinds there choose."""
        async with self._holding(connection, [pool]):
            rules = self._written({pool: wanted})
            choice = await self._database.queues.choose_jobs(
                connection, rules[0], self._rules.kinds, claimant.kinds, claimant.number
            )
            claim = NOTHING
            if choice.ids:
                counted = replace(claimant, is_counted=True)
                claim = await self._database.jobs.claim_chosen(
                    connection, counted, choice.ids, lease=lease, pool=pool, is_held=self._rules.counts(pool)
                )
                await self._note(connection, {pool: wanted}, claim)
        if choice.after is not None:
            self._after[pool] = choice.after
        return Ruled(claim, {pool: len(choice.ids)}, [pool] if choice.is_more else [], choice.free_in)

    @asynccontextmanager
    async def _holding(self, connection: Connection, pools: Collection[str]) -> AsyncGenerator[None]:
        """Hold the gates of all rules that count jobs of these pools, in a transaction; without such a rule in none."""
        gates = self._rules.gates(pools)
        if not gates:
            yield
            return
        async with self._database.begin(connection, CALL_TIMEOUT):
            while len(await self._database.queues.hold_gates(connection, gates)) < len(gates):
                await self._database.queues.make_gates(connection, gates)
            await self._recount(connection, pools)
            yield

    async def _recount(self, connection: Connection, pools: Collection[str]) -> None:
        """Count what runs in pools that were limited at run time, and was claimed before.

        At once, and when no claim can be under way any more that knew nothing of it.
        """
        now, limited = monotonic(), self._rules.limited_since(pools)
        due = {(pool, since) for pool, since in limited.items() if self._recount_at.get((pool, since), now) <= now}
        if due:
            await self._database.queues.count_runs(connection, [pool for pool, _ in due])
            for each in due:
                self._recount_at[each] = inf if each in self._recount_at else now + CALL_TIMEOUT

    def _written(self, wanted: Mapping[str, Wanted]) -> list[Written]:
        return [
            {**self._rules.of_pool(pool), "free": room.free, "most": room.most, "after": self._after.get(pool)}
            for pool, room in wanted.items()
        ]

    async def _note(self, connection: Connection, wanted: Mapping[str, Wanted], claim: Claim) -> None:
        """Note what was started, where a rate needs to know."""
        if claim.jobs and self._rules.have_rates(wanted):
            started = [job.id for job in claim.jobs]
            await self._database.queues.note_starts(connection, self._written(wanted), self._rules.kinds, started)
