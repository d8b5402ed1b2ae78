"""Leaks to put into a worker process: the memory campaign must find every one."""

# pyright: reportPrivateUsage=false
# A leak is put where the code keeps to itself.

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any, Final
from unittest.mock import patch

import asyncpg

from tests.faults.specs import URL
from workerqueue import Job
from workerqueue.database import Finished
from workerqueue.engine.completer import Completer

See = Callable[[Job[Any]], None]

EVERY: Final = 500
"""Jobs to a connection that is kept."""


def _sees_and_forgets(job: Job[Any]) -> None:
    pass


def _kept_jobs() -> See:
    kept: list[Job[Any]] = []
    return kept.append


def _kept_runs() -> See:
    kept: list[Finished] = []
    add = Completer.add

    def keeping(completer: Completer, finished: Finished) -> None:
        kept.append(finished)
        add(completer, finished)

    patch.object(Completer, "add", keeping).start()
    return _sees_and_forgets


def _kept_connections() -> See:
    kept: set[asyncio.Task[None]] = set()

    async def hold() -> None:
        connection = await asyncpg.connect(os.environ[URL], server_settings={"application_name": "workerqueue worker"})
        try:
            await asyncio.Event().wait()
        finally:
            await connection.close()

    def see(job: Job[Any]) -> None:
        if job.kind == "nothing" and job.id % EVERY == 0:
            kept.add(asyncio.create_task(hold()))

    return see


LEAKS: Final[Mapping[str, Callable[[], See]]] = {
    "none": lambda: _sees_and_forgets,
    "kept_jobs": _kept_jobs,
    "kept_runs": _kept_runs,
    "kept_connections": _kept_connections,
}
"""What each one is shown every job by, once the leak is there."""
