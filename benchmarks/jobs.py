"""The benchmarks' kinds, and their workers for the processes that `workerqueue run --tasks benchmarks.jobs` starts."""

from __future__ import annotations

import asyncio
import os
from typing import Final

from benchmarks.tally import SharedTally
from workerqueue import Job, JobArgs, Workers

TALLY: Final = "WORKERQUEUE_BENCH_TALLY"
"""The folder in which every process that works leaves its tally, if it is to keep one."""


class Noop(JobArgs):
    """Does nothing; `n` is there to be validated."""

    n: int

    @classmethod
    def kind(cls) -> str:
        """Name it."""
        return "bench.noop"


class Hold(JobArgs):
    """Keeps its worker busy until the process ends."""

    n: int

    @classmethod
    def kind(cls) -> str:
        """Name it."""
        return "bench.hold"


def one_of_100(args: Noop) -> str:
    """Name one of a hundred tenants."""
    return f"t{args.n % 100}"


def the_same(args: Noop) -> str:
    """Give one name to all."""
    del args
    return "one"


def noops(count: int) -> list[Noop]:
    """Make that many."""
    return [Noop(n=n) for n in range(count)]


workers: Final = Workers()
_folder: Final = os.environ.get(TALLY)
_tally: Final = SharedTally(_folder) if _folder else None


@workers.worker
async def noop(job: Job[Noop]) -> None:
    """Count the job where somebody asked for it."""
    del job
    if _tally is not None:
        _tally.hit()


@workers.worker
async def hold(job: Job[Hold]) -> None:
    """Wait for as long as the process lives."""
    del job
    await asyncio.Event().wait()
