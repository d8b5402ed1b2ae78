"""What do dynamic queues cost: a name per job, 100 names, one name, against none?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from benchmarks.bench import Bench
from benchmarks.figures import COST, Figure, Samples
from benchmarks.jobs import Noop, the_same
from benchmarks.work import drain, fill, fill_and_drain, one_queue
from workerqueue import Config, InsertOpts, TaskConfig

TITLE: Final = "Dynamic queues: a name per job, 100 names, one name, against plain jobs"
FIGURES: Final = (
    Figure("plain_per_second", "drain without dynamic names, same run", "jobs/s"),
    Figure("each_per_second", "a name per job", "jobs/s"),
    Figure("of_drain", "dynamic, a name per job ÷ drain", "×", at_least=0.6),
    Figure("hundred_per_second", "100 names", "jobs/s"),
    Figure("hundred_of_drain", "100 names ÷ drain", "×", at_least=0.5),
    Figure("one_per_second", "one name: its jobs one at a time", "jobs/s", at_least=1_500),
    Figure("strict_per_second", "one name in strict order", "jobs/s"),
    Figure("names_left", "rows that all these names have left behind", "rows", at_most=0),
    *COST,
)
STRICT: Final = Config(
    queues=one_queue().queues, tasks={Noop.kind(): TaskConfig(dynamic_queue=the_same, dynamic_order="strict")}
)
PICTURE: Final = ("plain_per_second", "each_per_second", "hundred_per_second", "one_per_second")


async def measure(bench: Bench, samples: Samples) -> None:
    """Drain the four cases in turn."""
    samples.note("PostgreSQL CPU, client CPU and WAL are those of a name per job")
    jobs = bench.sizes.dynamic
    for _ in range(bench.repeat):
        plain = await fill_and_drain(bench, jobs)
        each = await fill_and_drain(bench, jobs, _names(jobs))
        hundred = await fill_and_drain(bench, jobs, _names(100))
        # One at a time takes a round trip a job: a twentieth says as much.
        one = await fill_and_drain(bench, max(jobs // 20, 20), _names(1))
        samples.add("plain_per_second", plain.rate)
        samples.add("each_per_second", each.rate)
        samples.add("of_drain", each.rate / plain.rate)
        samples.add("hundred_per_second", hundred.rate)
        samples.add("hundred_of_drain", hundred.rate / plain.rate)
        samples.add("one_per_second", one.rate)
        samples.add("strict_per_second", (await fill_and_drain(bench, max(jobs // 20, 20), config=STRICT)).rate)
        samples.add("names_left", await _left_behind(bench, jobs))
        samples.add_all(each.cost.per_job(jobs))


async def _left_behind(bench: Bench, jobs: int) -> int:
    """Work a name per job, and count the rows that the names have then."""
    async with bench.schema() as schema:
        await fill(bench, schema, jobs, _names(jobs))
        await drain(bench, schema, jobs)
        return int(await bench.sql.fetchval(f'select count(*) from "{schema}".dynamic_queue'))  # noqa: S608 - our schema


def _names(count: int) -> Callable[[int], InsertOpts]:
    return lambda n: InsertOpts(dynamic_queue=f"runs-{n % count}")
