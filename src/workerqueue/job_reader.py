"""How `client.jobs` looks at jobs: one by its id or key, a page of many, and one until it has ended."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, TypedDict, TypeVar, Unpack

import anyio

from workerqueue.args import read_args
from workerqueue.database import Connection, Database, JobFilter, StoredJob
from workerqueue.durations import Duration, as_timedelta
from workerqueue.errors import ConfigError, JobNotFoundError, JobWaitTimeout, brief, near_matches
from workerqueue.job import STATES, Job, JobState
from workerqueue.job_context import current_context
from workerqueue.options import Payload
from workerqueue.payload import INT64
from workerqueue.unique import key_text
from workerqueue.worker import Workers

A = TypeVar("A", covariant=True)

FIRST_LOOK: Final = 0.02
LONGEST_LOOK: Final = 0.5
LONGEST_PAGE: Final = 1_000

Named = int | str | Job[Payload]
"""A job, its id, or its key: text is a key, digits or not."""


class Which(TypedDict, total=False):
    """Which jobs are meant; what is left out is any."""

    states: Collection[JobState | str] | None
    """Of these states; the discarded ones are the dead letters."""
    kinds: Collection[str] | None
    queues: Collection[str] | None
    """Of these queues, by the name that they wait under: configured or dynamic."""
    pools: Collection[str] | None
    """Of these configured queues, their dynamic ones included."""
    tags: Collection[str] | None
    """With any of these tags."""
    ids: Collection[int] | None
    created_after: datetime | None
    """Inserted later than this."""
    created_before: datetime | None
    """Inserted earlier than this."""
    tenant: str | None
    """Of this tenant; where the current context has one, it is that one."""


@dataclass(frozen=True, slots=True)
class JobPage(Generic[A]):
    """Some jobs of a list."""

    jobs: list[Job[A]]
    next_cursor: str | None
    """Where the next page begins; `None` if this is the last."""


class JobReader:
    """Looks at the jobs of one client's schema."""

    def __init__(self, database: Database, workers: Workers) -> None:
        self._database = database
        self._workers = workers

    async def get(self, job: Named) -> Job[Payload] | None:
        """Read one job, live or finalized; `None` if there is none.

        A number is its id; text is its key, digits or not: that of the live job that has it, else the last that had.
        With a tenant in the current context, only that tenant's jobs are there. Its args are an object of their class
        where the class is known here and they still fit it, else a dict.
        """
        async with self._database.acquire() as connection:
            return await self._read(connection, await self._id_of(connection, job))

    async def list(self, *, limit: int = 100, cursor: str | None = None, **which: Unpack[Which]) -> JobPage[Payload]:
        """List jobs, live and finalized, newest first.

        Args:
            limit: How many at most, up to 1,000.
            cursor: The `next_cursor` of the page before.
            **which: Which jobs; see `Which`.

        Raises:
            ConfigError: If one of these can't be right.
        """
        asked = job_filter(**which)
        if not 1 <= limit <= LONGEST_PAGE:
            raise ConfigError(f"limit: expected 1 to {LONGEST_PAGE}, got {limit}; the next page has the rest")
        if cursor is not None and not (cursor.isascii() and cursor.isdecimal() and int(cursor) in INT64):
            raise ConfigError(f"cursor: expected the next_cursor of a page, got {brief(cursor)}")
        below = None if cursor is None else int(cursor)
        async with self._database.acquire() as connection:
            # One more, to see whether there is another page.
            found = await self._database.control.list_jobs(connection, asked, below=below, limit=limit + 1)
        jobs = [stored.to_job(self._args_of(stored)) for stored in found[:limit]]
        return JobPage(jobs, str(jobs[-1].id) if len(found) > limit else None)

    async def wait(self, job: Named, timeout: Duration) -> Job[Payload]:
        """Wait until a job is finalized, and give it as it then is.

        Args:
            job: The job, its id or its key.
            timeout: How long to wait at most (seconds if a number).

        Raises:
            JobWaitTimeout: If it is not finalized in that time.
            JobNotFoundError: If there is no such job, or its retention ended while it was waited for.
        """
        named = job.id if isinstance(job, Job) else job
        limit = as_timedelta(timeout)
        pause = FIRST_LOOK
        with anyio.move_on_after(limit.total_seconds()):
            while True:
                found = await self.get(named)
                if found is None:
                    raise JobNotFoundError(f"there is no job {named!r}")
                named = found.id  # its key may go to another one
                if found.state.is_final:
                    return found
                await anyio.sleep(pause)
                pause = min(pause * 1.5, LONGEST_LOOK)
        raise JobWaitTimeout(f"job {named!r} is not finalized after {limit}")

    async def _id_of(self, connection: Connection, job: Named) -> int | None:
        """Give a job's id; `None` where nothing has the key, or no job can have the number."""
        if isinstance(job, str):
            return await self._database.keys.find_key(connection, key_text(job))
        job_id = job.id if isinstance(job, Job) else job
        return job_id if job_id in INT64 else None

    async def _read(self, connection: Connection, job_id: int | None) -> Job[Payload] | None:
        stored = None if job_id is None else await self._database.jobs.get_job(connection, job_id)
        job = None if stored is None else stored.to_job(self._args_of(stored))
        tenant = current_context().tenant
        return job if job is None or tenant is None or job.context.tenant == tenant else None

    def _args_of(self, stored: StoredJob) -> Payload:
        return read_args(stored.kind, stored.args, self._workers.classes)


def job_filter(**which: Unpack[Which]) -> JobFilter:
    """Check what jobs are asked for.

    Raises:
        ConfigError: If it can't be right.
    """
    states, ids = which.get("states"), which.get("ids")
    kinds, queues, pools, tags = which.get("kinds"), which.get("queues"), which.get("pools"), which.get("tags")
    after, before = which.get("created_after"), which.get("created_before")
    for name, given in {"states": states, "kinds": kinds, "queues": queues, "pools": pools, "tags": tags}.items():
        if isinstance(given, str):
            raise ConfigError(f"{name}: expected a collection, got {given!r}; write [{given!r}]")
    for state in states or ():
        if state not in STATES:
            raise ConfigError(f"states: no state {str(state)!r}; {near_matches(str(state), STATES)}")
    for name, at in {"created_after": after, "created_before": before}.items():
        if at is not None and at.utcoffset() is None:
            raise ConfigError(f"{name}: expected an aware datetime, got the naive {at.isoformat()}; give it a zone")
    return JobFilter(
        states=None if states is None else [str(state) for state in states],
        kinds=None if kinds is None else list(kinds),
        queues=None if queues is None else list(queues),
        pools=None if pools is None else list(pools),
        tags=None if tags is None else list(tags),
        ids=None if ids is None else [each for each in ids if each in INT64],
        created_after=after,
        created_before=before,
        tenant=_tenant(which.get("tenant")),
    )


def _tenant(asked: str | None) -> str | None:
    own = current_context().tenant
    if own is not None and asked not in (None, own):
        raise ConfigError(f"tenant: expected {own!r}, whose context this is, got {brief(asked)}")
    return own or asked
