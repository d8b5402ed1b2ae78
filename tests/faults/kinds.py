"""The five kinds of the harness, and what their workers leave behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from random import Random
from typing import Final
from zlib import crc32

from tests.faults.profiles import Profile
from workerqueue import Config, Fixed, Job, JobArgs, QueueConfig, TaskConfig, Workers, current_client
from workerqueue.database import Connection


class Marked(JobArgs):
    """A job that can be told from all others, whatever id it got."""

    token: str


class Effect(Marked):
    """Writes a row through a connection of its own."""

    @classmethod
    def kind(cls) -> str:
        return "effect"


class External(Marked):
    """Appends its key to a file: an effect that the database knows nothing of."""

    @classmethod
    def kind(cls) -> str:
        return "external"


class Failing(Marked):
    """Fails once in ten starts."""

    @classmethod
    def kind(cls) -> str:
        return "failing"


class Stalling(Marked):
    """Outlasts a lease now and then, at times with the event loop blocked."""

    @classmethod
    def kind(cls) -> str:
        return "stalling"


class Exact(Marked):
    """Writes a row in the transaction that completes it."""

    @classmethod
    def kind(cls) -> str:
        return "exact"


KINDS: list[type[Marked]] = [Effect, External, Failing, Stalling, Exact]

Leave = Callable[[int, int], Awaitable[None]]
"""Leaves an effect behind: the job's id, and the attempt."""
LeaveWith = Callable[[Connection, int, int], Awaitable[None]]
"""Does so on a connection on which a transaction is open."""


class OnPurposeError(Exception):
    """The tenth start."""


def config(profile: Profile) -> Config:
    """Give the task table: enough attempts that most jobs complete, and retries that come soon."""
    task = TaskConfig(max_attempts=6, retry=Fixed(0.2))
    by_turns = task.model_copy(update={"dynamic_queue": _name})
    tasks = {kind.kind(): by_turns if kind is Effect else task for kind in KINDS}
    if not profile.ruled:
        return Config(queues={"default": QueueConfig(max_workers=profile.slots)}, tasks=tasks)
    rules: Mapping[type[Marked], Mapping[str, object]] = {
        Effect: {"dynamic_order": "strict"},
        Failing: {"global_limit": LIMITS["failing"]},
        Stalling: {"partition_by": _part, "partition_limit": LIMITS["stalling"]},
    }
    return Config(
        queues={"default": QueueConfig(max_workers=profile.slots, global_limit=LIMITS["all"])},
        tasks={kind.kind(): tasks[kind.kind()].model_copy(update=dict(rules.get(kind, {}))) for kind in KINDS},
    )


LIMITS: Final[Mapping[str, int]] = {"all": 40, "failing": 7, "stalling": 2}
"""What a ruled profile allows at once: of all jobs, of a kind, and of each part of a kind."""


def _part(args: Stalling) -> str:
    """Part a kind's jobs in ten."""
    return args.token[-1]


def _name(args: Effect) -> str:
    """Give the dynamic queue of half of the effects: the others have a name each."""
    number = crc32(args.token.encode())
    return f"shared-{number % 100}" if number % 2 else f"own-{args.token}"


def make_workers(
    profile: Profile, seed: int, leave_row: Leave, leave_line: Leave, leave_exactly: LeaveWith, lease: Callable[[], int]
) -> Workers:
    """Make who works the five kinds; `lease` gives that of the run which asks."""
    workers = Workers()

    async def take_time(args: Marked) -> None:
        random = Random(f"{seed}/{args.token}")  # noqa: S311 - repeatable, not a secret
        await asyncio.sleep(random.uniform(0, 2 * profile.length))

    throw = partial(_throw, seed)

    @workers.worker
    async def effect(job: Job[Effect]) -> None:
        await take_time(job.args)
        await leave_row(job.id, job.attempt)

    @workers.worker
    async def external(job: Job[External]) -> None:
        await take_time(job.args)
        await leave_line(job.id, job.attempt)

    @workers.worker
    async def failing(job: Job[Failing]) -> None:
        await take_time(job.args)
        await leave_row(job.id, job.attempt)
        if throw(job.args, job.attempt) < 0.1:
            raise OnPurposeError(job.args.token)

    @workers.worker
    async def stalling(job: Job[Stalling]) -> None:
        await job.checkpoint(lease())
        await take_time(job.args)
        thrown = throw(job.args, job.attempt)
        if thrown < profile.blocking:
            time.sleep(profile.lease_ttl * 1.5)  # noqa: ASYNC251 - what is tested is a blocked event loop
        elif thrown < profile.blocking + profile.stalling:
            await asyncio.sleep(profile.lease_ttl * 1.5)
        if thrown < profile.blocking + profile.stalling:
            await job.checkpoint(lease())  # late: another run may be the current one by now
        await leave_row(job.id, job.attempt)

    workers.add(_exact(take_time, leave_exactly))
    return workers


def _throw(seed: int, args: Marked, attempt: int) -> float:
    return Random(f"{seed}/{args.token}/{attempt}").random()  # noqa: S311 - repeatable, not a secret


def _exact(take_time: Callable[[Marked], Awaitable[None]], leave: LeaveWith) -> Callable[[Job[Exact]], Awaitable[None]]:
    async def exact(job: Job[Exact]) -> None:
        await take_time(job.args)
        async with current_client().transaction() as tx:
            await leave(tx, job.id, job.attempt)
            await current_client().complete_tx(tx, job)

    return exact
