"""Inserts any number of jobs in chunks: while PostgreSQL writes one, the next one is resolved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from operator import attrgetter
from typing import Final

import anyio

from workerqueue.database import AsyncpgRunner, Database, Inserted, Runner
from workerqueue.job import InsertResult
from workerqueue.keyed import insert_keyed, insert_keyed_with
from workerqueue.once import Results, insert_once, insert_once_with
from workerqueue.options import NewJob

CHUNK: Final = 2_000
"""Jobs that one statement inserts."""

SHORTEST_CALL: Final = 0.05
"""Seconds that a statement has at least, however long its connection took."""

_INSERT_ID: Final = attrgetter("insert_id")
_KEYS: Final = attrgetter("keys")


async def insert_many(database: Database, jobs: Iterator[NewJob], timeout: float) -> Results:
    """Insert jobs in a transaction of their own; the results are in the order of the input.

    If all of them have an insert_id, they are sent again after a lost connection.

    Args:
        database: Where to insert them.
        jobs: The jobs, resolved as they are asked for; what that raises leaves nothing behind.
        timeout: Seconds to wait at most for a connection, and for each statement.

    Raises:
        DatabaseError: If the database did not take them.
    """
    first = list(islice(jobs, CHUNK))
    if any(map(_KEYS, first)):
        # All at once: who holds keys of one chunk and waits for those of the next could be waited for in turn.
        return await insert_keyed(database, [*first, *jobs], timeout)
    has_ids = any(map(_INSERT_ID, first))
    if has_ids and all(map(_INSERT_ID, first)):
        first += jobs
        if all(map(_INSERT_ID, first)):
            chunks = [first[place : place + CHUNK] for place in range(0, len(first), CHUNK)]
            return await insert_once(database, chunks, timeout)
        first, jobs = first[:CHUNK], iter(first[CHUNK:])
    following = list(islice(jobs, 1))
    deadline = anyio.current_time() + timeout
    async with database.acquire(timeout) as connection:
        runner = AsyncpgRunner(connection)
        if not following and not has_ids:  # one statement is a transaction by itself
            left = max(deadline - anyio.current_time(), SHORTEST_CALL)
            return await insert_with(database, runner, iter(first), left)
        async with database.begin(connection, timeout):
            return await insert_with(database, runner, chain(first, following, jobs), timeout)


async def insert_with(database: Database, runner: Runner, jobs: Iterator[NewJob], timeout: float) -> Results:
    """Insert jobs by a runner, `timeout` seconds for each statement; the results are in the order of the input."""
    results: Results = []
    written: Callable[[], Results] | None = None
    chunk = list(islice(jobs, CHUNK))
    while chunk:
        writing = asyncio.create_task(_write(database, runner, chunk, timeout))
        try:
            await asyncio.sleep(0)  # it is sent
            if written is not None:
                results += written()
            following = list(islice(jobs, CHUNK))
        except BaseException:
            writing.cancel()
            await asyncio.wait([writing])
            raise
        written, chunk = await writing, following
    return results if written is None else results + written()


async def _write(database: Database, runner: Runner, jobs: Sequence[NewJob], timeout: float) -> Callable[[], Results]:
    """Write one chunk; its results are made when they are asked for."""
    if any(map(_KEYS, jobs)):
        keyed = await insert_keyed_with(database, runner, jobs, timeout)
        return lambda: keyed
    if any(map(_INSERT_ID, jobs)):
        results = await insert_once_with(database.jobs, runner, jobs, timeout)
        return lambda: results
    return partial(_results, jobs, await database.jobs.insert_jobs(runner, jobs, timeout))


def _results(jobs: Sequence[NewJob], inserted: Inserted) -> Results:
    return [InsertResult(job, job_id, inserted.at) for job, job_id in zip(jobs, inserted.ids, strict=True)]
