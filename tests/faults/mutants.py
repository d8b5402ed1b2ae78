"""Bugs to seed into a process, each by one change of the code it has loaded: the checker must find every one.

The source stays as it is: a statement's text is altered as it is read, or a method is replaced.
"""

# pyright: reportPrivateUsage=false
# A bug is seeded where the code keeps to itself.

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from unittest.mock import patch
from weakref import WeakKeyDictionary

from tests.faults.profiles import Profile
from workerqueue.database import Claimed, Connection, Finished, jobs, statements
from workerqueue.database.callers_pool import DriverConnection
from workerqueue.database.connector import Connector
from workerqueue.database.jobs import JobTable
from workerqueue.database.rows import Rescued
from workerqueue.engine.engine import Engine
from workerqueue.engine.heartbeat import Heartbeat
from workerqueue.engine.producer import Producer
from workerqueue.outcome import COMPLETED

LIVELY: Final = Profile(jobs=600, rate=80, workers=3, inserters=1, drain=8, stalling=0, blocking=0, length=0.1)
"""Short, and without a fault; each mutant adds what brings it out."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A seeded bug."""

    bug: str
    seed: Callable[[], None]
    """Changes the code of the process it is called in."""
    profile: Profile
    """What brings it out."""


def apply(name: str) -> None:
    """Seed a bug into this process."""
    MUTANTS[name].seed()


ENDS: Final = ("record_outcomes", "record_turns")
"""The statements that write how runs ended."""


def _alter(names: Sequence[str], change: Callable[[str], str]) -> None:
    """Change the text of statements wherever it is asked for."""
    statement = statements.statement

    def altered(asked: str, schema: str) -> str:
        text = statement(asked, schema)
        return change(text) if asked in names else text

    for name in names:
        if altered(name, "any") == statement(name, "any"):
            raise RuntimeError(f"{name} has changed, and this mutant changes nothing in it any more")
    patch.object(jobs, "statement", altered).start()


def _no_lease() -> None:
    _alter(ENDS, lambda text: text.replace(" and job.lease = outcome.lease", ""))


def _unfenced_save() -> None:
    _alter(["save_state"], lambda text: text.replace(" and lease = $2::bigint", " and $2::bigint is not null"))


def _counted_stop() -> None:
    _alter(ENDS, lambda text: text.replace("case when outcome.counts then 0 else 1 end", "0"))


def _application_clock() -> None:
    skew = timedelta(seconds=2 if os.getpid() % 2 else -2)
    _alter(
        ["promote_due_jobs"],
        lambda text: text.replace("<= statement_timestamp()", f"<= timestamptz '{datetime.now(UTC) + skew}'", 1),
    )


READ = """
    select job.id from workerqueue.job join workerqueue.client on client.number = job.client
    where job.state = 'running' and client.ended_at is null
      and client.heartbeat_at < statement_timestamp() - make_interval(secs => $1)
"""
DECLARE = """
    update workerqueue.client set ended_at = statement_timestamp(), ended_as = 'lost'
    where ended_at is null and heartbeat_at < statement_timestamp() - make_interval(secs => $1)
"""
WRITE = """
    update workerqueue.job
    set state = 'available', lease = null, errors = coalesce(errors, '[]') || '{"type": "ClientLost"}'
    where id = any ($1) and state = 'running'
"""


def _rescue_by_reading() -> None:
    async def rescue_jobs(_: JobTable, connection: Connection, dead_after: float) -> Rescued:
        lost = [row["id"] for row in await connection.fetch(READ, dead_after)]
        await asyncio.sleep(random.uniform(0.2, 1.0))  # noqa: S311 - a race, not a secret
        await connection.execute(DECLARE, dead_after)
        await connection.execute(WRITE, lost)
        return Rescued([], len(lost), 0, ())

    patch.object(JobTable, "rescue_jobs", rescue_jobs).start()


def _no_rescue() -> None:
    async def rescue_jobs(_: JobTable, connection: Connection, dead_after: float) -> Rescued:
        return Rescued([], 0, 0, ())

    patch.object(JobTable, "rescue_jobs", rescue_jobs).start()


def _notified_only() -> None:
    async def rest(producer: Producer, connection: Connection) -> None:
        await producer._changed.wait()

    patch.object(Producer, "_rest", rest).start()


def _complete_first() -> None:
    async def work(engine: Engine, stored: Claimed, task: asyncio.Task[None]) -> None:
        engine._completer.add(Finished(stored, COMPLETED))
        await engine._executor.execute(stored, task)
        engine._producer.slot_freed(stored.pool)
        engine._freed.set()

    patch.object(Engine, "_work", work).start()


def _beat_in_the_loop() -> None:
    beating: WeakKeyDictionary[Heartbeat, asyncio.Task[None]] = WeakKeyDictionary()

    def start(heartbeat: Heartbeat) -> None:
        beating[heartbeat] = asyncio.create_task(heartbeat._main())

    async def stop(heartbeat: Heartbeat) -> None:
        heartbeat._stopping.set()
        if heartbeat._changed is not None:
            heartbeat._changed.set()
        await beating[heartbeat]

    patch.object(Heartbeat, "start", start).start()
    patch.object(Heartbeat, "stop", stop).start()


def _lazy_commit() -> None:
    connect = Connector.connect

    async def lazily(connector: Connector, settings: Mapping[str, str], timeout: float) -> DriverConnection:
        return await connect(connector, {**settings, "synchronous_commit": "off"}, timeout)

    patch.object(Connector, "connect", lazily).start()


MUTANTS: Final[Mapping[str, Mutant]] = {
    "complete_first": Mutant("the outcome is recorded before the worker has run", _complete_first, LIVELY),
    "notified_only": Mutant("nobody polls", _notified_only, replace(LIVELY, faults={"terminate": 6, "cut": 4})),
    "application_clock": Mutant("what is due is decided by the process's clock", _application_clock, LIVELY),
    "no_lease": Mutant(
        "the lease is dropped from the WHERE of what writes outcomes",
        _no_lease,
        replace(LIVELY, stalling=0.5, faults={"freeze": 8}),
    ),
    "unfenced_save": Mutant(
        "the lease is dropped from the WHERE of what saves checkpoints",
        _unfenced_save,
        replace(LIVELY, stalling=0.5, faults={"freeze": 8}),
    ),
    "rescue_by_reading": Mutant(
        "rescue reads whom it frees, then writes by id alone",
        _rescue_by_reading,
        replace(LIVELY, workers=4, length=0.7, faults={"kill": 8}),
    ),
    "no_rescue": Mutant("nobody is ever rescued", _no_rescue, replace(LIVELY, stalling=0.2, faults={"kill": 4})),
    "beat_in_the_loop": Mutant(
        "the heartbeat runs in the event loop of the workers", _beat_in_the_loop, replace(LIVELY, blocking=0.05)
    ),
    "counted_stop": Mutant(
        "a start cut off by a stop counts", _counted_stop, replace(LIVELY, stalling=0.5, faults={"term": 4})
    ),
    "lazy_commit": Mutant(
        "commits do not wait for the disk",
        _lazy_commit,
        replace(LIVELY, jobs=1_500, rate=150, workers=1, slots=100, length=0.5, faults={"restart": 6}),
    ),
}
