"""Listening that knows whether it hears: a notification of its own must come back, now and again.

Through a pooler in transaction mode LISTEN succeeds and nothing ever arrives; a connection whose network went away
raises nothing either. Both look like a quiet evening.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Final

import anyio
import asyncpg

from workerqueue.database.caller import Connection
from workerqueue.database.driver_errors import UNAVAILABLE, in_our_words
from workerqueue.database.session import ASK_TIMEOUT, CLOSE_TIMEOUT, has_own_session, share_sessions, terminate
from workerqueue.errors import DatabaseUnavailableError

if TYPE_CHECKING:
    from workerqueue.database.connection import Database

CHECK_INTERVAL: Final = 5.0
"""Seconds between two checks."""
CHECK_TIMEOUT: Final = 4.0
"""Seconds that the answer to one may take; both together are what a dead connection can stay unnoticed for."""


class Listener:
    """Listens to a channel, on one connection at a time."""

    def __init__(self, database: Database, channel: str) -> None:
        self._database = database
        self._channel = channel
        self.hears = False

    async def listen(self, on_hint: Callable[[str | None], None]) -> None:
        """Pass on notifications until the connection is lost; return where none is ever delivered.

        Raises:
            DatabaseUnavailableError: When the connection is lost, or dead without an error.
        """
        async with self._database.dedicated() as connection:
            with in_our_words(self._database.schema):
                is_own = await has_own_session(connection)
            if not is_own and await self._is_in_vain(connection):
                return
            ear = _Ear(self._database, connection, self._channel, on_hint, is_own=is_own)
            async with ear.open():
                if not await ear.hears_itself():
                    return
                self.hears = True
                try:
                    on_hint(None)
                    await ear.until_deaf()
                finally:
                    self.hears = False

    async def _is_in_vain(self, connection: Connection) -> bool:
        """Tell whether a pooler shares its sessions out: LISTEN would only stay behind in one of them."""
        with in_our_words(self._database.schema):
            async with self._database.acquire() as other:
                return await share_sessions(connection, other)


class _Ear:
    """One connection that listens, to the channel of hints and to one for its own checks.

    In a session of its own nothing but the connection's death can keep it from hearing, and any answer disproves
    that. It needs no other connection, which an application may have taken all.
    """

    def __init__(
        self,
        database: Database,
        connection: Connection,
        channel: str,
        on_hint: Callable[[str | None], None],
        *,
        is_own: bool,
    ) -> None:
        self._channel = channel
        self._is_own = is_own
        self._database = database
        self._connection = connection
        self._on_hint = on_hint
        self._own_channel = f"{database.channel}_{secrets.token_hex(8)}"
        self._lost = anyio.Event()
        self._heard = anyio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Listen, and leave the connection as it was: it may go back to a caller's pool."""
        connection = self._connection
        connection.add_termination_listener(self._end)
        try:
            with in_our_words(self._database.schema), anyio.fail_after(ASK_TIMEOUT):
                await connection.add_listener(self._channel, self._pass_on)
                await connection.add_listener(self._own_channel, self._hear)
            yield
        finally:
            with anyio.CancelScope(shield=True), suppress(*UNAVAILABLE, asyncpg.PostgresError):
                connection.remove_termination_listener(self._end)
                with anyio.move_on_after(CLOSE_TIMEOUT) as leaving:
                    await connection.remove_listener(self._channel, self._pass_on)
                    await connection.remove_listener(self._own_channel, self._hear)
                if leaving.cancelled_caught:
                    terminate(connection)

    async def until_deaf(self) -> None:
        """Check now and then, for ever.

        Raises:
            DatabaseUnavailableError: When nothing is heard any more.
        """
        while True:
            with anyio.move_on_after(CHECK_INTERVAL * random.uniform(0.8, 1)):  # noqa: S311 - jitter, not a secret
                await self._lost.wait()
            if self._lost.is_set() or not await (self._answers() if self._is_own else self._may_hear()):
                break
        terminate(self._connection)
        raise DatabaseUnavailableError("the listening connection was lost")

    async def _answers(self) -> bool:
        # No notification: each would wake every session of the database that listens.
        try:
            with in_our_words(self._database.schema):
                await self._connection.execute("select", timeout=CHECK_TIMEOUT)
        except DatabaseUnavailableError:
            return False
        return True

    async def _may_hear(self) -> bool:
        try:
            return await self.hears_itself()
        except DatabaseUnavailableError:
            return not self._lost.is_set()  # a check that can't be sent says nothing about what would be heard

    async def hears_itself(self) -> bool:
        """Send a notification, through a pooler from another connection, and tell whether it comes back.

        Raises:
            DatabaseUnavailableError: If it could not be sent, or the connection was lost meanwhile.
        """
        self._heard = anyio.Event()
        sender = nullcontext(self._connection) if self._is_own else self._database.acquire(CHECK_TIMEOUT)
        async with sender as connection:
            with in_our_words(self._database.schema):
                await connection.execute(f"notify {self._own_channel}", timeout=CHECK_TIMEOUT)
        with anyio.move_on_after(CHECK_TIMEOUT):
            await self._heard.wait()
        if self._lost.is_set():
            raise DatabaseUnavailableError("the listening connection was lost")
        return self._heard.is_set()

    def _pass_on(self, *notification: object) -> None:
        self._on_hint(str(notification[-1]))  # connection, process, channel, payload

    def _hear(self, *_: object) -> None:
        self._heard.set()

    def _end(self, _: object) -> None:
        self._lost.set()
        self._heard.set()  # nothing more is to be waited for
