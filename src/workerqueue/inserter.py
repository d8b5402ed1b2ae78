"""Writes inserts that arrive together by one statement; each caller waits for its own durable commit.

A commit costs a write to disk, however many rows it holds. So what arrives while one statement is being written is
the next one: 50 callers insert some twenty times as many jobs as they would one by one, and a lone caller, who
writes its job itself, loses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

from workerqueue.database import AsyncpgRunner, Database, RefusedDataError, Runner
from workerqueue.job import InsertResult
from workerqueue.keyed import insert_keyed
from workerqueue.once import insert_once
from workerqueue.options import NewJob, Payload

MAX_BATCH: Final = 200
WRITERS: Final = 2
"""Statements under way at once: one is encoded or written to disk while the next one is run."""
WORTH_A_WRITER: Final = 60
"""Waiting callers for whom a second statement is begun; for fewer, two would only halve the batches."""


class Waiting(NamedTuple):
    """A job to insert, and the caller who waits for it."""

    job: NewJob
    answer: asyncio.Future[InsertResult[Payload]]


class Inserter:
    """Inserts single jobs of any number of callers.

    Args:
        database: Where to insert them.
        timeout: Seconds that a caller waits at most for a connection, and for a statement.
    """

    def __init__(self, database: Database, timeout: float) -> None:
        self._database = database
        self._timeout = timeout
        self._queue: list[Waiting] = []
        self._under_way = 0
        self._writers: set[asyncio.Task[None]] = set()

    async def insert(self, job: NewJob) -> InsertResult[Payload]:
        """Insert a job, durably when this returns.

        A caller that is cancelled meanwhile may or may not have inserted it. A job with a key or an insert_id may have
        to wait for another transaction, so it keeps nobody else waiting and goes by itself.

        Raises:
            DatabaseError: If the database did not take it.
        """
        if job.keys:
            return (await insert_keyed(self._database, [job], self._timeout))[0]
        if job.insert_id is not None:
            return (await insert_once(self._database, [[job]], self._timeout))[0]
        if not self._under_way:
            return await self._write_alone(job)
        answer: asyncio.Future[InsertResult[Payload]] = asyncio.get_running_loop().create_future()
        self._queue.append(Waiting(job, answer))
        self._call_writer()
        return await answer

    async def _write_alone(self, job: NewJob) -> InsertResult[Payload]:
        """Write the job of a caller whom nobody else's insert keeps waiting."""
        self._under_way += 1
        try:
            async with self._database.inserting(self._timeout) as connection:
                ids, at = await self._database.jobs.insert_job(AsyncpgRunner(connection), job, self._timeout)
        finally:
            self._under_way -= 1
            self._call_writer()
        return InsertResult(job, ids[0], at)

    def _call_writer(self) -> None:
        """See that somebody writes what waits."""
        if self._queue and (not self._under_way or (len(self._queue) >= WORTH_A_WRITER and self._under_way < WRITERS)):
            self._under_way += 1
            self._writers.add(asyncio.create_task(self._write(), name="workerqueue insert"))

    async def _write(self) -> None:
        """Write until nobody waits any more, then leave.

        A writer leaves in the very step in which it sees that nobody waits: a callback would come later, and who
        arrived in between would rely on a writer that has gone.
        """
        try:
            await self._write_all()
        finally:
            self._under_way -= 1
            if (writer := asyncio.current_task()) is not None:
                self._writers.discard(writer)

    async def _write_all(self) -> None:
        """Write batches; a failure is told to those whose jobs were under way."""
        while self._queue:
            batch = self._take()
            try:
                async with self._database.inserting(self._timeout) as connection:
                    runner = AsyncpgRunner(connection)
                    while batch:
                        await self._write_batch(runner, batch)
                        await asyncio.sleep(0)  # who has got an answer may come again at once
                        batch = self._take()
            except BaseException as error:
                _fail(batch, error)
                if not isinstance(error, Exception):
                    raise

    def _take(self) -> list[Waiting]:
        batch, self._queue = self._queue[:MAX_BATCH], self._queue[MAX_BATCH:]
        return [each for each in batch if not each.answer.done()]  # not for callers who have gone

    async def _write_batch(self, runner: Runner, batch: Sequence[Waiting]) -> None:
        """Write a batch; one that is refused for its data is halved until the culprit is alone."""
        try:
            ids, at = await self._database.jobs.insert_jobs(runner, [each.job for each in batch], self._timeout)
        except RefusedDataError as error:
            if len(batch) == 1:
                _fail(batch, error)
                return
            middle = len(batch) // 2
            await self._write_batch(runner, batch[:middle])
            await self._write_batch(runner, batch[middle:])
            return
        for each, job_id in zip(batch, ids, strict=True):
            if not each.answer.done():
                each.answer.set_result(InsertResult(each.job, job_id, at))


def _fail(batch: Sequence[Waiting], error: BaseException) -> None:
    for each in batch:
        if not each.answer.done():
            each.answer.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
