"""The workloads, asked of every system in the same words."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final

from benchmarks.bench import Bench
from benchmarks.connection import Connection
from benchmarks.figures import percentile
from benchmarks.peers.database import all_completed, connected, copied
from benchmarks.peers.protocol import Answer, Request
from benchmarks.peers.session import PATIENCE, AdapterError, Session, opened
from benchmarks.peers.systems import System

CALLERS: Final = 50
APART: Final = (0.005, 0.020)
"""Seconds between the jobs that are picked up by an idle queue, at random."""
CHUNKS: Final = 15
"""Bulk inserts a second where jobs flow, of as many jobs as the system is thought to work in that time."""
CHUNK: Final = (50, 1_000)
"""The smallest and the largest of these."""
FEWEST: Final = 20
"""Jobs of a drain."""
AHEAD: Final = 10
"""Bulk inserts that may be ahead of the worker: otherwise inserting takes the time of working."""

Found = dict[str, float]
"""What was measured, by the workload's name."""


async def insert(bench: Bench, system: System, template: str) -> Found:
    """Insert into a queue that nobody works: by one caller, by many, in bulk."""
    seconds = bench.sizes.peers_seconds
    async with copied(bench, template) as url, opened(system, url) as session:
        await session.ask(Request("open"))
        return {
            "one_caller": await _inserted(session, 1, seconds),
            "callers_50": await _inserted(session, CALLERS, seconds),
            "bulk": await _inserted_in_bulk(session, bench.sizes.peers_bulk, seconds),
        }


async def drain(bench: Bench, system: System, template: str) -> Found:
    """Work what is there, from the first job's start until the last can be read as completed; find what a job costs."""
    jobs = max(int(system.pace * bench.sizes.peers_seconds), FEWEST)
    async with copied(bench, template) as url, opened(system, url) as session, connected(url) as connection:
        await session.ask(Request("open"))
        async with bench.cost() as cost:
            await session.ask(Request("insert_many", jobs=jobs))
            await session.ask(Request("start"))
            first = (await session.ask(Request("wait", jobs=jobs))).first
            ended = await _completed(connection, system)
    costs = cost.per_job(jobs)
    del costs["client_cpu_us"]  # it is another process's
    return {"drain": jobs / (ended - first), **costs}


async def flow(bench: Bench, system: System, template: str) -> Found:
    """Pick up jobs from an idle queue, then have another process insert as fast as they are worked."""
    async with copied(bench, template) as url, opened(system, url) as worker:
        await worker.ask(Request("open"))
        await worker.ask(Request("start"))
        found = await _picked(worker, bench.sizes.peers_picks)
        async with opened(system, url) as inserter:
            await inserter.ask(Request("open"))
            return found | {"sustained": await _sustained(system, worker, inserter, bench.sizes.peers_seconds)}


async def _inserted(session: Session, callers: int, seconds: float) -> float:
    answer = await session.ask(Request("insert", callers=callers, seconds=seconds))
    return answer.jobs / answer.seconds


async def _inserted_in_bulk(session: Session, jobs: int, seconds: float) -> float:
    """Insert again and again, as long as the single inserts took."""
    calls, spent = 0, 0.0
    while spent < seconds:
        spent += (await session.ask(Request("insert_many", jobs=jobs))).seconds
        calls += 1
    return calls * jobs / spent


async def _completed(connection: Connection, system: System) -> float:
    """Wait until every job can be read as completed, and say when that was."""
    gives_up = monotonic() + PATIENCE
    while not await all_completed(connection, system):
        if monotonic() > gives_up:
            raise AdapterError(f"not all jobs that ran were completed within {PATIENCE:g} s")
        await asyncio.sleep(0.005)  # another process completes them
    return monotonic()


async def _picked(session: Session, jobs: int) -> Found:
    """Time each job from its acknowledged commit until it runs."""
    await session.ask(Request("pick", jobs=5, apart=APART))
    times = (await session.ask(Request("pick", jobs=jobs, apart=APART))).times
    return {"p50_ms": percentile(times, 0.5) * 1e3, "p99_ms": percentile(times, 0.99) * 1e3}


async def _sustained(system: System, worker: Session, inserter: Session, seconds: float) -> float:
    """Insert as much as the worker works, and count what it works."""
    chunk = min(max(system.pace // CHUNKS, CHUNK[0]), CHUNK[1])
    more = Request("insert_many", jobs=chunk)
    inserting = [inserter.begin(more) for _ in range(AHEAD)]
    reached = (await worker.ask(Request("wait", jobs=0))).jobs
    # The clock starts when what was ahead at first has been worked.
    starts = reached + AHEAD * chunk
    first: Answer | None = None
    while True:
        reached += chunk
        last = await worker.ask(Request("wait", jobs=reached))
        inserting.append(inserter.begin(more))
        if inserting[0].done():
            inserting.pop(0).result()  # or its error, which would keep the worker waiting
        if first is None and reached >= starts:
            first = last
        if first is not None and last.at >= first.at + seconds:
            return (last.jobs - first.jobs) / (last.at - first.at)
