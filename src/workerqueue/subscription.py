"""Hears of what happens, in this process or in all of them, one event after the other."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

import anyio

from workerqueue.database import Database, QueueChange, keep_trying
from workerqueue.errors import ConfigError, DatabaseError, DatabaseUnavailableError, near_matches
from workerqueue.events import TYPES, Event, Events
from workerqueue.job_context import current_context, entered
from workerqueue.job_reader import JobReader

MOST_KEPT: Final = 1_000
"""Events that wait for a slow reader; of more, the oldest are lost."""
KEPT_FOR: Final = 60.0
"""Seconds for which a subscription to all processes is in force without being renewed."""
RENEWED_EVERY: Final = 20.0
OPENED_WITHIN: Final = 10.0
CLOSED_WITHIN: Final = 2.0


class Subscription(AsyncIterator[Event]):
    """The events that one reader asked for; an async context manager, in force once it is entered.

    Iteration ends when the block does. With a tenant in the context at the entry, only that tenant's jobs are heard of.
    """

    def __init__(
        self,
        database: Database,
        events: Events,
        reader: JobReader,
        *,
        types: Collection[str] | None,
        kinds: Collection[str] | None,
        cluster: bool,
    ) -> None:
        _check(types, kinds)
        self._database = database
        self._events = events
        self._reader = reader
        self._types = None if types is None else frozenset(types)
        self._kinds = None if kinds is None else frozenset(kinds)
        self._remote = _Remote(database, self._types, self._kinds, self._take) if cluster else None
        self._context = current_context()
        self._kept: deque[Event] = deque()
        self._missed = 0
        self._arrived = asyncio.Event()
        self._is_over = False

    async def __aenter__(self) -> Self:
        self._context = current_context()
        if self._remote is None:
            self._events.add(self._hear)
        else:
            await self._remote.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True
        self._arrived.set()
        if self._remote is None:
            self._events.remove(self._hear)
        else:
            await self._remote.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while True:
            while not self._kept:
                if self._is_over:
                    raise StopAsyncIteration
                self._arrived.clear()
                await self._arrived.wait()
            kept = self._kept[0]
            event = await self._with_job(kept)
            # Taken only now: whoever gives up waiting meanwhile finds it at the next call.
            if self._kept and self._kept[0] is kept:
                self._kept.popleft()
            else:
                self._missed -= 1  # it was dropped meanwhile, and is not lost
            if event is not None:
                missed, self._missed = self._missed, 0
                return replace(event, missed=missed) if missed else event

    def _hear(self, event: Event) -> None:
        """Take an event of this process, if it was asked for."""
        if self._types is not None and event.type not in self._types:
            return
        if self._kinds is not None and event.kind not in self._kinds:
            return
        self._take(event)

    def _take(self, event: Event) -> None:
        if len(self._kept) >= MOST_KEPT:
            self._kept.popleft()
            self._missed += 1
        self._kept.append(event)
        self._arrived.set()

    async def _with_job(self, event: Event) -> Event | None:
        """Give an event with its job, read where it has come without; `None` if it is another tenant's."""
        if event.job_id is None:
            return event
        tenant = self._context.tenant
        if event.read is None:
            with entered(self._context):
                try:
                    job = await self._reader.get(event.job_id)
                except DatabaseError:  # away for now: what happened is known all the same
                    job = None
            if job is None:
                return event if tenant is None else None
            return replace(
                event,
                kind=job.kind,
                queue=job.queue,
                attempt=job.attempt,
                max_attempts=job.max_attempts,
                context=job.context,
                read=lambda: job,
            )
        return event if tenant is None or event.context.tenant == tenant else None


