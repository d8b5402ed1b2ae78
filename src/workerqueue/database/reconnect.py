"""Keeps a loop alive across everything the database does: capped, jittered back-off, and few words about it."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable

import anyio

from workerqueue.errors import DatabaseError

_log = logging.getLogger("workerqueue.database")

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 4.0
"""Seconds: with the connecting, work goes on within five after a server is back."""
SHARE = 0.25
"""Of the time that the database has been away by now: a server that recovers for four seconds costs one more."""
WORKED = 0.3
"""Seconds that a body must have lasted for its next failure to be the first of a new series."""
QUIET = 1.0
"""Seconds between two lines about one loop."""


async def keep_trying(name: str, body: Callable[[], Awaitable[None]]) -> None:
    """Run a loop's body until it returns, again after every failure of the database.

    The body connects, and goes on until its connection breaks. Pauses grow with the outage, from 0.1 s to 4 s, and
    half of each is drawn at random, so that the clients of a restarted server do not come back together; a body that
    lasted for a while starts again at the shortest.
    """
    away_since, said = float("inf"), float("-inf")
    while True:
        started = anyio.current_time()
        try:
            await body()
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, jobs wait for this loop
            now = anyio.current_time()
            away_since = now if now - started > WORKED else min(away_since, now)
            if now - said >= QUIET:
                _say(name, error)
                said = anyio.current_time()  # not before: it is lines that are to be apart
        pause = min(max((now - away_since) * SHARE, FIRST_PAUSE), LONGEST_PAUSE)
        await anyio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret


def _say(name: str, error: Exception) -> None:
    if isinstance(error, DatabaseError):
        _log.warning("%s: %s; trying again", name, error)
    else:
        _log.error("%s failed in a way nobody foresaw; trying again", name, exc_info=error)
