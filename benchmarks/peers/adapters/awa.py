"""awa: a runtime in Rust fetches, finishes and writes in batches; jobs run on this process's event loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import awa

from benchmarks.peers.protocol import CONNECTIONS, Adapter, serve

MAX_WORKERS: Final = 500
"""Jobs at once."""


@dataclass
class Noop:
    """The arguments of a job."""

    n: int


class AwaAdapter(Adapter):
    """Inserts and works by one client each."""

    async def install(self) -> None:
        """Migrate, and let a first worker switch to the engine of fresh installations, as it is meant to."""
        client = awa.AsyncClient(self.url)
        await client.migrate()
        await self._start(client)
        await client.shutdown()
        await client.close()

    async def open(self) -> None:
        """Open the client that inserts."""
        self._client = awa.AsyncClient(self.url, max_connections=CONNECTIONS)

    async def insert(self, n: int) -> None:
        """Insert one."""
        await self._client.insert(Noop(n))

    async def insert_many(self, jobs: int) -> None:
        """Copy all at once."""
        await self._client.enqueue_many_copy([Noop(n) for n in range(jobs)])

    async def start(self) -> None:
        """Run a worker over one queue."""
        self._worker = awa.AsyncClient(self.url, max_connections=CONNECTIONS)
        await self._start(self._worker)

    async def _start(self, client: awa.AsyncClient) -> None:
        hit = self.ran.hit

        @client.task(Noop)
        async def noop(job: awa.Job[Noop]) -> None:
            hit(job.args.n)

        await client.start([("default", MAX_WORKERS)])


if __name__ == "__main__":
    serve(AwaAdapter)
