"""Do two processes work more than one?"""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from benchmarks.bench import Bench
from benchmarks.figures import COST, Figure, Samples
from benchmarks.jobs import TALLY
from benchmarks.measure import Cost
from benchmarks.process import run_arguments, run_knows, started
from benchmarks.tally import Together, gathered
from benchmarks.work import MAX_WORKERS, fill

TITLE: Final = "`workerqueue run --drain` with one process and with two"
FIGURES: Final = (
    Figure("one_per_second", "one process", "jobs/s"),
    Figure("two_per_second", "two processes", "jobs/s"),
    Figure("two_of_one", "two ÷ one", "×"),
    Figure("smaller_share", "share of the process that worked less, of two", "×"),
    *COST,
)
PICTURE: Final = ("one_per_second", "two_per_second")


async def measure(bench: Bench, samples: Samples) -> None:
    """Drain with one process and with two in turn."""
    supervised = run_knows("--processes")
    how = "--processes 2" if supervised else "two commands, since `run --processes` does not exist yet"
    samples.note(f"two processes: {how}; counted while both work; costs are those of two processes")
    jobs = bench.sizes.drain
    for _ in range(bench.repeat):
        one, _ = await _drained(bench, jobs, [[]])
        two, cost = await _drained(bench, jobs, [["--processes", "2"]] if supervised else [[], []])
        samples.add("one_per_second", one.rate)
        samples.add("two_per_second", two.rate)
        samples.add("two_of_one", two.rate / one.rate)
        samples.add("smaller_share", two.smaller_share)
        samples.add_all(cost.per_job(jobs))


async def _drained(bench: Bench, jobs: int, commands: list[list[str]]) -> tuple[Together, Cost]:
    """Fill a schema, start the commands at once, and wait until all have ended."""
    async with bench.schema() as schema:
        await fill(bench, schema, jobs)
        with tempfile.TemporaryDirectory() as folder:
            async with bench.cost() as cost, AsyncExitStack() as stack:
                shared = run_arguments(schema, "--drain", "--queues", f"default={MAX_WORKERS}")
                running = [
                    await stack.enter_async_context(started(bench, "workerqueue", [*shared, *more], {TALLY: folder}))
                    for more in commands
                ]
                for each in running:
                    if await each.wait() != 0:
                        raise RuntimeError(f"`workerqueue run --drain` ended with {each.returncode}")
            worked = gathered(Path(folder))
    if worked.jobs != jobs:
        raise RuntimeError(f"{worked.jobs} of {jobs} jobs were worked")
    return worked, cost
