"""How fast is a queue that has one worker, whose next job can't be claimed ahead of a free slot?"""

from __future__ import annotations

from typing import Final

from benchmarks.bench import Bench
from benchmarks.figures import COST, Figure, Samples
from benchmarks.work import fill_and_drain, one_queue

TITLE: Final = "A queue with max_workers = 1"
FIGURES: Final = (Figure("jobs_per_second", "single worker", "jobs/s", at_least=2_000), *COST)
PICTURE: Final = ("jobs_per_second",)


async def measure(bench: Bench, samples: Samples) -> None:
    """Drain with one worker as often as asked."""
    jobs = bench.sizes.single
    for _ in range(bench.repeat):
        drained = await fill_and_drain(bench, jobs, config=one_queue(max_workers=1))
        samples.add("jobs_per_second", drained.rate)
        samples.add_all(drained.cost.per_job(jobs))
