"""The connection that listens falls silent, alone: jobs are found by polling meanwhile, and listening comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from random import Random
from statistics import median
from time import monotonic
from typing import Final

from tests.faults.figures import Row
from tests.faults.loops.ground import Ground, Run, Target, ground
from tests.faults.loops.target import Brief, TargetSpec
from tests.faults.network import ListeningWire
from tests.waiting import eventually
from workerqueue.database.listening import CHECK_INTERVAL, CHECK_TIMEOUT

FAULT: Final = "LISTEN blackholed"
POLL: Final = 1.0
PICK_UP: Final = POLL + 1
AGAIN: Final = 10.0
PAUSE: Final = (0.1, 0.25)
"""Seconds between two jobs that are to be hinted at."""
SOONER: Final = 0.6
"""Seconds between two claims that no poll explains: its jitter leaves 0.9 of the interval."""
IN_A_ROW: Final = 4
"""So many such claims: on a busy machine a poll may be two looks, and whoever has begun to listen looks again twice."""
TRIES: Final = 12


@dataclass(frozen=True, slots=True)
class Strike:
    """One loss of a listening connection; times in seconds."""

    picked_up_after: float
    listening_after: float
    """Infinity if it was given up."""
    is_woken: bool
    """Whether hints reached the process again."""


async def run(
    seed: int,
    times: int = 100,
    processes: int = 5,
    *,
    check_interval: float = CHECK_INTERVAL,
    check_timeout: float = CHECK_TIMEOUT,
    patience: float = 30.0,
    bug: str | None = None,
) -> list[Row]:
    """Strike several processes so many times in all, and give what was measured.

    Args:
        seed: What the moments of the strikes follow from.
        times: Strikes, shared out among the processes.
        processes: Worker processes, each struck by itself.
        check_interval: Seconds between two checks of a listener; the default is the product's.
        check_timeout: Seconds that a check may take.
        patience: Seconds until a process that does not listen again is given up.
        bug: A bug to seed into every process.
    """
    async with ground() as here:

        async def strike(number: int) -> list[Strike]:
            spec = TargetSpec(
                name=f"listener-{number}",
                journal=here.journal,
                poll_interval=POLL,
                check_interval=check_interval,
                check_timeout=check_timeout,
                bug=bug,
            )
            random = Random(f"{seed}/{number}")  # noqa: S311 - repeatable, not a secret
            async with _listener(here, spec) as listener:
                count = len(range(number, times, processes))
                return await listener.strike(count, random, check_interval, patience)

        async with asyncio.TaskGroup() as together:
            struck = [together.create_task(strike(number)) for number in range(min(times, processes))]
        strikes = [strike for task in struck for strike in task.result()]
        return _rows(strikes, await here.not_once(), len(here.inserted))


@dataclass(eq=False)
class _Listener:
    """A process, and the wire on which it listens."""

    ground: Ground
    target: Target
    wire: ListeningWire

    async def strike(self, times: int, random: Random, spread: float, patience: float) -> list[Strike]:
        """Strike it so many times, each at a random moment of the time that a listener spends between checks."""
        strikes: list[Strike] = []
        await eventually(self._listens)
        for _ in range(times):
            await asyncio.sleep(random.uniform(0, spread))
            strikes.append(await self._lose_the_ear(random, patience))
            if strikes[-1].listening_after == inf:
                break  # there is nothing left to lose
        return strikes

    async def _lose_the_ear(self, random: Random, patience: float) -> Strike:
        ears, struck_at = self.wire.ears, monotonic()
        with self.wire.without_ear():
            during = await self._work_one()

            async def listens_again() -> bool:
                return self.wire.ears > ears

            try:
                await eventually(listens_again, within=patience)
            except AssertionError:
                return Strike(during.picked_up_after, inf, is_woken=False)
            after = self.wire.listening_since - struck_at
            return Strike(during.picked_up_after, after, await self._is_woken(random))

    async def _is_woken(self, random: Random) -> bool:
        """Tell whether jobs that come one by one are claimed sooner than polls would find them."""
        previous, sooner = await self._work_one(), 0
        for _ in range(TRIES):
            await asyncio.sleep(random.uniform(*PAUSE))
            current = await self._work_one()
            apart = (current.attempted_at - previous.attempted_at).total_seconds()
            sooner = sooner + 1 if apart < SOONER else 0
            if sooner == IN_A_ROW:
                return True
            previous = current
        return False

    async def _work_one(self) -> Run:
        return await self.ground.until_ended(await self.ground.insert(self.target, Brief()))

    async def _listens(self) -> bool:
        return self.wire.ears > 0


@asynccontextmanager
async def _listener(here: Ground, spec: TargetSpec) -> AsyncGenerator[_Listener]:
    """Start a process behind a wire of its own, which goes when the process has ended."""
    wire = ListeningWire(here.url)
    await wire.come_back()
    try:
        target = await here.start(spec, wire.url)
        yield _Listener(here, target, wire)
        await target.stop()
    finally:
        await wire.go_away()


def _rows(strikes: Sequence[Strike], not_once: int, jobs: int) -> list[Row]:
    pick_ups = [strike.picked_up_after for strike in strikes]
    again = [strike.listening_after for strike in strikes]
    deaf = sum(not strike.is_woken for strike in strikes)
    return [
        _time_row("pick-up", pick_ups, PICK_UP),
        _time_row("listening again", again, AGAIN),
        Row(FAULT, len(strikes), f"{deaf} not woken by hints again", "0", not deaf),
        Row(FAULT, len(strikes), f"{not_once} of {jobs} jobs did not end exactly once", "0", not not_once),
    ]


def _time_row(what: str, seconds: Sequence[float], limit: float) -> Row:
    figure = f"{what} after {max(seconds):.2f} s at most, {median(seconds):.2f} s in the middle"
    return Row(FAULT, len(seconds), figure, f"≤ {limit:g} s", max(seconds) <= limit)
