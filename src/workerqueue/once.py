"""Inserts that may be repeated: jobs with an `insert_id` are there once, however often they are sent.

Theory. A connection that breaks between COMMIT and its answer leaves the caller not knowing. So the id is a row of its
own, written by the statement that writes the job and committed with it. Whoever comes again meets that row: one that
is committed says which job is there, one that is rolled back is no row, and one that is neither yet is waited for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final, cast
from uuid import UUID

import anyio
from pydantic import JsonValue

from workerqueue.args import JobArgs
from workerqueue.database import AsyncpgRunner, Database, JobTable, KnownInsert, Runner, StoredJob
from workerqueue.errors import ArgsError, DatabaseUnavailableError, OptionError
from workerqueue.job import InsertResult, Job
from workerqueue.options import NewJob, Payload
from workerqueue.payload import decode_model, read_json

FIRST_PAUSE: Final = 0.01
"""Seconds between a lost connection and the next try, doubled each time; each try waits until there is one."""
LONGEST_PAUSE: Final = 1.0

Results = list[InsertResult[Payload]]


Write = Callable[[Runner, Sequence[NewJob], float], Awaitable[Results]]
"""Inserts jobs by a runner, in the transaction that is open there."""


async def insert_once(
    database: Database, chunks: Sequence[Sequence[NewJob]], timeout: float, write: Write | None = None
) -> Results:
    """Insert jobs that all have an insert_id, in a transaction of their own; again if its connection is lost.

    Args:
        database: Where to insert them.
        chunks: The jobs, each chunk for one statement.
        timeout: Seconds in which to begin again at most, and to wait for each statement.
        write: Inserts a chunk; by default as jobs without keys.

    Raises:
        OptionError: If an insert_id has been used for a job of another kind.
        DatabaseError: If the database did not take them.
    """
    deadline = anyio.current_time() + timeout
    pause = FIRST_PAUSE
    while True:
        left = deadline - anyio.current_time()
        try:
            return await _insert(
                database, chunks, max(left, FIRST_PAUSE), write or partial(insert_once_with, database.jobs)
            )
        except DatabaseUnavailableError:
            if anyio.current_time() + pause >= deadline:
                raise
        await anyio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


async def _insert(database: Database, chunks: Sequence[Sequence[NewJob]], timeout: float, write: Write) -> Results:
    async with database.acquire(timeout) as connection, database.begin(connection, timeout):
        results: Results = []
        for chunk in chunks:
            results += await write(AsyncpgRunner(connection), chunk, timeout)
        return results


async def insert_once_with(table: JobTable, runner: Runner, jobs: Sequence[NewJob], timeout: float) -> Results:
    """Insert jobs of which some have an insert_id, by a runner, in the transaction that is open there.

    Raises:
        OptionError: If an insert_id has been used for a job of another kind.
    """
    results: dict[int, InsertResult[Payload]] = {}
    left: dict[int, NewJob] = dict(enumerate(jobs))
    while left:
        inserted = await table.insert_jobs_once(runner, list(left.values()), timeout)
        for (place, job), job_id in zip(left.items(), inserted.ids, strict=True):
            if job_id is not None:
                results[place] = InsertResult(job, job_id, inserted.at)
        left = {place: job for place, job in left.items() if place not in results}
        # A statement of its own: it sees what was committed while the first one waited for it.
        known = await table.find_inserted(runner, [_id_of(job) for job in left.values()], timeout) if left else {}
        results |= _duplicates(left, known)
        left = {place: job for place, job in left.items() if place not in results}  # keys that were forgotten meanwhile
    return [results[place] for place in range(len(jobs))]


def _duplicates(jobs: Mapping[int, NewJob], known: Mapping[UUID, KnownInsert]) -> dict[int, InsertResult[Payload]]:
    return {place: _duplicate(job, known[_id_of(job)]) for place, job in jobs.items() if _id_of(job) in known}


def _duplicate(job: NewJob, known: KnownInsert) -> InsertResult[Payload]:
    if known.stored is None:  # its history has ended: what is left to tell is what was asked for
        return InsertResult(job, known.job, known.at, duplicate=True)
    if known.stored.kind != job.terms.kind:
        raise OptionError(
            f"insert_id: {job.insert_id} has been used for job {known.job} of kind {known.stored.kind!r}; "
            "an insert of another job needs an id of its own"
        )
    return InsertResult(Known(job, known.stored), known.job, known.at, duplicate=True)


def _id_of(job: NewJob) -> UUID:
    return cast("UUID", job.insert_id)  # without one it was inserted


@dataclass(frozen=True, slots=True, repr=False)
class Known:
    """An insertion whose job was there already."""

    asked: NewJob
    stored: StoredJob

    def to_job(self, job_id: int, at: datetime) -> Job[Payload]:
        """Make the job as it is stored."""
        del job_id, at
        return self.stored.to_job(self._args())

    def _args(self) -> Payload:
        if not isinstance(self.asked.args, JobArgs):
            return cast("dict[str, JsonValue]", read_json(self.stored.args))
        try:
            return decode_model(type(self.asked.args), self.stored.args)
        except ArgsError:  # inserted by a version whose args were others
            return self.asked.args
