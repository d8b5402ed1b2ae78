"""How long does a tenant's job wait behind another tenant's flood, and what do fair shares cost?"""

from __future__ import annotations

import asyncio
import random
from time import perf_counter
from typing import Final

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Samples
from benchmarks.jobs import one_of_100
from benchmarks.work import fill_and_drain, one_queue
from workerqueue import Client, Config, InsertOpts, Job, JobArgs, QueueConfig, Workers

TITLE: Final = "Fair shares: another tenant's job behind a flood of 100,000; what sharing costs"
FIGURES: Final = (
    Figure("fair_wait", "another tenant's job starts after, p99, with fair_by", "s", at_most=1.0),
    Figure("unfair_wait", "without fair_by, behind a twentieth of that flood", "s"),
    Figure("aged_wait", "ten steps of priority behind the flood, with ageing of 0.1 s a step", "s"),
    Figure("fair_of_plain", "drain of 100 tenants with fair_by ÷ plain", "×"),
)
PICTURE: Final = ("fair_wait", "unfair_wait")

WORKERS: Final = 20
WORK: Final = 0.002
"""Seconds that a job takes."""


class Call(JobArgs):
    """A tenant's job."""

    tenant: str

    @classmethod
    def kind(cls) -> str:
        """Name it."""
        return "bench.call"


async def measure(bench: Bench, samples: Samples) -> None:
    """Flood a pool, and see how long others wait."""
    samples.note(f"{WORKERS} workers, {WORK * 1000:g} ms a job")
    flood = bench.sizes.fairness
    for _ in range(bench.repeat):
        fair = await _waits(bench, flood, QueueConfig(max_workers=WORKERS, fair_by="{tenant}"), picks=20)
        samples.add("fair_wait", fair[-1])
        unfair = await _waits(bench, flood // 20, QueueConfig(max_workers=WORKERS), picks=1)
        samples.add("unfair_wait", unfair[-1])
        ageing = QueueConfig(max_workers=WORKERS, ageing=0.1)
        samples.add("aged_wait", (await _waits(bench, flood, ageing, picks=1, priority=11))[-1])
        plain = await fill_and_drain(bench, bench.sizes.dynamic)
        shared = await fill_and_drain(bench, bench.sizes.dynamic, config=one_queue(fair_by=one_of_100))
        samples.add("fair_of_plain", shared.rate / plain.rate)


async def _waits(bench: Bench, flood: int, queue: QueueConfig, picks: int, priority: int = 1) -> list[float]:
    """Give how long jobs of another tenant wait, the shortest first."""
    started: dict[str, float] = {}
    workers = Workers()

    @workers.worker
    async def call(job: Job[Call]) -> None:  # pyright: ignore[reportUnusedFunction] - registered
        started.setdefault(job.args.tenant, perf_counter())
        await asyncio.sleep(WORK)

    waits: list[float] = []
    async with bench.schema() as schema:
        config = Config(queues={"default": queue})
        async with Client(bench.url, config=config, workers=workers, schema=schema) as client:
            for start in range(0, flood, 20_000):
                await client.insert_many([Call(tenant="flood")] * min(20_000, flood - start))
            await client.start()
            for n in range(picks):
                await asyncio.sleep(random.uniform(0, 0.05))  # noqa: S311 - a moment, not a secret
                inserted = perf_counter()
                other = await client.insert(Call(tenant=f"other {n}"), InsertOpts(priority=priority))
                await client.jobs.wait(other.job.id, 600)
                waits.append(started[f"other {n}"] - inserted)
            await client.stop(timeout=0)
    return sorted(waits)
