"""Tells what happened: this process at once, and whoever has subscribed in another one through the database.

Theory. A subscriber elsewhere has a row in `subscriber` and listens to a channel of its own. Clients that work hear of
the first one by a notification, or at their next beat; an insert's answer says whether there is one. While there is
none, nothing is written and nothing sent. What is sent are ids, gathered while the last ones were being sent: a
subscriber reads the jobs, since anybody may send a notification.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Final

from workerqueue.database import AsyncpgRunner, Connection, Database, Happened, Runner, keep_trying
from workerqueue.errors import DatabaseError
from workerqueue.events import Event, Events

_log = logging.getLogger("workerqueue.events")

MOST_WAITING: Final = 10_000
"""Events that wait to be sent; of more, the oldest are dropped."""
BATCH: Final = 500
SURE: Final = 5.0
"""Seconds for which a new subscriber counts as there, whatever a beat says that was under way when it came."""


class Teller:
    """Tells what happens where one client works, inserts and handles jobs by hand."""

    def __init__(self, database: Database, events: Events) -> None:
        self._database = database
        self._events = events
        self._is_subscribed = False
        self._sure_until = float("-inf")
        self._waiting: deque[Happened] = deque(maxlen=MOST_WAITING)
        self._arrived: asyncio.Event | None = None
        """There while `run` runs; it belongs to one event loop."""

    def is_heard(self, type_: str) -> bool:
        """Tell whether anybody would hear of an event, here or elsewhere."""
        return self._is_subscribed or self._events.is_heard(type_)

    def has_subscriber(self) -> None:
        """Take note that somebody has just subscribed elsewhere."""
        self._is_subscribed = True
        self._sure_until = monotonic() + SURE

    def hear_of_subscribers(self, are_there: bool) -> None:
        """Take note of what a beat has seen."""
        self._is_subscribed = are_there or monotonic() < self._sure_until

    def tell(self, event: Event) -> None:
        """Tell an event here at once, and elsewhere soon."""
        self._events.emit(event)
        if self._is_subscribed and event.job_id is not None:
            self._waiting.append(Happened(event.type, event.job_id, event.kind))
            if self._arrived is not None:
                self._arrived.set()

    def tell_here(self, event: Event) -> None:
        """Tell an event here."""
        self._events.emit(event)

    async def send_in(self, runner: Runner, happened: Sequence[Happened]) -> None:
        """Tell events elsewhere at the commit of the transaction that is open there.

        Raises:
            DatabaseError: If the database does not take them.
        """
        await self._database.events.tell(runner, happened)

    async def send(self, connection: Connection, happened: Sequence[Happened]) -> None:
        """Tell events elsewhere; what happened has happened, whether anybody hears of it or not."""
        try:
            await self._database.events.tell(AsyncpgRunner(connection), happened)
        except DatabaseError as error:
            _log.debug("events are not told: %s", error)

    async def run(self) -> None:
        """Send what is told, for ever."""
        await keep_trying("teller", self._send_all)

    async def _send_all(self) -> None:
        arrived = self._arrived = asyncio.Event()
        while True:
            if not self._waiting:
                await arrived.wait()
            arrived.clear()
            async with self._database.acquire() as connection:
                while self._waiting:
                    batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH))]
                    await self.send(connection, batch)
