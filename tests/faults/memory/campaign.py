"""The memory campaign: a worker and an inserter that see many jobs, and hold no more in the end than in the beginning.

The jobs come in rounds, as fast as they are taken. A few times a second both processes are looked at, and once more
after each round, when nothing is under way and Python has collected what nobody reaches. The first quarter is warm-up.

A straight line through the samples after that says how much a job leaves behind. That counts as none when the line's
interval contains zero, or when the line rises by less than `GROWTH` bytes (or `BLOCKS` blocks) over all of it. Arenas
that are never quite empty make the memory of any Python process come and go by a few MiB; 8 MiB is above that, and
below what the smallest leak there is makes of 2,000,000 jobs: one pointer for each, 8 bytes, is 12 MB in the three
quarters that are measured. Blocks are steadier, and whatever is kept beside a pointer is a block: 5,000 are one for
every 300 jobs.

Tasks, threads, descriptors and connections are counted when nothing is under way: in the last quarter of the jobs
they are no more than in the one after the warm-up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import asyncpg

from tests.faults.children import Child, started
from tests.faults.figures import Row
from tests.faults.memory.samples import Sample, look
from tests.faults.memory.slope import Slope, theil_sen
from tests.faults.server import Restartable
from workerqueue import migrate
from workerqueue.database import Connection

ROUNDS: Final = 40
SMALLEST_ROUND: Final = 4_000
EVERY: Final = 0.25
"""Seconds from one look to the next."""
NO_PROGRESS: Final = 60.0
"""Seconds without a job that ended, after which the campaign is over."""
GROWTH: Final = 8 * 2**20
BLOCKS: Final = 5_000
SETTINGS: Final = {"fsync": "off"}
"""What a crash would take is not looked at here, and waiting for a disk makes jobs no different."""


@dataclass
class _Watched:
    """A process, and what it was seen to hold."""

    name: str
    child: Child
    samples: list[Sample] = field(default_factory=list[Sample])

    async def look(self, connection: Connection, *, quiet: bool) -> Sample:
        sample = await look(self.child, self.name, connection, quiet=quiet)
        self.samples.append(sample)
        return sample


async def run(seed: int, jobs: int = 2_000_000, *, leak: str = "none") -> list[Row]:
    """Send jobs through, and tell what they left behind; `leak` puts one of `leaks` into the worker."""
    async with _ground(seed, leak) as (connection, inserter, worker):
        for target in _targets(jobs):
            await _insert_and_work(connection, inserter, worker, target)
        rows = [_none_left(jobs, await connection.fetchval("select count(*) from workerqueue.job"))]
    return rows + _figures(worker) + _figures(inserter)


@asynccontextmanager
async def _ground(seed: int, leak: str) -> AsyncGenerator[tuple[Connection, _Watched, _Watched]]:
    """Make a server and both processes; leave none of it behind."""
    with TemporaryDirectory(prefix="workerqueue-faults-", ignore_cleanup_errors=True) as folder:
        server = Restartable(Path(folder) / "postgres", **SETTINGS)
        await server.start()
        try:
            await migrate(server.url)
            log = Path(folder) / "processes.log"
            async with (
                asyncpg.create_pool(server.url, min_size=1, max_size=1) as pool,
                pool.acquire() as connection,
                started("tests.faults.memory.worker", leak, url=server.url, log=log) as worker,
                started("tests.faults.memory.inserter", str(seed), url=server.url, log=log) as inserter,
            ):
                yield connection, _Watched("inserter", inserter), _Watched("worker", worker)
        finally:
            await server.close()


def _targets(jobs: int) -> Iterator[int]:
    """Say how many jobs there are to be in all after each round."""
    rounds = max(min(ROUNDS, jobs // SMALLEST_ROUND), 4)
    return (jobs * number // rounds for number in range(1, rounds + 1))


async def _insert_and_work(connection: Connection, inserter: _Watched, worker: _Watched, target: int) -> None:
    inserted = inserter.samples[-1].done if inserter.samples else 0
    await inserter.child.ask("insert", target - inserted)
    loop = asyncio.get_running_loop()
    done, progress_at = -1, loop.time()
    while done < target:
        await asyncio.sleep(EVERY)
        before = done
        done = min([(await each.look(connection, quiet=False)).done for each in (inserter, worker)])
        progress_at = loop.time() if done > before else progress_at
        if loop.time() - progress_at > NO_PROGRESS:
            raise RuntimeError(f"{done} of {target} jobs, and no more: {worker.child.last_words}")
    for each in (inserter, worker):
        await each.look(connection, quiet=True)


def _none_left(jobs: int, left: int) -> Row:
    return Row("memory", jobs, f"{left} jobs left", "0", not left)


def _figures(watched: _Watched) -> list[Row]:
    name, samples = watched.name, watched.samples
    jobs = samples[-1].done
    warm = [sample for sample in samples if sample.done >= jobs / 4]
    quiet = [sample for sample in warm if sample.is_quiet]
    first, last = warm[0].rss / 2**20, warm[-1].rss / 2**20
    return [
        _slope(warm, lambda sample: sample.rss, GROWTH, f"{name}: {first:.0f} → {last:.0f} MiB,", "bytes"),
        _slope(quiet, lambda sample: sample.blocks, BLOCKS, f"{name}:", "blocks"),
        _flat(quiet, lambda sample: sample.tasks, f"{name}: tasks"),
        _flat(quiet, lambda sample: sample.threads, f"{name}: threads"),
        _flat(quiet, lambda sample: sample.descriptors, f"{name}: file descriptors"),
        _flat(quiet, lambda sample: sample.connections, f"{name}: connections"),
    ]


def _slope(samples: Sequence[Sample], value: Callable[[Sample], int], limit: int, what: str, unit: str) -> Row:
    jobs = samples[-1].done - samples[0].done
    slope = theil_sen([(sample.done, value(sample)) for sample in samples])
    figure = f"{what} {slope.middle:+.4f} {unit} a job ({slope.low:+.4f} to {slope.high:+.4f})"
    return Row("memory", jobs, figure, f"0 in it, or ≤ {limit / jobs:.4f}", _is_noise(slope, limit / jobs))


def _is_noise(slope: Slope, limit: float) -> bool:
    return slope.low <= 0 or slope.middle <= limit


def _flat(quiet: Sequence[Sample], value: Callable[[Sample], int], what: str) -> Row:
    third = max(len(quiet) // 3, 1)
    before, after = (median(value(sample) for sample in part) for part in (quiet[:third], quiet[-third:]))
    return Row("memory", len(quiet), f"{what} {before:g} → {after:g}", f"≤ {before:g}", after <= before)
