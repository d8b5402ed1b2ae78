"""Inserts under keys: at most one job that counts has a key, whatever is inserted, ends or is rolled back meanwhile.

Theory. A key is a row of its own. Whoever inserts under it holds that row until the transaction ends, and only then
looks, by another statement, at the job that has the key: nobody else can insert under it meanwhile, and a job that
counted at that look may only end afterwards. A holder that is rolled back leaves the row as it was, or no row at all,
and whoever waited for it goes on from there: so an insert always ends in a job, its own or the one that is there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, cast
from uuid import UUID

import anyio

from workerqueue.database import AsyncpgRunner, Database, KeyHolder, Runner, StoredJob
from workerqueue.errors import DatabaseUnavailableError
from workerqueue.job import InsertResult, JobState
from workerqueue.once import Known, Results, insert_once, insert_once_with
from workerqueue.options import NewJob, Payload
from workerqueue.unique import Key, Replacing

IN_HAND: Final = 0.01
"""Seconds until a job is looked at again that somebody had in hand: claims and ends of runs are short."""


async def insert_keyed(database: Database, jobs: Sequence[NewJob], timeout: float) -> Results:
    """Insert jobs of which some have keys, in a transaction of their own.

    If all of them have an insert_id, they are sent again after a lost connection.

    Raises:
        DatabaseError: If the database did not take them.
    """
    if all(job.insert_id is not None for job in jobs):
        return await insert_once(database, [jobs], timeout, partial(insert_keyed_with, database))
    async with database.acquire(timeout) as connection, database.begin(connection, timeout):
        return await insert_keyed_with(database, AsyncpgRunner(connection), jobs, timeout)


async def insert_keyed_with(database: Database, runner: Runner, jobs: Sequence[NewJob], timeout: float) -> Results:
    """Insert jobs of which some have keys, by a runner, in the transaction that is open there.

    Raises:
        OptionError: If an insert_id has been used for a job of another kind.
        DatabaseUnavailableError: If a job that is to be replaced stays in somebody's hand for all of `timeout`.
    """
    return await _Insertion(database, runner, timeout).insert(jobs)


@dataclass
class _New:
    """A job to insert, the keys it gets, and the places of the inserts that it is the answer to."""

    job: NewJob
    keys: dict[str, Key]
    places: list[int]
    """The first is its own; the others find it there."""


@dataclass
class _Insertion:
    """One call's inserts on their way."""

    database: Database
    runner: Runner
    timeout: float
    new: list[_New] = field(default_factory=list[_New])
    new_by_key: dict[str, _New] = field(default_factory=dict[str, _New])
    results: dict[int, InsertResult[Payload]] = field(default_factory=dict[int, InsertResult[Payload]])

    async def insert(self, jobs: Sequence[NewJob]) -> Results:
        """Insert them, in the order of the input."""
        known = await self._inserted_before(jobs)
        left = {place: job for place, job in enumerate(jobs) if job.insert_id not in known}
        asked = [key for job in left.values() for key in job.keys]
        stored = iter(await self.database.keys.take_keys(self.runner, asked, self.timeout))
        named = {place: {next(stored): key for key in job.keys} for place, job in left.items()}
        holders = await self._find({text for keys in named.values() for text in keys})
        for place, job in left.items():
            await self._place(place, job, named[place], holders)
        await self._write({place: job for place, job in enumerate(jobs) if job.insert_id in known})
        return [self.results[place] for place in range(len(jobs))]

    async def _inserted_before(self, jobs: Sequence[NewJob]) -> Collection[UUID | None]:
        ids = [job.insert_id for job in jobs if job.insert_id is not None]
        if not ids:
            return ()
        return set(await self.database.jobs.find_inserted(self.runner, ids, self.timeout))

    async def _find(self, keys: Collection[str]) -> dict[str, KeyHolder]:
        return await self.database.keys.find_keys(self.runner, keys, self.timeout)

    async def _place(self, place: int, job: NewJob, keys: dict[str, Key], holders: dict[str, KeyHolder]) -> None:
        """Decide what becomes of one insert: the job that is there, one that is replaced, or a new one."""
        for text, key in keys.items():
            if (new := self.new_by_key.get(text)) is not None:
                if self._join(new, place, job, keys, key):
                    return
                break
            holder = holders[text]
            if not blocks(key, holder):
                continue
            if key.replacing is None or holder.stored is None:
                self.results[place] = _duplicate(job, holder)
                return
            if (result := await self._replace(text, job, key.replacing, holder)) is not None:
                self.results[place] = result
                await self._give(dict.fromkeys(keys, result.job.id), keys)
                return
        new = _New(job, keys, [place])
        self.new.append(new)
        self.new_by_key |= dict.fromkeys(keys, new)

    def _join(self, new: _New, place: int, job: NewJob, keys: dict[str, Key], key: Key) -> bool:
        """Answer an insert by a new one of the same call, which it may replace; not if both are too large together."""
        if key.replacing is not None:
            gather = key.replacing.gather
            together = job if gather is None else job.gathered(new.job, gather)
            if together is None:
                return False
            new.job = together
            new.keys |= keys
            self.new_by_key |= dict.fromkeys(keys, new)
        new.places.append(place)
        return True

    async def _replace(self, text: str, job: NewJob, how: Replacing, holder: KeyHolder) -> InsertResult[Payload] | None:
        """Make the job that waits under a key this one; `None` if it does not wait, or is full."""
        deadline = anyio.current_time() + self.timeout
        while holder.stored is not None and holder.stored.state not in _NOT_WAITING:
            done = await self.database.keys.replace_job(self.runner, holder.stored.id, job, how, self.timeout)
            if done is False:
                return None
            holder = (await self._find([text]))[text]
            if done and holder.stored is not None:
                return InsertResult(Known(job, holder.stored), holder.stored.id, holder.stored.created_at, True)
            if anyio.current_time() >= deadline:
                raise DatabaseUnavailableError("the job that has this key is held by another transaction; try again")
            await anyio.sleep(IN_HAND)
        return None

    async def _write(self, known: dict[int, NewJob]) -> None:
        """Insert the new ones, and give them their keys; what was inserted before finds itself by its insert_id."""
        jobs = [new.job for new in self.new] + list(known.values())
        if not jobs:
            return
        made = await insert_once_with(self.database.jobs, self.runner, jobs, self.timeout)
        self.results |= zip(known, made[len(self.new) :], strict=True)
        for new, result in zip(self.new, made, strict=False):
            first, *others = new.places
            self.results[first] = result
            for place in others:
                self.results[place] = InsertResult(new.job, result.job.id, result.job.created_at, duplicate=True)
        ids = {text: self.results[new.places[0]].job.id for new in self.new for text in new.keys}
        await self._give(ids, {text: key for new in self.new for text, key in new.keys.items()})

    async def _give(self, jobs: dict[str, int], keys: dict[str, Key]) -> None:
        if jobs:
            ttls = {text: keys[text].ttl_seconds for text in jobs}
            await self.database.keys.give_keys(self.runner, jobs, ttls, self.timeout)


_NOT_WAITING: Final = {JobState.RUNNING, JobState.COMPLETED, JobState.CANCELLED, JobState.DISCARDED}


def blocks(key: Key, holder: KeyHolder) -> bool:
    """Tell whether the job that has a key keeps another from being inserted."""
    if holder.job is None:
        return False
    return holder.is_kept or (holder.stored is not None and holder.stored.state in key.states)


def _duplicate(job: NewJob, holder: KeyHolder) -> InsertResult[Payload]:
    stored: StoredJob | None = holder.stored
    if stored is None:  # its history has ended: what is left to tell is what was asked for
        return InsertResult(job, cast("int", holder.job), holder.at, duplicate=True)  # who has none blocks nothing
    return InsertResult(Known(job, stored), stored.id, stored.created_at, duplicate=True)