class _Remote:
    """Hears of what other processes tell: a row in the database says so, a connection listens."""

    def __init__(
        self,
        database: Database,
        types: Collection[str] | None,
        kinds: Collection[str] | None,
        take: Callable[[Event], None],
    ) -> None:
        self._database = database
        self._types = types
        self._kinds = kinds
        self._take = take
        self._channel = f"{database.channel}_{secrets.token_hex(8)}"
        self._connected = asyncio.Event()
        self._in_force: asyncio.Future[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._paused: frozenset[str] = frozenset()
        self._looks = asyncio.Event()

    async def open(self) -> None:
        """Be in force when this returns.

        Raises:
            DatabaseUnavailableError: If the database does not answer.
            ConfigError: If notifications never arrive here, as through a pooler in transaction mode.
        """
        self._in_force = asyncio.get_running_loop().create_future()
        self._tasks = [
            asyncio.create_task(keep_trying("subscription", self._listen), name="workerqueue subscription"),
            asyncio.create_task(self._renew(), name="workerqueue subscription renewal"),
            asyncio.create_task(self._watch_queues(), name="workerqueue subscription queues"),
        ]
        try:
            async with asyncio.timeout(OPENED_WITHIN):
                await self._in_force
        except TimeoutError:
            await self.close()
            raise DatabaseUnavailableError("the database did not take the subscription in time") from None
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Hear no more."""
        for task in self._tasks:
            task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait(self._tasks)
            with anyio.move_on_after(CLOSED_WITHIN), suppress(DatabaseError):
                async with self._database.acquire(CLOSED_WITHIN) as connection:
                    await self._database.events.unsubscribe(connection, self._channel)

    async def _listen(self) -> None:
        await self._database.listen(self._hear, channel=self._channel)
        problem = "notifications don't arrive here, as through a pooler in transaction mode: give a direct URL"
        self._settle(ConfigError(f"subscribe: cluster=True: {problem}"))
        await asyncio.Event().wait()

    async def _renew(self) -> None:
        """Say that somebody listens: at once when the connection is there, and now and again."""
        while True:
            await self._connected.wait()
            self._connected.clear()
            try:
                async with self._database.acquire() as connection:
                    if self._in_force is None or not self._in_force.done():
                        self._paused = _paused(await self._database.queues.list_changes(connection))
                    await self._database.events.subscribe(connection, self._channel, self._types, self._kinds, KEPT_FOR)
                self._settle(None)
                with anyio.move_on_after(RENEWED_EVERY):
                    await self._connected.wait()
            except DatabaseError:
                await anyio.sleep(1)
            self._connected.set()

    async def _watch_queues(self) -> None:
        """Find out which queues were paused or resumed, when there is word that some were."""
        while True:
            await self._looks.wait()
            self._looks.clear()
            with suppress(DatabaseError):
                async with self._database.acquire() as connection:
                    paused = _paused(await self._database.queues.list_changes(connection))
                before, self._paused = self._paused, paused
                for type_, names in (("queue_paused", paused - before), ("queue_resumed", before - paused)):
                    for name in sorted(names):
                        if self._types is None or type_ in self._types:
                            self._take(Event(type_, None, "", name))

    def _hear(self, said: str | None) -> None:
        """Take a notification: it may be anybody's, so what it can't be is left."""
        if said is None:
            self._connected.set()
            return
        with suppress(ValueError, OverflowError):
            type_, at, *ids = said.split(" ")
            if type_ not in TYPES:
                return
            if type_.startswith("queue_"):
                self._looks.set()
                return
            when = datetime.fromtimestamp(float(at), UTC)
            for each in ids:
                self._take(Event(type_, int(each), "", "", at=when))

    def _settle(self, error: Exception | None) -> None:
        if self._in_force is None or self._in_force.done():
            return
        if error is None:
            self._in_force.set_result(None)
        else:
            self._in_force.set_exception(error)


def _paused(changes: Collection[QueueChange]) -> frozenset[str]:
    return frozenset(each.name for each in changes if each.paused_at is not None)


def _check(types: Collection[str] | None, kinds: Collection[str] | None) -> None:
    for name, given in {"types": types, "kinds": kinds}.items():
        if isinstance(given, str):
            raise ConfigError(f"{name}: expected a collection, got {given!r}; write [{given!r}]")
    for each in types or ():
        if each not in TYPES:
            raise ConfigError(f"types: no event {each!r}; {near_matches(each, TYPES)}")
