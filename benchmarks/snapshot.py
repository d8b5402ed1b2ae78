"""Does a transaction that somebody left open slow the queue down?"""

from __future__ import annotations

from typing import Final

from benchmarks.bench import Bench
from benchmarks.connection import connect
from benchmarks.figures import COST, Figure, Samples
from benchmarks.work import Drained, drain, fill

TITLE: Final = "Jobs worked under one held REPEATABLE READ snapshot, by tenths"
FIGURES: Final = (
    Figure("last_of_first", "snapshot: last tenth ÷ first", "×", at_least=0.85),
    Figure("first_tenth", "first tenth", "jobs/s"),
    Figure("last_tenth", "last tenth", "jobs/s"),
    Figure("jobs_per_second", "all", "jobs/s"),
    *COST,
)
PICTURE: Final = ()


async def measure(bench: Bench, samples: Samples) -> None:
    """Drain under a snapshot as often as asked."""
    jobs = bench.sizes.snapshot
    for turn in range(bench.repeat):
        async with bench.schema() as schema:
            await fill(bench, schema, jobs)
            drained = await _under_snapshot(bench, schema, jobs)
        samples.add("last_of_first", drained.tenths[-1] / drained.tenths[0])
        samples.add("first_tenth", drained.tenths[0])
        samples.add("last_tenth", drained.tenths[-1])
        samples.add("jobs_per_second", drained.rate)
        samples.add_all(drained.cost.per_job(jobs))
        samples.curves[f"repeat {turn + 1}"] = list(drained.tenths)


async def _under_snapshot(bench: Bench, schema: str, jobs: int) -> Drained:
    """Drain while another session holds a snapshot from before."""
    holder = await connect(bench.url)
    try:
        await holder.execute("begin isolation level repeatable read")
        await holder.execute("select 1")  # a snapshot is taken by the first statement
        return await drain(bench, schema, jobs)
    finally:
        await holder.close()
