"""Procrastinate: psycopg; a job is fetched, and finished, by a statement of its own."""

from __future__ import annotations

import asyncio
from typing import Final

from procrastinate import App, PsycopgConnector

from benchmarks.peers.protocol import CONNECTIONS, Adapter, serve

CONCURRENCY: Final = 4
"""Jobs at once. More contend for the head of the queue, and each costs the server more."""
WORKERS_CONNECTIONS: Final = 4


class ProcrastinateAdapter(Adapter):
    """Defers by an application of its own, works by another: each has its pool."""

    async def install(self) -> None:
        """Apply the schema."""
        async with self._application(1).open_async() as app:
            await app.schema_manager.apply_schema_async()

    async def open(self) -> None:
        """Open the application that defers."""
        app = await self._application(CONNECTIONS).open_async()
        self._noop = app.configure_task("noop")

    async def insert(self, n: int) -> None:
        """Defer one."""
        await self._noop.defer_async(n=n)

    async def insert_many(self, jobs: int) -> None:
        """Defer all in one batch."""
        await self._noop.batch_defer_async(*({"n": n} for n in range(jobs)))

    async def start(self) -> None:
        """Run a worker that is notified, on a pool of the size that psycopg's has by default."""
        app = await self._application(WORKERS_CONNECTIONS).open_async()
        self._working = asyncio.create_task(
            app.run_worker_async(concurrency=CONCURRENCY, install_signal_handlers=False)
        )

    def _application(self, connections: int) -> App:
        app = App(connector=PsycopgConnector(conninfo=self.url, min_size=connections, max_size=connections))
        hit = self.ran.hit

        @app.task(name="noop")
        async def noop(n: int) -> None:
            hit(n)

        return app


if __name__ == "__main__":
    serve(ProcrastinateAdapter)
