"""Beats from a thread of its own, so that a blocked event loop is no death; rescues the jobs of those who don't.

The thread has an event loop and a connection that nothing else uses. It also watches the engine's loop, and says
what blocks it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import threading
import traceback
from collections.abc import Callable, Collection
from contextlib import suppress
from time import monotonic
from typing import Final, NamedTuple

import anyio

from workerqueue.database import Connection, Database, Rescued, keep_trying, let_others_run

_log = logging.getLogger("workerqueue.engine")

BLOCKED: Final = 1.0
"""Seconds that the engine's loop may take to answer before it is told what blocks it."""
LONGEST_AWAY: Final = 10.0
"""Seconds in which whoever lost the database together with this client is back: the longest pause and a connecting."""
GOODBYE: Final = 2.0
"""Seconds that a stop waits for the database to hear of it; unheard, the row is found dead later, without a job."""


class Calls(NamedTuple):
    """What a heartbeat calls in the loop of whoever started it."""

    on_queues: Callable[[], None]
    """Something was said of queues: for those whom no notification reaches."""
    on_stop: Callable[[Collection[int]], None]
    """Runs of these jobs were asked to stop."""
    on_heard: Callable[[bool], None]
    """Whether anybody has subscribed to events."""
    on_rescued: Callable[[Rescued], None]
    """Jobs of dead clients were freed."""


class Heartbeat:
    """Keeps one client's row alive.

    Args:
        database: Where the row is.
        number: The client's number; may be set anew.
        interval: Seconds between two beats.
        lease_ttl: Seconds without a beat after which a client is dead.
        on_lost: Called in the loop of whoever starts this, with the number that was declared dead.
        calls: What else is called there.
    """

    def __init__(
        self,
        database: Database,
        number: int,
        interval: float,
        lease_ttl: float,
        on_lost: Callable[[int], None],
        calls: Calls,
    ) -> None:
        self.number = number
        self._interval = interval
        self._lease_ttl = lease_ttl
        self._database = database.for_another_loop()
        self._on_lost = on_lost
        self._calls = calls
        self._said_of_queues: str | None = None
        self._engine = asyncio.get_running_loop()
        self._watchdog = Watchdog(self._engine)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = threading.Event()
        self._changed: asyncio.Event | None = None
        # Whoever has just come may have come after an outage that all others are still coming back from; where others
        # come and go all the time, their signs of life tell sooner.
        self._judges_from = monotonic() + lease_ttl
        self._looks_again = False
        # A daemon: a program that ends without stopping its client must not wait for it.
        self._thread = threading.Thread(target=self._run, name="workerqueue heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    async def stop(self) -> None:
        """Say goodbye and end; the row is ended if the database hears of it in time."""
        self._stopping.set()
        if self._loop is not None and self._changed is not None:
            with suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._changed.set)
        await anyio.to_thread.run_sync(self._thread.join, GOODBYE + 1, abandon_on_cancel=True)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except Exception:  # noqa: BLE001 - whatever it is, it must be heard of
            _log.critical("the heartbeat failed: others will take this client for dead", exc_info=True)

    async def _main(self) -> None:
        self._loop, self._changed = asyncio.get_running_loop(), asyncio.Event()
        beating = asyncio.create_task(keep_trying("heartbeat", self._beat_while_connected))
        while not self._stopping.is_set():
            self._watchdog.look()
            with anyio.move_on_after(BLOCKED):
                await self._changed.wait()
        with anyio.move_on_after(GOODBYE):
            await beating
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating

    async def _beat_while_connected(self) -> None:
        assert self._changed is not None  # noqa: S101 - set before this runs
        async with self._database.dedicated() as connection:
            # Who lost the database together with this client may be some pauses behind it.
            others_need = max(self._lease_ttl, LONGEST_AWAY)
            while not self._stopping.is_set():
                await self._beat(connection, others_need)
                others_need = self._lease_ttl
                with anyio.move_on_after(self._interval * random.uniform(0.9, 1.0)):  # noqa: S311 - jitter, not a secret
                    await self._changed.wait()
            await self._database.jobs.end_client(connection, self.number)

    async def _beat(self, connection: Connection, others_need: float) -> None:
        """Beat, and judge who doesn't; not before others had so many seconds to come back, if this client was away."""
        number = self.number
        beat = await self._database.jobs.beat(connection, number, self._lease_ttl)
        if beat.late:
            self._judges_from = max(self._judges_from, monotonic() + others_need)
        if not beat.alive:
            self._tell(self._on_lost, number)
        if beat.said_of_queues != self._said_of_queues:
            self._said_of_queues = beat.said_of_queues
            self._tell(self._calls.on_queues)
        if beat.asked_to_stop:
            self._tell(self._calls.on_stop, beat.asked_to_stop)
        self._tell(self._calls.on_heard, beat.is_heard)
        if self._looks_again or (beat.overdue and await self._is_sure(connection)):
            # What was held by another transaction, or claimed at the very moment of a death, is there at the next look.
            rescued = await rescue_jobs(self._database, connection, self._lease_ttl)
            self._looks_again = bool(rescued.dead)
            self._tell(self._calls.on_rescued, rescued)

    def _tell(self, call: Callable[..., None], *args: object) -> None:
        """Call something in the engine's loop."""
        with suppress(RuntimeError):  # it has ended
            self._engine.call_soon_threadsafe(call, *args)

    async def _is_sure(self, connection: Connection) -> bool:
        """Tell whether who is overdue is dead, and has not been away together with others."""
        if monotonic() >= self._judges_from:
            return True
        outage = self._lease_ttl / 2
        # An outage as long as that must still be seen when the last one is back from it.
        looking_back = max(self._lease_ttl, LONGEST_AWAY) + outage
        return await self._database.jobs.was_there(connection, looking_back=looking_back, outage=outage)


async def rescue_jobs(database: Database, connection: Connection, lease_ttl: float) -> Rescued:
    """Free the jobs of whoever has died, and say who has."""
    rescued = await database.jobs.rescue_jobs(connection, lease_ttl)
    await let_others_run(database, connection, rescued.turns)
    if rescued.dead or rescued.returned or rescued.discarded:
        _log.warning(
            "Rescued %d jobs, and discarded %d that had no attempt left: no living client ran them (dead: %s)",
            rescued.returned,
            rescued.discarded,
            ", ".join(rescued.dead) or "none just now",
        )
    return rescued


class Watchdog:
    """Tells from another thread when an event loop does not come round, and what it is doing instead."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        self._asked_at: float | None = None
        self._told = False

    def look(self) -> None:
        """Ask the loop for a sign, or say that it has not given one."""
        if self._asked_at is None:
            self._asked_at = monotonic()
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._answer)
        elif not self._told and monotonic() - self._asked_at >= BLOCKED / 2:
            self._told = True
            # There is no other way to see what a thread does.
            frame = sys._current_frames().get(self._thread)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            stack = "".join(traceback.format_stack(frame)[-12:]) if frame is not None else "(its thread is gone)"
            _log.warning("The event loop is blocked; nothing else runs until this ends:\n%s", stack)

    def _answer(self) -> None:
        asked_at, self._asked_at = self._asked_at, None
        if self._told and asked_at is not None:
            self._told = False
            _log.warning("The event loop was blocked for %.1f s", monotonic() - asked_at)
