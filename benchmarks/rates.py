"""Is a rate kept, is it used, and what do the jobs cost that wait for it?"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from datetime import timedelta
from time import perf_counter
from typing import Final

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Samples
from benchmarks.tally import Tally
from benchmarks.work import MAX_WORKERS, counting, fill, fill_and_drain, one_queue
from workerqueue import Client

TITLE: Final = "Rates: 2,000 a second kept and used; one that does not bind; jobs that wait for theirs"
FIGURES: Final = (
    Figure("most_in_a_second", "most starts in any second, of 2,000 allowed", "jobs", at_most=2_000),
    Figure("share_used", "starts ÷ what the rate allows", "×", at_least=0.95),
    Figure("far_of_plain", "a rate that does not bind ÷ plain", "×", at_least=0.9),
    Figure("waiting_cpu_share", "PostgreSQL CPU while 10,000 jobs wait, of a core", "×", at_most=0.05),
)
PICTURE: Final = ("most_in_a_second",)

RATE: Final = 2_000


async def measure(bench: Bench, samples: Samples) -> None:
    """Work at a rate, at one that is out of reach, and at one that lets nothing start."""
    for _ in range(bench.repeat):
        most, share = await _at_a_rate(bench, bench.sizes.dynamic // 2)
        samples.add("most_in_a_second", most)
        samples.add("share_used", share)
        plain = await fill_and_drain(bench, bench.sizes.dynamic)
        far = await fill_and_drain(bench, bench.sizes.dynamic, config=one_queue(rate="100000000/s"))
        samples.add("far_of_plain", far.rate / plain.rate)
        samples.add("waiting_cpu_share", await _waiting(bench, min(bench.sizes.dynamic // 2, 10_000)))


async def _at_a_rate(bench: Bench, jobs: int) -> tuple[int, float]:
    """Give the most starts in any second, and the share of the allowed that was used."""
    async with bench.schema() as schema:
        await fill(bench, schema, jobs)
        tally = Tally(jobs)
        config = one_queue(rate=f"{RATE}/s")
        async with Client(bench.url, config=config, workers=counting(tally), schema=schema) as client:
            await client.start()
            await tally.done.wait()
            await client.stop()
        rows = await bench.sql.fetch(f'select attempted_at from "{schema}".job_all order by 1')  # noqa: S608 - our schema
    starts = [row["attempted_at"] for row in rows]
    most = max(bisect_left(starts, start + timedelta(seconds=1)) - place for place, start in enumerate(starts))
    # The first window's starts may come all at once, so as many more as these are allowed.
    allowed = RATE * (1 + (starts[-1] - starts[0]).total_seconds())
    return most, jobs / allowed


async def _waiting(bench: Bench, jobs: int) -> float:
    """Give the share of a core that PostgreSQL uses while jobs wait for an hour to pass."""
    async with bench.schema() as schema:
        await fill(bench, schema, jobs)
        tally = Tally(1)
        config = one_queue(max_workers=MAX_WORKERS, rate="1/h")
        async with Client(bench.url, config=config, workers=counting(tally), schema=schema) as client:
            await client.start()
            await tally.done.wait()
            began = perf_counter()
            async with bench.cost() as cost:
                await asyncio.sleep(bench.sizes.delayed_seconds / 2)
            seconds = perf_counter() - began
            await client.stop()
    return (cost.server_cpu or 0.0) / seconds
