"""How fast is PostgreSQL at a queue's statements when nothing is executed?"""

from __future__ import annotations

from typing import Final

from benchmarks.bare import BATCH, drain_bare
from benchmarks.bench import Bench
from benchmarks.figures import COST, Figure, Samples

TITLE: Final = "The bare statements: claim and complete on connections of their own"
FIGURES: Final = (
    Figure("jobs_per_second", "claimed and completed", "jobs/s"),
    *COST,
    Figure("total_server_cpu_us", "PostgreSQL CPU a job, COPY + claim + complete", "µs"),
    Figure("total_wal_bytes", "WAL a job, COPY + claim + complete", "B"),
    Figure("disk_bytes", "a finished job on disk", "B"),
)
PICTURE: Final = ("jobs_per_second",)


async def measure(bench: Bench, samples: Samples) -> None:
    """Drain the bare queue as often as asked."""
    samples.note(
        f"batches of {BATCH:,}, three in flight; claims commit with synchronous_commit=off, completions durably"
    )
    jobs = bench.sizes.drain
    for _ in range(bench.repeat):
        drained = await drain_bare(bench, jobs)
        samples.add("jobs_per_second", drained.rate)
        samples.add_all(drained.work.per_job(jobs))
        total = (drained.insert + drained.work).per_job(jobs, "total_")
        samples.add_all({name: value for name, value in total.items() if "client" not in name})
        samples.add("disk_bytes", drained.bytes)
