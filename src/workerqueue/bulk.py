"""Inserts any number of jobs in chunks: while PostgreSQL writes one, the next one is resolved."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Final

import anyio

from workerqueue.database import AsyncpgRunner, Database, Inserted, JobTable, Runner
from workerqueue.job import InsertResult
from workerqueue.options import NewJob, Payload

CHUNK: Final = 2_000
"""Jobs that one statement inserts."""

SHORTEST_CALL: Final = 0.05
"""Seconds that a statement has at least, however long its connection took."""

Results = list[InsertResult[Payload]]


async def insert_many(database: Database, jobs: Iterator[NewJob], timeout: float) -> Results:
    """Insert jobs in a transaction of their own; the results are in the order of the input.

    Args:
        database: Where to insert them.
        jobs: The jobs, resolved as they are asked for; what that raises leaves nothing behind.
        timeout: Seconds to wait at most for a connection, and for each statement.

    Raises:
        DatabaseError: If the database did not take them.
    """
    first = list(islice(jobs, CHUNK))
    following = list(islice(jobs, 1))
    deadline = anyio.current_time() + timeout
    async with database.acquire(timeout) as connection:
        runner = AsyncpgRunner(connection)
        if not following:  # one statement is a transaction by itself
            left = max(deadline - anyio.current_time(), SHORTEST_CALL)
            return await insert_with(database.jobs, runner, iter(first), left)
        async with database.begin(connection, timeout):
            return await insert_with(database.jobs, runner, chain(first, following, jobs), timeout)


async def insert_with(table: JobTable, runner: Runner, jobs: Iterator[NewJob], timeout: float) -> Results:
    """Insert jobs by a runner, `timeout` seconds for each statement; the results are in the order of the input."""
    results: Results = []
    written: tuple[Sequence[NewJob], Inserted] | None = None
    chunk = list(islice(jobs, CHUNK))
    while chunk:
        writing = asyncio.create_task(table.insert_jobs(runner, chunk, timeout))
        try:
            await asyncio.sleep(0)  # it is sent
            if written is not None:
                results += _results(*written)
            following = list(islice(jobs, CHUNK))
        except BaseException:
            writing.cancel()
            await asyncio.wait([writing])
            raise
        written, chunk = (chunk, await writing), following
    return results if written is None else results + _results(*written)


def _results(jobs: Sequence[NewJob], inserted: Inserted) -> Results:
    return [InsertResult(job, job_id, inserted.at) for job, job_id in zip(jobs, inserted.ids, strict=True)]
