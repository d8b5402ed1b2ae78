"""The kinds of the clock campaign: one that ends at once, two that come back, and one that outlasts a lease."""

from __future__ import annotations

import asyncio
from typing import Final

from workerqueue import Config, Fixed, Job, JobArgs, JobSnooze, TaskConfig, Workers

LEASE: Final = 3.0
BEAT: Final = 0.5
POLL: Final = 0.5
LATER: Final = 0.4
"""Seconds until what comes back is due again."""


class Once(JobArgs):
    @classmethod
    def kind(cls) -> str:
        return "once"


class Retried(JobArgs):
    @classmethod
    def kind(cls) -> str:
        return "retried"


class Snoozed(JobArgs):
    @classmethod
    def kind(cls) -> str:
        return "snoozed"


class Long(JobArgs):
    @classmethod
    def kind(cls) -> str:
        return "long"


KINDS: Final[tuple[type[JobArgs], ...]] = (Once, Retried, Snoozed, Long)

CONFIG: Final = Config(
    tasks={
        "retried": TaskConfig(max_attempts=2, retry=Fixed(LATER)),
        # A timeout is an interval: a clock that jumps past it ends nobody's job.
        "long": TaskConfig(max_attempts=1, timeout=LEASE * 3),
    }
)


class OnPurposeError(Exception):
    """How the first attempt ends."""


def make_workers() -> Workers:
    """Make who works them."""
    workers, seen = Workers(), set[int]()

    @workers.worker
    async def once(job: Job[Once]) -> None:
        pass

    @workers.worker
    async def retried(job: Job[Retried]) -> None:
        if job.attempt == 1:
            raise OnPurposeError

    @workers.worker
    async def snoozed(job: Job[Snoozed]) -> None:
        if job.id not in seen:  # by this process; another one may snooze it once more
            seen.add(job.id)
            raise JobSnooze(LATER)

    @workers.worker
    async def long(job: Job[Long]) -> None:
        await asyncio.sleep(LEASE * 1.3)

    return workers
