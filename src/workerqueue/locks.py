"""What `client.lock` and `client.semaphore` do: leases that one, or so many, hold at a time in all processes together.

Theory. A lease is a row with an end, by the database's clock; whoever holds it moves the end on, and one that does not
in time has lost it, though it may not know yet. So what is done under a lock carries its fence, a number that only
grows: whoever takes care refuses what comes with a smaller one (Kleppmann, "How to do distributed locking", 2016).
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Final, Literal

import anyio

from workerqueue.database import Database
from workerqueue.durations import Duration, not_negative, positive
from workerqueue.errors import ConfigError, DatabaseError, LockHeldError, LockLostError, brief
from workerqueue.unique import KEY_LENGTH, is_key, scoped

_log = logging.getLogger("workerqueue.client")

FIRST_PAUSE: Final = 0.02
"""Seconds until somebody who waits tries again, at first."""
LONGEST_PAUSE: Final = 0.5
MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Lease:
    """A lock, or a place of a semaphore, that is held."""

    key: str
    fence: int
    """Grows with every taking of the key."""


class Locks:
    """Takes leases of one client's schema, in the scope of the current tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def hold(
        self, what: Literal["lock", "semaphore"], key: str, limit: int, ttl: Duration, wait: Duration | None
    ) -> AsyncGenerator[Lease]:
        """Hold one of so many leases of a key while the block runs, renewed; see `Client.lock`."""
        if not is_key(key):
            raise ConfigError(f"key: expected text of 1 to {KEY_LENGTH} characters, got {brief(key)}")
        if isinstance(limit, bool) or limit not in range(1, MOST + 1):
            raise ConfigError(f"limit: expected 1 to {MOST}, got {limit!r}")
        seconds = _duration("ttl", positive, ttl).total_seconds()
        patience = None if wait is None else _duration("wait", not_negative, wait).total_seconds()
        held = _Held(self._database, f"{what} {scoped(key)}", limit, seconds)
        fence = await held.take(key, patience)
        renewing = asyncio.create_task(held.renew(), name="workerqueue lock")
        try:
            with held.scope:
                yield Lease(key, fence)
        finally:
            renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing
            with anyio.CancelScope(shield=True), suppress(DatabaseError):
                await held.end()
        if held.is_lost:
            raise LockLostError(
                f"the lease of {brief(key)} could not be renewed within its {seconds:g} s, and was lost"
            )


class _Held:
    """One lease on its way from its taking to its end."""

    def __init__(self, database: Database, key: str, limit: int, ttl: float) -> None:
        self._database = database
        self._key = key
        self._limit = limit
        self._ttl = ttl
        self._token = secrets.randbits(63)
        self._place = 0
        self._until = 0.0
        self.scope = anyio.CancelScope()
        self.is_lost = False

    async def take(self, key: str, patience: float | None) -> int:
        """Take it, and give its fence; try again until it is free or patience has an end."""
        began, pause = monotonic(), FIRST_PAUSE
        while True:
            asked_at = monotonic()
            async with self._database.acquire() as connection:
                taken = await self._database.state.take_lease(
                    connection, self._key, self._limit, self._token, self._ttl
                )
            if taken.place is not None and taken.fence is not None:
                # From before the question: this process stops believing before the database does.
                self._place, self._until = taken.place, asked_at + self._ttl
                return taken.fence
            if not taken.all_held:
                continue  # another was quicker with this place
            left = None if patience is None else began + patience - monotonic()
            if left is not None and left <= 0:
                raise LockHeldError(
                    f"{brief(key)} is held by others" + (f", for {patience:g} s now" if patience else "")
                )
            jittered = pause * random.uniform(0.8, 1.2)  # noqa: S311 - jitter, not a secret
            await anyio.sleep(jittered if left is None else min(jittered, left))
            pause = min(pause * 1.5, LONGEST_PAUSE)

    async def renew(self) -> None:
        """Keep it, and cancel what is done under it when that can't be done in time."""
        while True:
            await anyio.sleep(min(self._ttl / 3, max(self._until - monotonic(), 0)))
            try:
                asked_at = monotonic()
                with anyio.fail_after(max(self._until - asked_at, 0)):
                    async with self._database.acquire() as connection:
                        is_held = await self._database.state.renew_lease(
                            connection, self._key, self._place, self._token, self._ttl
                        )
                if is_held:
                    self._until = asked_at + self._ttl
            except (DatabaseError, TimeoutError) as error:
                _log.debug("a lease was not renewed: %s", error)
                is_held = monotonic() < self._until
                await anyio.sleep(min(FIRST_PAUSE, max(self._until - monotonic(), 0)))
            if not is_held or monotonic() >= self._until:
                self.is_lost = True
                self.scope.cancel()
                return

    async def end(self) -> None:
        """Give it back."""
        if not self.is_lost:
            async with self._database.acquire() as connection:
                await self._database.state.end_lease(connection, self._key, self._place, self._token)


def _duration(name: str, read: Callable[[object], timedelta], value: Duration) -> timedelta:
    try:
        return read(value)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None
