"""Does a long history, or a long future, make a claim slower?"""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Final

from benchmarks.bench import Bench
from benchmarks.figures import COST, Figure, Samples
from benchmarks.jobs import Noop
from benchmarks.schema import checkpoint, copy_job, tables
from benchmarks.statements import Statements, watched
from benchmarks.work import Drained, drain, fill
from workerqueue import Client, InsertOpts

TITLE: Final = "Claims beside finalized and scheduled rows, against empty tables"
FIGURES: Final = (
    Figure("claim_ratio", "history: claim ÷ claim of an empty table", "×", at_most=1.2),
    Figure("full_claim_us", "claim of a job, with history", "µs"),
    Figure("empty_claim_us", "claim of a job, empty tables", "µs"),
    Figure("full_per_second", "drain with history", "jobs/s"),
    Figure("empty_per_second", "drain of empty tables", "jobs/s"),
    *COST,
)
PICTURE: Final = ("full_claim_us", "empty_claim_us")


async def measure(bench: Bench, samples: Samples) -> None:
    """Build the history once, then drain both schemas in turn."""
    sizes = bench.sizes
    samples.note(f"{sizes.finalized:,} finalized and {sizes.scheduled:,} scheduled rows, by generate_series")
    async with AsyncExitStack() as stack:
        full, empty = [await stack.enter_async_context(bench.schema()) for _ in range(2)]
        await _build(bench, full)
        statements = await stack.enter_async_context(watched(bench.url))
        how = "in the executor, by pg_stat_statements" if statements.tracked else "wall time of the whole drain"
        samples.note(f"claim time: {how}; costs are those with history")
        await _warm_up(bench, statements, [full, empty])
        for _ in range(bench.repeat):
            one, full_us = await _claimed(bench, statements, full)
            other, empty_us = await _claimed(bench, statements, empty)
            samples.add("claim_ratio", full_us / empty_us)
            samples.add("full_claim_us", full_us)
            samples.add("empty_claim_us", empty_us)
            samples.add("full_per_second", one.rate)
            samples.add("empty_per_second", other.rate)
            samples.add_all(one.cost.per_job(one.jobs))


async def _build(bench: Bench, schema: str) -> None:
    """Work one job and schedule another, and copy their rows: right whatever columns the tables have."""
    async with Client(bench.url, schema=schema) as client:
        (worked,) = await client.insert_many([Noop(n=0)])
        later = await client.insert(Noop(n=1), InsertOpts(scheduled_at=timedelta(days=1)))
    # Twenty are the fewest that a drain counts.
    await fill(bench, schema, 19)
    await drain(bench, schema, 20)
    await copy_job(bench.sql, schema, worked.job.id, bench.sizes.finalized, {})
    due = {"scheduled_at": "job.scheduled_at + make_interval(secs => copy.n)"}
    await copy_job(bench.sql, schema, later.job.id, bench.sizes.scheduled, due)


async def _warm_up(bench: Bench, statements: Statements, schemas: list[str]) -> None:
    """Bring both schemas to the same state: worked once, vacuumed, and known to the planner."""
    for schema in schemas:
        await _claimed(bench, statements, schema)
        for table in await tables(bench.sql, schema):
            await bench.sql.execute(f"vacuum analyze {table.name}")
    await checkpoint(bench.sql)


async def _claimed(bench: Bench, statements: Statements, schema: str) -> tuple[Drained, float]:
    """Drain a schema and give what the claim of a job took, in microseconds."""
    jobs = bench.sizes.claims
    await fill(bench, schema, jobs)
    await statements.reset()
    drained = await drain(bench, schema, jobs)
    if not statements.tracked:
        return drained, drained.seconds / jobs * 1e6
    claims = await statements.claims()
    return drained, claims.milliseconds / claims.rows * 1e3
