"""How fast does one process work what is there, and how near is that to what PostgreSQL can do?"""

from __future__ import annotations

from typing import Final

from benchmarks.bare import drain_bare
from benchmarks.bench import Bench
from benchmarks.figures import COST, Figure, Samples
from benchmarks.schema import bytes_per_finished_job
from benchmarks.work import MAX_WORKERS, drain, fill

TITLE: Final = "One process drains no-op jobs: args validated, timeouts armed, history kept"
FIGURES: Final = (
    Figure("jobs_per_second", "drain, one process", "jobs/s", at_least=65_000),
    Figure("of_ceiling", "drain ÷ ceiling, same run", "×", at_least=0.5),
    Figure("ceiling_per_second", "ceiling, same run", "jobs/s"),
    *COST,
    Figure("total_server_cpu_us", "PostgreSQL CPU a job, insert + claim + complete", "µs", at_most=12),
    Figure("total_wal_bytes", "WAL a job, insert + claim + complete", "B", at_most=1_000),
    Figure("disk_bytes", "a finished job on disk", "B", at_most=500),
    Figure("fill_per_second", "insert_many, before the drain", "jobs/s"),
)
PICTURE: Final = ("ceiling_per_second", "jobs_per_second")


async def measure(bench: Bench, samples: Samples) -> None:
    """Drain the bare queue and the library's in turn."""
    samples.note(f"a queue with {MAX_WORKERS:,} workers; from the first job's start to the last durable completion")
    jobs = bench.sizes.drain
    for _ in range(bench.repeat):
        ceiling = await drain_bare(bench, jobs)
        async with bench.schema() as schema:
            inserted = await fill(bench, schema, jobs)
            drained = await drain(bench, schema, jobs)
            samples.add("disk_bytes", await bytes_per_finished_job(bench.sql, schema, jobs))
        samples.add("ceiling_per_second", ceiling.rate)
        samples.add("jobs_per_second", drained.rate)
        samples.add("of_ceiling", drained.rate / ceiling.rate)
        samples.add_all(drained.cost.per_job(jobs))
        total = (inserted + drained.cost).per_job(jobs, "total_")
        samples.add_all({name: value for name, value in total.items() if "client" not in name})
        samples.add("fill_per_second", jobs / inserted.seconds)
