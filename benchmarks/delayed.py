"""Do jobs with a time start when their time has come, and none before?"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import perf_counter
from typing import Final, cast

from benchmarks.bench import Bench
from benchmarks.connection import Connection, statement
from benchmarks.figures import COST, Figure, Samples, percentile
from benchmarks.jobs import Noop
from benchmarks.work import one_queue
from workerqueue import Client, InsertOpts, Job, Workers

TITLE: Final = "Jobs due at random moments: how late they start, by the database's clock"
FIGURES: Final = (
    Figure("p99_ms", "delayed: start after due, p99", "ms", at_most=100),
    Figure("p50_ms", "delayed: start after due, p50", "ms"),
    Figure("worst_ms", "delayed: start after due, worst", "ms"),
    Figure("early", "delayed: claimed before they were due", "jobs", at_most=0),
    *COST,
)
PICTURE: Final = ()

LEAD: Final = 1.0
"""Seconds between the inserts and the first job's time."""
LOOKS: Final = 20


@dataclass(frozen=True)
class Clock:
    """The database's clock, read off this machine's."""

    at: datetime
    counter: float

    def time(self, counter: float) -> datetime:
        """Give what the database's clock showed when ours showed this."""
        return self.at + timedelta(seconds=counter - self.counter)


@dataclass
class Starts:
    """When each job started, and when the database says it was claimed."""

    expected: int
    seen: dict[int, tuple[float, datetime | None]] = field(default_factory=dict[int, tuple[float, datetime | None]])
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, n: int, claimed: datetime | None) -> None:
        """Note a start; the first one of a job counts."""
        self.seen.setdefault(n, (perf_counter(), claimed))
        if len(self.seen) == self.expected:
            self.done.set()


async def measure(bench: Bench, samples: Samples) -> None:
    """Schedule and wait as often as asked."""
    samples.note(f"{bench.sizes.delayed:,} jobs due over {bench.sizes.delayed_seconds:g} s, by one working client")
    for turn in range(bench.repeat):
        async with bench.schema() as schema:
            late, early, costs = await _once(bench, schema)
        for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99), ("worst_ms", 1.0)):
            samples.add(name, percentile(late, share))
        samples.add("early", early)
        samples.add_all(costs)
        samples.curves[f"repeat {turn + 1}"] = [percentile(late, share / 100) for share in range(1, 101)]


async def _once(bench: Bench, schema: str) -> tuple[list[float], int, dict[str, float]]:
    """Give how late each job started, in milliseconds, how many were early, and what it cost."""
    jobs = bench.sizes.delayed
    starts = Starts(jobs)
    async with Client(bench.url, config=one_queue(), workers=_noting(starts), schema=schema) as client:
        clock = await _read_clock(bench.sql)
        first = clock.time(perf_counter()) + timedelta(seconds=LEAD)
        span = bench.sizes.delayed_seconds
        due = [first + timedelta(seconds=random.uniform(0, span)) for _ in range(jobs)]  # noqa: S311 - not a secret
        await client.insert_many([(Noop(n=n), InsertOpts(scheduled_at=at)) for n, at in enumerate(due)])
        async with bench.cost() as cost:
            await client.start()
            await asyncio.wait_for(starts.done.wait(), LEAD + span + 60)
            await client.stop()
    late = [(clock.time(starts.seen[n][0]) - due[n]).total_seconds() * 1e3 for n in range(jobs)]
    claimed = [starts.seen[n][1] for n in range(jobs)]
    early = sum(at is not None and at < due[n] for n, at in enumerate(claimed))
    return late, early, cost.per_job(jobs)


async def _read_clock(connection: Connection) -> Clock:
    """Read the database's clock; of several looks the quickest, which leaves the least doubt."""
    looks: list[tuple[float, Clock]] = []
    for _ in range(LOOKS):
        asked = perf_counter()
        now = cast("datetime", await connection.fetchval(statement("read_clock")))
        answered = perf_counter()
        looks.append((answered - asked, Clock(now, (asked + answered) / 2)))
    return min(looks, key=lambda look: look[0])[1]


def _noting(starts: Starts) -> Workers:
    workers = Workers()

    @workers.worker
    async def noop(job: Job[Noop]) -> None:  # pyright: ignore[reportUnusedFunction] - registered
        starts.add(job.args.n, job.attempted_at)

    return workers
