"""workerqueue, as the other benchmarks run it."""

from __future__ import annotations

from benchmarks.jobs import Noop, noops
from benchmarks.peers.protocol import Adapter, serve
from benchmarks.work import one_queue
from workerqueue import Client, Job, Workers, migrate


class WorkerqueueAdapter(Adapter):
    """Inserts by a client of its own, works with one queue of 1,000 workers."""

    async def install(self) -> None:
        """Migrate the default schema."""
        await migrate(self.url)

    async def open(self) -> None:
        """Open a client that inserts."""
        self._client = Client(self.url)
        await self._client.__aenter__()

    async def insert(self, n: int) -> None:
        """Insert one."""
        await self._client.insert(Noop(n=n))

    async def insert_many(self, jobs: int) -> None:
        """Insert all in one call, which is one transaction."""
        await self._client.insert_many(noops(jobs))

    async def start(self) -> None:
        """Start a second client, as an application's worker process has it."""
        workers = Workers()
        hit = self.ran.hit

        @workers.worker
        async def noop(job: Job[Noop]) -> None:  # pyright: ignore[reportUnusedFunction] - registered
            hit(job.args.n)

        self._worker = Client(self.url, config=one_queue(), workers=workers)
        await self._worker.__aenter__()
        await self._worker.start()


if __name__ == "__main__":
    serve(WorkerqueueAdapter)
