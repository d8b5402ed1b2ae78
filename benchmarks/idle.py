"""What does a process cost that has nothing to do?"""

from __future__ import annotations

import asyncio
from typing import Final

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Samples
from benchmarks.jobs import Noop
from benchmarks.measure import process_cpu, resident_bytes
from benchmarks.process import run_arguments, started
from benchmarks.statements import watched
from workerqueue import Client

TITLE: Final = "`workerqueue run` over the seven pools of config/, with nothing to do"
FIGURES: Final = (
    Figure("cpu_percent", "idle, the seven pools: CPU", "% of a core", at_most=1.0),
    Figure("statements_per_second", "idle, the seven pools: statements", "/s", at_most=3.0),
    Figure("rss_mb", "idle, the seven pools: memory", "MB", at_most=100),
    Figure("server_cpu_percent", "PostgreSQL meanwhile", "% of a core"),
    Figure("wal_bytes_per_second", "WAL meanwhile", "B/s"),
)
PICTURE: Final = ("cpu_percent", "server_cpu_percent")


async def measure(bench: Bench, samples: Samples) -> None:
    """Start a process, let it come to rest, and watch it do nothing, as often as asked."""
    for _ in range(bench.repeat):
        async with bench.schema() as schema, watched(bench.url) as statements:
            samples.note(f"statements by {'pg_stat_statements' if statements.tracked else 'transactions begun'}")
            async with started(bench, "workerqueue", run_arguments(schema, "--config", "config")) as process:
                await _comes_to_rest(bench, schema)
                before, cpu = await statements.count(), process_cpu(process.pid)
                async with bench.cost() as cost:
                    await asyncio.sleep(bench.sizes.idle_seconds)
                used = process_cpu(process.pid) - cpu
                samples.add("cpu_percent", used / cost.seconds * 100)
                samples.add("statements_per_second", (await statements.count() - before) / cost.seconds)
                samples.add("rss_mb", resident_bytes(process.pid) / 1e6)
                samples.add("wal_bytes_per_second", cost.wal / cost.seconds)
                if cost.server_cpu is not None:
                    samples.add("server_cpu_percent", cost.server_cpu / cost.seconds * 100)


async def _comes_to_rest(bench: Bench, schema: str) -> None:
    """Wait until the process has worked a job, and then until it has nothing left to write."""
    async with Client(bench.url, schema=schema) as client:
        inserted = await client.insert(Noop(n=1))
        await client.jobs.wait(inserted.job.id, timeout=60)
    await asyncio.sleep(min(bench.sizes.idle_seconds / 4, 2.0))
