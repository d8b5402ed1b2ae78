"""How many jobs a second go through while they are inserted and worked at once?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from benchmarks.bench import Bench
from benchmarks.figures import COST, Figure, Samples
from benchmarks.inserter import CREDIT
from benchmarks.jobs import Noop
from benchmarks.process import started
from benchmarks.tally import Pulse
from benchmarks.work import one_queue
from workerqueue import Client, Job, Workers

TITLE: Final = "Jobs inserted by one process and worked by another at once"
FIGURES: Final = (
    Figure("bulk_per_second", "sustained: bulk insert and work at once", "jobs/s", at_least=45_000),
    Figure("single_per_second", "sustained: 50 single inserters and work", "jobs/s", at_least=20_000),
    *COST,
    *(Figure(f"single_{each.name}", f"{each.says}, 50 single inserters", each.unit) for each in COST),
)
PICTURE: Final = ("bulk_per_second", "single_per_second")

AHEAD: Final = 20_000
"""Jobs that may be inserted and not yet worked: otherwise inserting takes the time of working."""
WARM_UP: Final = 0.1
"""Of the measured time, before it."""


async def measure(bench: Bench, samples: Samples) -> None:
    """Measure both ways of inserting in turn."""
    samples.note(
        f"at most {AHEAD:,} jobs wait: the worker asks its inserter for {CREDIT:,} more whenever it has worked as "
        "many; bulk is insert_many of that many; the client's CPU is that of both processes"
    )
    for _ in range(bench.repeat):
        await _once(bench, samples, "bulk", "")
        await _once(bench, samples, "single", "single_")


async def _once(bench: Bench, samples: Samples, way: str, prefix: str) -> None:
    """Let jobs flow for the time of this form, and count those that were worked."""
    seconds = bench.sizes.sustained_seconds
    async with bench.schema() as schema, _flowing(bench, schema, way) as (pulse, inserter):
        await asyncio.sleep(WARM_UP * seconds)
        before = pulse.count
        async with bench.cost([inserter]) as cost:
            await asyncio.sleep(seconds)
            worked = pulse.count - before
    samples.add(f"{way}_per_second", worked / cost.seconds)
    samples.add_all(cost.per_job(max(worked, 1), prefix))


@asynccontextmanager
async def _flowing(bench: Bench, schema: str, way: str) -> AsyncGenerator[tuple[Pulse, int]]:
    """Start the inserter and the client that works, and give the count and the inserter's process id."""
    async with started(bench, "benchmarks.inserter", [schema, way]) as process:
        if process.stdin is None:
            raise RuntimeError("the inserter has no standard input")
        leave = process.stdin

        def give() -> None:
            if not leave.is_closing():  # jobs are worked after the last of it, too
                leave.write(b".")

        pulse = Pulse(CREDIT, give)
        leave.write(b"." * (AHEAD // CREDIT))
        async with Client(bench.url, config=one_queue(), workers=_pulsing(pulse), schema=schema) as client:
            await client.start()
            async with asyncio.timeout(60):
                while not pulse.count:  # noqa: ASYNC110 - the inserter takes a moment to start
                    await asyncio.sleep(0.01)
            yield pulse, process.pid
            leave.close()
            await process.wait()
            await client.stop()


def _pulsing(pulse: Pulse) -> Workers:
    workers = Workers()
    hit = pulse.hit

    @workers.worker
    async def noop(job: Job[Noop]) -> None:  # pyright: ignore[reportUnusedFunction] - registered
        del job
        hit()

    return workers
