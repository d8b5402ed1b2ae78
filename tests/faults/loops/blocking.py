"""Event loops blocked for many leases: nobody takes their clients for dead, and the log says what blocks."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Final

from tests.faults.figures import Row
from tests.faults.loops.ground import PATIENCE, Ground, Target, ground
from tests.faults.loops.target import Blocking, Brief, Lasting, TargetSpec
from tests.waiting import eventually

BESIDE: Final = 5
"""Jobs that run beside each one that blocks."""
BEAT: Final = 0.2
"""Seconds between two looks at the heartbeats, and between two jobs that come meanwhile."""
NAMED: Final = re.compile(r"The event loop is blocked;.*?\bin block_the_loop\b", re.DOTALL)
LOST: Final = "select count(*) from workerqueue.client where ended_as = 'lost'"
RESCUED: Final = "select count(*) from workerqueue.job_all where attempt > 1 or errors is not null"
QUIETEST: Final = """
    select coalesce(max(extract(epoch from statement_timestamp() - heartbeat_at)), 0)::float8
    from workerqueue.client where ended_at is null
"""


async def run(
    seed: int,
    seconds: float = 60.0,
    processes: int = 5,
    blocked: int = 3,
    *,
    lease_ttl: float = 10.0,
    heartbeat_interval: float = 3.0,
    bug: str | None = None,
) -> list[Row]:
    """Block the event loops of some processes at once, in turn by a sleep and by a computation.

    Args:
        seed: What the jobs beside follow from.
        seconds: How long a loop is blocked.
        processes: Worker processes.
        blocked: How many of them are blocked; the others live on, and would rescue.
        lease_ttl: Seconds without a beat after which a client is dead.
        heartbeat_interval: Seconds between two beats.
        bug: A bug to seed into every process.
    """
    random = Random(seed)  # noqa: S311 - repeatable, not a secret
    async with ground() as here:
        specs = [
            TargetSpec(
                name=f"worker-{number}",
                journal=here.journal,
                lease_ttl=lease_ttl,
                heartbeat_interval=heartbeat_interval,
                bug=bug,
            )
            for number in range(processes)
        ]
        targets = await asyncio.gather(*(here.start(spec, here.url) for spec in specs))
        victims = targets[:blocked]
        await _run_beside(here, victims, random, seconds)
        async with _watched_beats(here) as quiet:
            blocks = await _block(here, victims, seconds)
            await _bring_jobs_until_ended(here, targets, blocks, seconds)
            await _come_to_rest(here)
        for target in targets:
            await target.stop()
        return await _rows(here, victims, seconds, lease_ttl, max(quiet))


async def _run_beside(here: Ground, victims: Sequence[Target], random: Random, seconds: float) -> None:
    """Let jobs run that are due to end while the loop is blocked, and after."""
    await _begun(
        here,
        [
            await here.insert(victim, Lasting(seconds=random.uniform(0, 1.5) * seconds))
            for victim in victims
            for _ in range(BESIDE)
        ],
    )


async def _block(here: Ground, victims: Sequence[Target], seconds: float) -> list[int]:
    blocks = [
        await here.insert(victim, Blocking(seconds=seconds, computes=number % 2 == 1))
        for number, victim in enumerate(victims)
    ]
    await _begun(here, blocks)
    return blocks


async def _begun(here: Ground, jobs: Sequence[int]) -> None:
    async def all_have() -> bool:
        return here.noted("began").keys() >= set(jobs)

    await eventually(all_have, within=PATIENCE)


async def _bring_jobs_until_ended(
    here: Ground, targets: Sequence[Target], blocks: Sequence[int], seconds: float
) -> None:
    """Insert for every process, the blocked ones too, while the blocks last."""
    async with asyncio.timeout(seconds + PATIENCE):
        while not here.noted("ended").keys() >= set(blocks):
            for target in targets:
                await here.insert(target, Brief())
            await asyncio.sleep(BEAT)


async def _come_to_rest(here: Ground) -> None:
    async def is_empty() -> bool:
        return not await here.pool.fetchval("select exists (select from workerqueue.job)")

    with suppress(AssertionError):  # what is left counts as not ended
        await eventually(is_empty, within=PATIENCE)


@asynccontextmanager
async def _watched_beats(here: Ground) -> AsyncGenerator[list[float]]:
    """Note, now and again, for how long the quietest client has not beaten."""
    quiet = [0.0]

    async def watch() -> None:
        while True:
            quiet.append(await here.pool.fetchval(QUIETEST))
            await asyncio.sleep(BEAT)

    async with asyncio.TaskGroup() as watching:
        task = watching.create_task(watch())
        yield quiet
        task.cancel()


async def _rows(here: Ground, victims: Sequence[Target], seconds: float, lease_ttl: float, quiet: float) -> list[Row]:
    lost, rescued, not_once = await here.pool.fetchval(LOST), await here.pool.fetchval(RESCUED), await here.not_once()
    unnamed = sum(NAMED.search(victim.log.read_text()) is None for victim in victims)
    fault, times = f"loop blocked {seconds:g} s", len(victims)
    return [
        Row(fault, times, f"{lost} clients declared dead", "0", not lost),
        Row(fault, times, f"{rescued} jobs rescued", "0", not rescued),
        Row(fault, times, f"{not_once} of {len(here.inserted)} jobs did not end exactly once", "0", not not_once),
        Row(fault, times, f"{unnamed} blocks whose worker the log does not name", "0", not unnamed),
        Row(fault, times, f"{quiet:.1f} s without a beat at most", f"< {lease_ttl:g} s", quiet < lease_ttl),
    ]
