"""Leads, or waits for its turn: one client of a schema does the chores, for a term that it keeps renewing.

Two may believe to lead for a moment, so every chore is safe with two.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

import anyio

from workerqueue.database import Connection, Database, keep_trying
from workerqueue.errors import DatabaseError

_log = logging.getLogger("workerqueue.maintenance")

TERM: Final = 10.0
"""Seconds that a leader leads without renewing: twice what passes between two renewals."""
PAUSE: Final = 5.0
"""Seconds between two tries at most."""
SPREAD: Final = 0.5
"""Seconds over which those who wait for a term's end are spread."""
ANSWER: Final = 3.0
"""Seconds that an election may take."""
GOODBYE: Final = 1.0
"""Seconds that a stop waits for the resignation; unheard, the term runs out, or the client's end frees it."""
UNREGISTERED: Final = 0.05
"""Seconds between two looks whether the client has its row by now; costs no statement."""


class Leader:
    """One client's part in the leadership of its schema.

    Args:
        database: Where the lead is held.
        number: Gives the client's number; nobody without one can lead.
    """

    def __init__(self, database: Database, number: Callable[[], int | None]) -> None:
        self.term: int | None = None
        """The last term in which this client led; what two leaders must not both do repeats it in its statement."""
        self._database = database
        self._number = number
        self._until = float("-inf")
        self._next_try = float("-inf")
        self._won = asyncio.Event()
        self._freed = asyncio.Event()

    @property
    def is_leading(self) -> bool:
        """Whether this client leads, as far as it can know: its term has not run out by its own watch."""
        return monotonic() < self._until

    async def stand(self, turn: Callable[[Connection], Awaitable[float]]) -> None:
        """Stand for election for ever, and resign in the end.

        `turn` is done on the same connection, led or not, and says in how many seconds it wants to be done again: what
        looks as often as this does must not cost a connection of its own.
        """

        async def while_connected() -> None:
            async with self._database.dedicated() as connection:
                try:
                    await self._take_turns(connection, turn)
                except anyio.get_cancelled_exc_class():
                    with anyio.CancelScope(shield=True):
                        await self._resign(connection)
                    raise

        await keep_trying("leader", while_connected)

    async def _take_turns(self, connection: Connection, turn: Callable[[Connection], Awaitable[float]]) -> None:
        next_turn = monotonic()
        while True:
            if monotonic() >= self._next_try:
                led = self.is_leading
                await self._try(connection)
                if self.is_leading and not led:
                    next_turn = monotonic()
            if monotonic() >= next_turn:
                next_turn = await turn(connection) + monotonic()
            with anyio.move_on_after(max(min(next_turn, self._next_try) - monotonic(), 0.0)):
                await self._freed.wait()

    def look_again(self) -> None:
        """Try at once: the leader has resigned."""
        self._next_try = monotonic()
        self._freed.set()

    async def wait(self) -> None:
        """Wait until this client leads."""
        while not self.is_leading:
            self._won.clear()
            await self._won.wait()

    async def repeat(self, name: str, chore: Callable[[], Awaitable[None]], every: float) -> None:
        """Do a chore every so many seconds for ever, while this client leads; what fails waits for its next turn."""
        while True:
            await self.wait()
            try:
                await chore()
            except DatabaseError as error:
                _log.warning("%s: %s; trying again in %.0f s", name, error, every)
            except Exception:  # noqa: BLE001 - whatever it is, the other chores go on
                _log.exception("%s failed in a way nobody foresaw; trying again in %.0f s", name, every)
            await anyio.sleep(every * random.uniform(0.9, 1.1))  # noqa: S311 - jitter, not a secret

    async def _try(self, connection: Connection) -> None:
        """Take or keep the lead, and settle when to try again."""
        self._freed.clear()
        asked_at, number = monotonic(), self._number()
        if number is None:  # not registered yet, or declared dead
            self._until, self._next_try = float("-inf"), asked_at + UNREGISTERED
            return
        term, free_in = await self._database.chores.elect_leader(connection, number, TERM, timeout=ANSWER)
        pause = PAUSE * random.uniform(0.8, 1.0)  # noqa: S311 - jitter, not a secret
        if term is not None:
            if term != self.term:
                _log.debug("Leading, in term %d", term)
            # Counted from before the question: the database counts from later, so this client stops believing first.
            self.term, self._until = term, asked_at + TERM
            self._won.set()
        else:
            self._until = float("-inf")
            if free_in is not None:
                pause = min(pause, max(free_in, 0.0) + random.uniform(0.0, SPREAD))  # noqa: S311 - likewise
        self._next_try = monotonic() + pause

    async def _resign(self, connection: Connection) -> None:
        number, led = self._number(), self.is_leading
        self._until = float("-inf")
        if number is None or not led:
            return
        try:
            await self._database.chores.resign_leader(connection, number, timeout=GOODBYE)
        except DatabaseError as error:
            _log.debug("did not resign: %s", error)
