"""Tells an application's middleware of failed attempts; whatever it does, the job goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from typing import Final

from workerqueue.database import Claimed
from workerqueue.job import Job, JobState
from workerqueue.middleware import Failure, Middleware
from workerqueue.options import Payload
from workerqueue.outcome import Outcome

LONGEST: Final = 10.0
"""Seconds that one of them may take."""

_log = logging.getLogger("workerqueue.engine")


class Hooks:
    """Those of a client's middleware that want to hear of failures."""

    def __init__(self, middleware: Sequence[Middleware]) -> None:
        self._listening = [each for each in middleware if _listens(each)]

    def __bool__(self) -> bool:
        return bool(self._listening)

    async def tell(self, stored: Claimed, job: Job[Payload], error: BaseException, outcome: Outcome) -> None:
        """Tell how an attempt ended, if it failed."""
        if outcome.event not in ("failed", "discarded"):
            return
        is_last = outcome.state is JobState.DISCARDED
        retry_in = None if is_last else outcome.delay
        failure = Failure(job, error, stored.attempt, stored.max_attempts, is_last, retry_in)
        for each in self._listening:
            await _safely(each, each.on_failure(failure))
            if is_last:
                await _safely(each, each.on_discard(failure))


def _listens(each: Middleware) -> bool:
    own = type(each)
    return own.on_failure is not Middleware.on_failure or own.on_discard is not Middleware.on_discard


async def _safely(middleware: Middleware, hook: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(LONGEST):
            await hook
    except Exception:  # noqa: BLE001 - whatever it raises, the attempt ends as it does
        _log.exception("%s failed at a failure", type(middleware).__qualname__)
