"""The kinds of the memory campaign: most do nothing; some fail, snooze, cancel, take too long, or run in a thread."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from itertools import count
from random import Random
from typing import Any, Final

from workerqueue import Config, Fixed, Job, JobArgs, JobCancel, JobSnooze, QueueConfig, TaskConfig, Workers

SLOTS: Final = 100
SOON: Final = 0.05


class Nothing(JobArgs):
    number: int

    @classmethod
    def kind(cls) -> str:
        return "nothing"


class Failing(JobArgs):
    number: int

    @classmethod
    def kind(cls) -> str:
        return "failing"


class Snoozing(JobArgs):
    number: int

    @classmethod
    def kind(cls) -> str:
        return "snoozing"


class Cancelling(JobArgs):
    number: int

    @classmethod
    def kind(cls) -> str:
        return "cancelling"


class Overlong(JobArgs):
    number: int

    @classmethod
    def kind(cls) -> str:
        return "overlong"


class Threaded(JobArgs):
    number: int

    @classmethod
    def kind(cls) -> str:
        return "threaded"


Numbered = Nothing | Failing | Snoozing | Cancelling | Overlong | Threaded

SHARES: Final[dict[type[Numbered], int]] = {
    Nothing: 950,
    Failing: 15,
    Snoozing: 10,
    Cancelling: 10,
    Overlong: 5,
    Threaded: 10,
}
"""Of a thousand jobs."""

CONFIG: Final = Config(
    queues={"default": QueueConfig(max_workers=SLOTS)},
    tasks={
        "failing": TaskConfig(max_attempts=2, retry=Fixed(SOON)),
        "overlong": TaskConfig(max_attempts=1, timeout=SOON),
    },
)


class OnPurposeError(Exception):
    """What a failing job ends with."""


def jobs(seed: int) -> Iterator[Numbered]:
    """Give jobs for ever, mixed by the seed; the first ones need every slot, and as many threads, at once."""
    number = count()
    for greedy in (Overlong, Threaded):
        for _ in range(SLOTS):
            yield greedy(number=next(number))
    mix = Random(seed)  # noqa: S311 - repeatable, not a secret
    kinds, weights = list(SHARES), list(SHARES.values())
    while True:
        for kind in mix.choices(kinds, weights, k=1_000):
            yield kind(number=next(number))


def make_workers(see: Callable[[Job[Any]], None]) -> Workers:
    """Make who works them; each of them shows its job to `see` first."""
    workers = Workers()

    @workers.worker
    async def nothing(job: Job[Nothing]) -> None:
        see(job)

    @workers.worker
    async def failing(job: Job[Failing]) -> None:
        see(job)
        if job.attempt == 1 or job.args.number % 2:
            raise OnPurposeError(f"job {job.args.number} in attempt {job.attempt}")

    @workers.worker
    async def snoozing(job: Job[Snoozing]) -> None:
        see(job)
        if random.random() < 0.2:  # noqa: S311 - not a secret
            raise JobSnooze(SOON)

    @workers.worker
    async def cancelling(job: Job[Cancelling]) -> None:
        see(job)
        raise JobCancel("on purpose")

    @workers.worker
    async def overlong(job: Job[Overlong]) -> None:
        see(job)
        await asyncio.sleep(60)

    @workers.worker
    def threaded(job: Job[Threaded]) -> str:
        see(job)
        time.sleep(SOON / 10)
        return "done"

    return workers
