"""Fills a queue and drains it through the library's public face, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from benchmarks.bench import Bench
from benchmarks.jobs import Noop, noops
from benchmarks.measure import Cost
from benchmarks.tally import Tally
from workerqueue import Client, Config, InsertOpts, Job, JobArgs, JobState, QueueConfig, Workers

MAX_WORKERS: Final = 1_000
"""Of the one queue, where throughput is measured: as many as a claim may bring."""

PATIENCE: Final = 900.0
"""Seconds after which a drain that has not ended will not."""

CHUNK: Final = 20_000
"""Jobs that are made at a time, so that this process stays small."""


@dataclass(frozen=True)
class Drained:
    """One drain: from the first job's start until the last one's completion can be read."""

    jobs: int
    seconds: float
    cost: Cost
    tenths: Sequence[float]

    @property
    def rate(self) -> float:
        """Jobs worked a second."""
        return self.jobs / self.seconds


def one_queue(max_workers: int = MAX_WORKERS, **rules: object) -> Config:
    """Configure the queue `default` alone, with rules as `QueueConfig` has them."""
    return Config(queues={"default": QueueConfig.model_validate({"max_workers": max_workers, **rules})})


async def fill(
    bench: Bench,
    schema: str,
    jobs: int,
    opts: Callable[[int], InsertOpts] | None = None,
    config: Config | None = None,
) -> Cost:
    """Insert no-op jobs in bulk and say what it cost."""
    cost = Cost(server_cpu=0.0)
    async with Client(bench.url, config=config, schema=schema) as client:
        for start in range(0, jobs, CHUNK):
            made: list[Noop] = noops(min(CHUNK, jobs - start))
            given: Sequence[JobArgs | tuple[JobArgs, InsertOpts]] = (
                made if opts is None else [(args, opts(start + args.n)) for args in made]
            )
            async with bench.cost() as part:
                await client.insert_many(given)
            cost += part
    return cost


async def drain(bench: Bench, schema: str, jobs: int, *, config: Config | None = None) -> Drained:
    """Work that many no-op jobs with one client."""
    tally = Tally(jobs)
    client = Client(bench.url, config=config or one_queue(), workers=counting(tally), schema=schema)
    async with client, bench.cost() as cost:
        await client.start()
        async with asyncio.timeout(PATIENCE):
            await tally.done.wait()
            await _completed(client, tally.last_job)
        # Not before the last completion is durable. A listener would tell the moment better, and cost every job.
        seconds = perf_counter() - tally.marks[0]
        await client.stop()
    return Drained(jobs, seconds, cost, tally.tenths())


async def fill_and_drain(
    bench: Bench, jobs: int, opts: Callable[[int], InsertOpts] | None = None, *, config: Config | None = None
) -> Drained:
    """Fill a schema of its own and drain it."""
    async with bench.schema() as schema:
        await fill(bench, schema, jobs, opts, config)
        return await drain(bench, schema, jobs, config=config)


def counting(tally: Tally) -> Workers:
    """Make a worker that counts and does nothing else."""
    workers = Workers()
    hit = tally.hit

    @workers.worker
    async def noop(job: Job[Noop]) -> None:  # pyright: ignore[reportUnusedFunction] - registered
        hit(job.id)

    return workers


async def _completed(client: Client, job: int) -> None:
    while True:
        found = await client.jobs.get(job)
        if found is not None and found.state is JobState.COMPLETED:
            return
        await asyncio.sleep(0.001)
