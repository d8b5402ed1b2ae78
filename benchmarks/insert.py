"""How fast are jobs inserted: by one caller, by many, in bulk, and in callers' own transactions?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter
from typing import Final

from benchmarks.bench import Bench
from benchmarks.connection import Connection, connect, statement
from benchmarks.figures import COST, Figure, Samples
from benchmarks.jobs import Hold, Noop, noops
from benchmarks.process import run_arguments, started
from workerqueue import Client, JobState

TITLE: Final = "Inserts: one caller, many callers, bulk, and callers' own transactions"
FIGURES: Final = (
    Figure("one_caller", "insert, one caller", "jobs/s"),
    Figure("bare_insert", "bare single-row INSERT, same run", "rows/s"),
    Figure("one_of_bare", "insert, one caller ÷ bare single-row INSERT", "×", at_least=0.9),
    Figure("callers_50", "insert, 50 callers", "jobs/s", at_least=60_000),
    Figure("callers_500", "insert, 500 callers", "jobs/s", at_least=100_000),
    Figure("many", "insert_many", "jobs/s", at_least=150_000),
    Figure("bare_copy", "bare COPY, same run", "rows/s"),
    Figure("many_of_copy", "insert_many ÷ bare COPY", "×", at_least=0.7),
    Figure("tx_awake", "20 connections of insert_tx, busy workers listening", "jobs/s"),
    Figure("tx_silent", "the same where nobody listens", "jobs/s"),
    Figure("tx_of_silent", "20 connections of insert_tx ÷ without any wake-up", "×", at_least=0.9),
    *(Figure(f"{each.name}", f"{each.says}, 50 callers", each.unit) for each in COST),
    *(Figure(f"many_{each.name}", f"{each.says}, insert_many", each.unit) for each in COST),
)
PICTURE: Final = (
    "one_caller",
    "bare_insert",
    "callers_50",
    "callers_500",
    "many",
    "bare_copy",
    "tx_awake",
    "tx_silent",
)

SLICES: Final = 10
"""The two sides of a ratio take turns this often: whatever the machine does meanwhile hits both."""
CONNECTIONS: Final = 20
HELD: Final = 8
"""Workers of the process that listens; each holds a job, so none is idle."""

Side = Callable[[], Awaitable[object]]


async def measure(bench: Bench, samples: Samples) -> None:
    """Measure each way of inserting."""
    samples.note("the bare sides write (kind, args) into the library's own table; args are made before the clock")
    for _ in range(bench.repeat):
        async with bench.schema() as schema, Client(bench.url, schema=schema) as client:
            await _one_caller(bench, samples, client, schema)
            await _many_callers(bench, samples, client)
        await _bulk(bench, samples)
        await _transactions(bench, samples)


async def _one_caller(bench: Bench, samples: Samples, client: Client, schema: str) -> None:
    sql = statement("insert_plain_job", schema)
    jobs = bench.sizes.lone_inserts // SLICES
    connection = await connect(bench.url)

    async def ours() -> None:
        for n in range(jobs):
            await client.insert(Noop(n=n))

    async def bare() -> None:
        for n in range(jobs):
            await connection.fetchval(sql, Noop.kind(), f'{{"n": {n}}}')

    try:
        mine, theirs = await _in_turn(ours, bare)
    finally:
        await connection.close()
    samples.add("one_caller", jobs * SLICES / mine)
    samples.add("bare_insert", jobs * SLICES / theirs)
    samples.add("one_of_bare", theirs / mine)


async def _many_callers(bench: Bench, samples: Samples, client: Client) -> None:
    for callers in (50, 500):
        each = bench.sizes.shared_inserts // callers

        async def call(each: int = each) -> None:
            for n in range(each):
                await client.insert(Noop(n=n))

        async with bench.cost() as cost, asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(call())
        samples.add(f"callers_{callers}", each * callers / cost.seconds)
        if callers == 50:
            samples.add_all(cost.per_job(each * callers))


async def _bulk(bench: Bench, samples: Samples) -> None:
    """Time `insert_many` and COPY on tables of their own, so that neither fills the other's index."""
    count = bench.sizes.bulk
    async with bench.schema() as schema, Client(bench.url, schema=schema) as client:
        jobs = noops(count)
        await client.insert_many(jobs[:10])  # opens the connection
        async with bench.cost() as ours:
            await client.insert_many(jobs)
    async with bench.schema() as schema:
        rows = [(Noop.kind(), f'{{"n": {n}}}') for n in range(count)]
        async with bench.cost() as bare:
            await bench.sql.copy_records_to_table("job", schema_name=schema, columns=["kind", "args"], records=rows)
    samples.add("many", count / ours.seconds)
    samples.add("bare_copy", count / bare.seconds)
    samples.add("many_of_copy", bare.seconds / ours.seconds)
    samples.add_all(ours.per_job(count, "many_"))


async def _transactions(bench: Bench, samples: Samples) -> None:
    samples.note(
        f"insert_tx: a process listens whose {HELD} workers hold a job each; the other side is a schema nobody works"
    )
    rounds = max(bench.sizes.tx_inserts // CONNECTIONS // SLICES, 1)
    async with AsyncExitStack() as stack:
        awake, silent = [await stack.enter_async_context(bench.schema()) for _ in range(2)]
        clients = [await stack.enter_async_context(Client(bench.url, schema=each)) for each in (awake, silent)]
        await stack.enter_async_context(_busy(bench, clients[0], awake))
        connections = [await connect(bench.url) for _ in range(CONNECTIONS)]
        for each in connections:
            stack.push_async_callback(each.close)
        with_wake_up, without = await _in_turn(
            lambda: _insert_all(clients[0], connections, rounds), lambda: _insert_all(clients[1], connections, rounds)
        )
    inserted = rounds * CONNECTIONS * SLICES
    samples.add("tx_awake", inserted / with_wake_up)
    samples.add("tx_silent", inserted / without)
    samples.add("tx_of_silent", without / with_wake_up)


async def _insert_all(client: Client, connections: list[Connection], rounds: int) -> None:
    async def insert(connection: Connection) -> None:
        for n in range(rounds):
            async with connection.transaction():
                await client.insert_tx(connection, Noop(n=n))

    async with asyncio.TaskGroup() as group:
        for each in connections:
            group.create_task(insert(each))


@asynccontextmanager
async def _busy(bench: Bench, client: Client, schema: str) -> AsyncGenerator[None]:
    """Have a process whose every worker is busy."""
    held = await client.insert_many([Hold(n=n) for n in range(HELD)])
    async with started(bench, "workerqueue", run_arguments(schema, "--queues", f"default={HELD}")):
        async with asyncio.timeout(60):
            for each in held:
                # Another process takes it, and nothing here hears of that.
                while (job := await client.jobs.get(each.job.id)) is None or job.state is not JobState.RUNNING:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        yield


async def _in_turn(one: Side, other: Side) -> tuple[float, float]:
    """Run two sides in turn, warmed up, and give the seconds of each."""
    spent = [0.0, 0.0]
    await one()
    await other()
    for turn in range(SLICES):
        # The second of a pair may find what the first left behind: they change places.
        for side in (0, 1) if turn % 2 else (1, 0):
            began = perf_counter()
            await (one, other)[side]()
            spent[side] += perf_counter() - began
    return spent[0], spent[1]
