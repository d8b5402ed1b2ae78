"""The bare queue: the measured statements on connections of their own, and nothing else; the yardstick."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from benchmarks.bench import Bench
from benchmarks.connection import Connection, connect, statement
from benchmarks.measure import Cost
from benchmarks.schema import bytes_per_finished_job, drop, new_name

BATCH: Final = 1_000
"""Faster than 500, and what the library may claim at once too."""
COMPLETERS: Final = 2
"""With the claim that is under way, three batches are in flight; one more may wait between them."""

KIND: Final = "bench.noop"

Batch = tuple[int, list[int]]
"""A lease and the ids that were claimed under it."""


@dataclass(frozen=True)
class BareDrain:
    """One drain of the bare queue."""

    jobs: int
    seconds: float
    insert: Cost
    work: Cost
    bytes: float

    @property
    def rate(self) -> float:
        """Jobs claimed and completed a second."""
        return self.jobs / self.seconds


class BareQueue:
    """The statements of `sql/` over a schema of their own."""

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self.channel = schema
        self._claim = statement("claim_batch", schema)
        self._complete = statement("complete_batch", schema)
        self._insert = statement("insert_and_notify", schema)

    async def copy(self, connection: Connection, jobs: int) -> None:
        """Insert jobs the fastest way there is."""
        rows = ((KIND, f'{{"n": {n}}}') for n in range(jobs))
        await connection.copy_records_to_table("live", schema_name=self.schema, columns=["kind", "args"], records=rows)

    async def insert_and_notify(self, connection: Connection, n: int) -> None:
        """Insert one job and notify in one statement."""
        await connection.fetch(self._insert, KIND, f'{{"n": {n}}}', self.channel)

    async def claim(self, connection: Connection, limit: int = BATCH) -> Batch:
        """Claim a batch; of what comes back only the ids are looked at."""
        lease = secrets.randbits(63)
        return lease, [row[0] for row in await connection.fetch(self._claim, lease, limit, "bare")]

    async def complete(self, connection: Connection, batch: Batch) -> int:
        """Complete a batch and say how many writes were accepted."""
        lease, ids = batch
        answer = await connection.execute(self._complete, ids, lease)
        return int(answer.rpartition(" ")[2])


@asynccontextmanager
async def bare_queue(bench: Bench) -> AsyncGenerator[BareQueue]:
    """Make a bare queue that is dropped in the end."""
    schema = new_name()
    await bench.sql.execute(statement("create_bare_tables", schema))
    try:
        yield BareQueue(schema)
    finally:
        await drop(bench.sql, schema)


async def drain_bare(bench: Bench, jobs: int) -> BareDrain:
    """Fill a bare queue by COPY and drain it, claims and completions overlapped."""
    async with bare_queue(bench) as queue, AsyncExitStack() as stack:
        # Losing a claim in a crash of the server only runs its jobs again.
        claimer = await _connected(bench, stack, synchronous_commit="off")
        completers = [await _connected(bench, stack) for _ in range(COMPLETERS)]
        async with bench.cost() as insert:
            await queue.copy(bench.sql, jobs)
        async with bench.cost() as work:
            began = perf_counter()
            completed = await _overlapped(queue, claimer, completers)
            seconds = perf_counter() - began
        if completed != jobs:
            raise RuntimeError(f"the bare queue completed {completed} of {jobs} jobs")
        size = await bytes_per_finished_job(bench.sql, queue.schema, jobs)
        return BareDrain(jobs, seconds, insert, work, size)


async def _overlapped(queue: BareQueue, claimer: Connection, completers: list[Connection]) -> int:
    """Claim on one connection while the others complete, until nothing is left."""
    claimed: asyncio.Queue[Batch | None] = asyncio.Queue(maxsize=1)

    async def claim() -> None:
        while (batch := await queue.claim(claimer))[1]:
            await claimed.put(batch)
        for _ in completers:
            await claimed.put(None)

    async def complete(connection: Connection) -> int:
        done = 0
        while (batch := await claimed.get()) is not None:
            done += await queue.complete(connection, batch)
        return done

    async with asyncio.TaskGroup() as loops:
        loops.create_task(claim())
        completing = [loops.create_task(complete(each)) for each in completers]
    return sum(each.result() for each in completing)


async def _connected(bench: Bench, stack: AsyncExitStack, **settings: str) -> Connection:
    connection = await connect(bench.url, **settings)
    stack.push_async_callback(connection.close)
    return connection
