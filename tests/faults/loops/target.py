"""A worker process that a campaign strikes: a real client with one queue of its own, which notes each of its runs."""

# pyright: reportPrivateUsage=false
# A bug is seeded where the code keeps to itself.

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from unittest.mock import patch

from pydantic import BaseModel, ConfigDict

from tests.faults import leash
from tests.faults.journal import Journal
from tests.faults.mutants import MUTANTS
from tests.faults.specs import URL
from workerqueue import Client, Config, Job, JobArgs, QueueConfig, TaskConfig, Workers
from workerqueue.database import listening

STOP_TIMEOUT: Final = 10.0
NO_TIMEOUT: Final = 3_600.0
"""Seconds: none of these jobs is to be cut off by its own timeout."""


class TargetSpec(BaseModel):
    """What such a process is told when it is started; where the database is comes by its environment."""

    model_config = ConfigDict(frozen=True)

    name: str
    """Its client's id, and its queue."""
    journal: Path
    """Where it notes its runs; processes may share one."""
    slots: int = 20
    poll_interval: float = 1.0
    heartbeat_interval: float = 3.0
    lease_ttl: float = 10.0
    check_interval: float = listening.CHECK_INTERVAL
    check_timeout: float = listening.CHECK_TIMEOUT
    bug: str | None = None
    """One of `BUGS`, to prove that the campaign would find it."""


class Brief(JobArgs):
    """Ends at once."""

    @classmethod
    def kind(cls) -> str:
        return "brief"


class Lasting(JobArgs):
    """Waits, and lets others run meanwhile."""

    seconds: float

    @classmethod
    def kind(cls) -> str:
        return "lasting"


class Blocking(JobArgs):
    """Keeps the event loop to itself, asleep or at work."""

    seconds: float
    computes: bool

    @classmethod
    def kind(cls) -> str:
        return "blocking"


KINDS: Final[tuple[type[JobArgs], ...]] = (Brief, Lasting, Blocking)


def make_workers(journal: Journal) -> Workers:
    """Make who works the three kinds."""
    workers = Workers()

    def note(what: str, job: int) -> None:
        journal.add({"job": job, what: time.time()})

    @workers.worker
    async def brief(job: Job[Brief]) -> None:
        note("began", job.id)
        note("ended", job.id)

    @workers.worker
    async def lasting(job: Job[Lasting]) -> None:
        note("began", job.id)
        await asyncio.sleep(job.args.seconds)
        note("ended", job.id)

    @workers.worker
    async def block_the_loop(job: Job[Blocking]) -> None:
        note("began", job.id)
        if job.args.computes:
            _compute(job.args.seconds)
        else:
            time.sleep(job.args.seconds)  # noqa: ASYNC251 - what is tested is a blocked event loop
        note("ended", job.id)

    return workers


def _compute(seconds: float) -> None:
    until, number = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        number += 1


def _check_nothing() -> None:
    async def until_deaf(ear: listening._Ear) -> None:
        await ear._lost.wait()

    patch.object(listening._Ear, "until_deaf", until_deaf).start()


def _hear_nothing() -> None:
    def pass_on(_: listening._Ear, *__: object) -> None:
        return

    patch.object(listening._Ear, "_pass_on", pass_on).start()


BUGS: Final[Mapping[str, Callable[[], None]]] = {
    "checks_nothing": _check_nothing,
    "hears_nothing": _hear_nothing,
    "beat_in_the_loop": MUTANTS["beat_in_the_loop"].seed,
}


async def work(spec: TargetSpec) -> None:
    """Work until SIGTERM."""
    task = TaskConfig(queue=spec.name, timeout=NO_TIMEOUT)
    client = Client(
        os.environ[URL],
        id=spec.name,
        config=Config(
            queues={spec.name: QueueConfig(max_workers=spec.slots)}, tasks={kind.kind(): task for kind in KINDS}
        ),
        workers=make_workers(Journal(spec.journal)),
        poll_interval=spec.poll_interval,
        heartbeat_interval=spec.heartbeat_interval,
        lease_ttl=spec.lease_ttl,
        stop_timeout=STOP_TIMEOUT,
    )
    await client.run()


def main(path: Path, parent: int) -> None:
    """Run one."""
    leash.hold(parent)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    spec = TargetSpec.model_validate_json(path.read_text())
    patch.multiple(listening, CHECK_INTERVAL=spec.check_interval, CHECK_TIMEOUT=spec.check_timeout).start()
    if spec.bug is not None:
        BUGS[spec.bug]()
    asyncio.run(work(spec))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
