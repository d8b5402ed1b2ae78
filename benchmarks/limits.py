"""What do limits cost that do not bind, and how near to its limit does a queue work?"""

from __future__ import annotations

from typing import Final

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Samples
from benchmarks.jobs import Noop, one_of_100
from benchmarks.work import MAX_WORKERS, fill_and_drain, one_queue
from workerqueue import Config, QueueConfig, TaskConfig

TITLE: Final = "Limits: one that does not bind, of a queue and of a kind and its parts; one that does"
FIGURES: Final = (
    Figure("plain_per_second", "drain without a limit, same run", "jobs/s"),
    Figure("queue_per_second", "a queue's limit that does not bind", "jobs/s"),
    Figure("queue_of_plain", "the same ÷ plain", "×", at_least=0.9),
    Figure("kind_per_second", "a kind's limit that does not bind", "jobs/s"),
    Figure("kind_of_plain", "the same ÷ plain", "×", at_least=0.9),
    Figure("parts_per_second", "100 parts, each with a limit that does not bind", "jobs/s"),
    Figure("ten_per_second", "a limit of ten no-op jobs at once", "jobs/s"),
)
PICTURE: Final = ("plain_per_second", "queue_per_second", "kind_per_second", "parts_per_second", "ten_per_second")

FAR: Final = 1_000_000
"""A limit that nothing here comes near."""


async def measure(bench: Bench, samples: Samples) -> None:
    """Drain the cases in turn."""
    jobs = bench.sizes.dynamic
    queue = {"default": QueueConfig(max_workers=MAX_WORKERS)}
    of_kind = Config(queues=queue, tasks={Noop.kind(): TaskConfig(global_limit=FAR)})
    of_parts = Config(queues=queue, tasks={Noop.kind(): TaskConfig(partition_by=one_of_100, partition_limit=FAR)})
    for _ in range(bench.repeat):
        plain = await fill_and_drain(bench, jobs)
        far = await fill_and_drain(bench, jobs, config=one_queue(global_limit=FAR))
        kind = await fill_and_drain(bench, jobs, config=of_kind)
        parts = await fill_and_drain(bench, jobs, config=of_parts)
        ten = await fill_and_drain(bench, max(jobs // 10, 20), config=one_queue(global_limit=10))
        samples.add("plain_per_second", plain.rate)
        samples.add("queue_per_second", far.rate)
        samples.add("queue_of_plain", far.rate / plain.rate)
        samples.add("kind_per_second", kind.rate)
        samples.add("kind_of_plain", kind.rate / plain.rate)
        samples.add("parts_per_second", parts.rate)
        samples.add("ten_per_second", ten.rate)
