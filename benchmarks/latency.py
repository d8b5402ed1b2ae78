"""How soon does a worker start when a job comes into an idle queue, and when nobody is told of it?"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter
from typing import Final

from benchmarks.bare import bare_queue
from benchmarks.bench import Bench
from benchmarks.connection import connect, statement
from benchmarks.figures import COST, Figure, Samples, percentile
from benchmarks.jobs import Noop
from benchmarks.measure import Cost
from benchmarks.work import one_queue
from workerqueue import Client, Job, Workers

TITLE: Final = "Pick-up of an idle queue: from the acknowledged commit to the worker's start"
FIGURES: Final = (
    Figure("p50_ms", "latency, idle queue, p50", "ms", at_most=0.8),
    Figure("p99_ms", "latency, idle queue, p99", "ms", at_most=2.5),
    Figure("bare_p50_ms", "bare LISTEN, NOTIFY, fetch, p50", "ms"),
    Figure("bare_p99_ms", "bare LISTEN, NOTIFY, fetch, p99", "ms"),
    Figure("lost_of_interval", "notifications lost: slowest start ÷ poll interval", "×", at_most=1.0),
    Figure("lost_ms", "notifications lost: slowest start", "ms"),
    *COST,
)
PICTURE: Final = ("bare_p50_ms", "p50_ms", "bare_p99_ms", "p99_ms")

SLICES: Final = 10
"""The library and the bare statements take turns this often."""

Pick = Callable[[], Awaitable[float]]
"""Inserts a job and gives the seconds until it starts."""


async def measure(bench: Bench, samples: Samples) -> None:
    """Time pick-ups as often as asked."""
    samples.note("inserts 5–20 ms apart at random, by a client that does not work; both clients are in one process")
    for turn in range(bench.repeat):
        await _told(bench, samples)
        if turn == 0:  # a second look would wait as long and say the same
            await _not_told(bench, samples)


async def _told(bench: Bench, samples: Samples) -> None:
    """Time the library's pick-ups and the bare ones in turn."""
    ours: list[float] = []
    bare: list[float] = []
    slice_size = max(bench.sizes.picks // SLICES, 1)
    async with bench.schema() as schema, _library(bench, schema) as (pick, _), _statements(bench) as bare_pick:
        await _times(pick, 5)
        await _times(bare_pick, 5)
        cost = Cost(server_cpu=0.0)
        for _ in range(SLICES):
            async with bench.cost() as part:
                ours += await _times(pick, slice_size)
            cost += part
            bare += await _times(bare_pick, slice_size)
    samples.add("p50_ms", percentile(ours, 0.5) * 1e3)
    samples.add("p99_ms", percentile(ours, 0.99) * 1e3)
    samples.add("bare_p50_ms", percentile(bare, 0.5) * 1e3)
    samples.add("bare_p99_ms", percentile(bare, 0.99) * 1e3)
    samples.note("CPU and WAL a job are the library's, the idle times between the jobs included")
    samples.add_all(cost.per_job(len(ours)))


async def _not_told(bench: Bench, samples: Samples) -> None:
    """Time jobs that plain SQL inserted, of which no notification tells."""
    interval = bench.sizes.poll_interval
    async with bench.schema() as schema, _library(bench, schema, interval) as (_, unnoticed):
        times = await _times(unnoticed, bench.sizes.lost, apart=(0.0, interval))
    samples.note(f"notifications lost: a poll interval of {interval:g} s, {bench.sizes.lost} jobs")
    samples.add("lost_ms", max(times) * 1e3)
    samples.add("lost_of_interval", max(times) / interval)


async def _times(pick: Pick, count: int, apart: tuple[float, float] = (0.005, 0.020)) -> list[float]:
    times: list[float] = []
    for _ in range(count):
        await asyncio.sleep(random.uniform(*apart))  # noqa: S311 - not a secret
        times.append(await asyncio.wait_for(pick(), 60))
    return times


@asynccontextmanager
async def _library(bench: Bench, schema: str, poll_interval: float = 1.0) -> AsyncGenerator[tuple[Pick, Pick]]:
    """Start a client that works and one that inserts; give a pick-up with a wake-up and one without."""
    starts: dict[int, asyncio.Future[float]] = {}
    sql = statement("insert_plain_job", schema)

    async def by_client() -> float:
        n, started = _expected(starts)
        await inserter.insert(Noop(n=n))
        acknowledged = perf_counter()
        return max(await started - acknowledged, 0.0)

    async def by_sql() -> float:
        n, started = _expected(starts)
        await connection.fetchval(sql, Noop.kind(), f'{{"n": {n}}}')
        acknowledged = perf_counter()
        return max(await started - acknowledged, 0.0)

    async with AsyncExitStack() as stack:
        connection = await connect(bench.url)
        stack.push_async_callback(connection.close)
        inserter = await stack.enter_async_context(Client(bench.url, schema=schema))
        worker = Client(
            bench.url, config=one_queue(100), workers=_noting(starts), schema=schema, poll_interval=poll_interval
        )
        await stack.enter_async_context(worker)
        await worker.start()
        await by_client()
        yield by_client, by_sql


@asynccontextmanager
async def _statements(bench: Bench) -> AsyncGenerator[Pick]:
    """Give a pick-up by the bare statements."""
    async with bare_queue(bench) as queue, AsyncExitStack() as stack:
        inserts, listens, claims, completes = [await connect(bench.url) for _ in range(4)]
        for each in (inserts, listens, claims, completes):
            stack.push_async_callback(each.close)
        woken = asyncio.Event()

        def wake(*_: object) -> None:
            woken.set()

        await listens.add_listener(queue.channel, wake)

        async def pick() -> float:
            await queue.insert_and_notify(inserts, 0)
            acknowledged = perf_counter()
            await woken.wait()
            woken.clear()
            batch = await queue.claim(claims)
            taken = perf_counter() - acknowledged
            await queue.complete(completes, batch)
            return taken

        yield pick


def _expected(starts: dict[int, asyncio.Future[float]]) -> tuple[int, asyncio.Future[float]]:
    started: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    n = len(starts)
    starts[n] = started
    return n, started


def _noting(starts: dict[int, asyncio.Future[float]]) -> Workers:
    workers = Workers()

    @workers.worker
    async def noop(job: Job[Noop]) -> None:  # pyright: ignore[reportUnusedFunction] - registered
        started = starts[job.args.n]
        if not started.done():
            started.set_result(perf_counter())

    return workers
