"""PgQueuer: asyncpg; jobs are fetched and finished in batches, on one connection."""

from __future__ import annotations

import asyncio
from typing import Final

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from benchmarks.peers.protocol import CONNECTIONS, Adapter, serve

FETCH: Final = 250
"""Jobs of one fetch, and of one write of what ended."""


class PgQueuerAdapter(Adapter):
    """Enqueues through a pool, works through a connection."""

    async def install(self) -> None:
        """Make the tables, durable as they are by default, with the settings of autovacuum it recommends."""
        connection = await asyncpg.connect(self.url)
        queries = Queries(AsyncpgDriver(connection))
        await queries.install()
        await queries.optimize_autovacuum()
        await connection.close()

    async def open(self) -> None:
        """Open the pool."""
        pool = await asyncpg.create_pool(self.url, min_size=CONNECTIONS, max_size=CONNECTIONS)
        self._queries = Queries(AsyncpgPoolDriver(pool))

    async def insert(self, n: int) -> None:
        """Enqueue one."""
        await self._queries.enqueue("noop", b"%d" % n)

    async def insert_many(self, jobs: int) -> None:
        """Enqueue all in one statement."""
        await self._queries.enqueue(["noop"] * jobs, [b"%d" % n for n in range(jobs)], [0] * jobs)

    async def start(self) -> None:
        """Run a queue manager."""
        queuer = PgQueuer.from_asyncpg_connection(await asyncpg.connect(self.url))
        hit = self.ran.hit

        @queuer.entrypoint("noop")
        async def noop(job: Job) -> None:
            hit(int(job.payload or b"0"))

        self._working = asyncio.create_task(queuer.run(batch_size=FETCH))


if __name__ == "__main__":
    serve(PgQueuerAdapter)
