"""Chancy: psycopg; jobs are fetched up to the free concurrency, run on the event loop, and written in batches."""

from __future__ import annotations

import logging
from typing import Final

from chancy import Chancy, Queue, Worker, job
from chancy.plugins.leadership import Leadership
from chancy.plugins.pruner import Pruner
from chancy.plugins.recovery import Recovery

from benchmarks.peers.protocol import CONNECTIONS, Adapter, Ran, serve

CONCURRENCY: Final = 1_000
"""Jobs at once, and so of one fetch; as many are written at once."""
WRITES_APART: Final = 0.1
"""Seconds between two looks for jobs that ended. With the default, 1, a drain ends with a second of waiting."""

_ran: Ran | None = None


@job()
async def noop(*, n: int) -> None:
    """Count the job. A job is found by the name of its function, so what counts it stands in the module."""
    if _ran is not None:
        _ran.hit(n)


class ChancyAdapter(Adapter):
    """Pushes by an application of its own, works by another: each has its pool."""

    async def install(self) -> None:
        """Migrate."""
        async with self._application() as chancy:
            await chancy.migrate()

    async def open(self) -> None:
        """Open the application that pushes."""
        self._chancy = await self._application().__aenter__()

    async def insert(self, n: int) -> None:
        """Push one."""
        await self._chancy.push(noop.job.with_kwargs(n=n))

    async def insert_many(self, jobs: int) -> None:
        """Push all by one call, which commits a thousand at a time."""
        async for _ in self._chancy.push_many([noop.job.with_kwargs(n=n) for n in range(jobs)]):
            pass

    async def start(self) -> None:
        """Run a worker over one queue that fetches more whenever a job has ended."""
        global _ran
        _ran = self.ran
        chancy = await self._application().__aenter__()
        queue = Queue("default", concurrency=CONCURRENCY, executor=Chancy.Executor.Async, eager_polling=True)
        await chancy.declare(queue, upsert=True)
        self._worker = Worker(chancy, register_signal_handlers=False)
        self._worker.send_outgoing_interval = WRITES_APART
        await self._worker.start()

    def _application(self) -> Chancy:
        # What a queue needs of the plugins that come by default: neither metrics nor workflows.
        plugins = [Leadership(), Pruner(), Recovery()]
        log = logging.getLogger("chancy")
        log.setLevel(logging.WARNING)  # by default it writes a line a job
        return Chancy(
            self.url,
            plugins=plugins,
            no_default_plugins=True,
            log=log,
            min_connection_pool_size=CONNECTIONS,
            max_connection_pool_size=CONNECTIONS,
        )


if __name__ == "__main__":
    # Not this module's own class: run as a script, its `noop` would not be the one that the worker imports.
    from benchmarks.peers.adapters.chancy import ChancyAdapter as Imported

    serve(Imported)
