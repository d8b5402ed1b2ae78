"""A client's row in the database: made before its first claim, kept alive by a heartbeat, ended by its stop."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Sequence

from workerqueue.database import ClientRow, Connection, Database
from workerqueue.engine.heartbeat import Calls, Heartbeat

_log = logging.getLogger("workerqueue.engine")


class Presence:
    """What others know of this client, and whether they believe it alive.

    Args:
        database: Where its row is.
        client: Its id.
        pools: What it works.
        kinds: The kinds it can work.
        heartbeat_interval: Seconds between two beats.
        lease_ttl: Seconds without a beat after which any client is dead.
        on_lost: Called when the client was declared dead: its jobs are others' by then.
        calls: What its heartbeat calls.
    """

    def __init__(
        self,
        database: Database,
        client: str,
        pools: Sequence[str],
        kinds: Sequence[str],
        *,
        heartbeat_interval: float,
        lease_ttl: float,
        on_lost: Callable[[], None],
        calls: Calls,
    ) -> None:
        self._interval = heartbeat_interval
        self._lease_ttl = lease_ttl
        self._database = database
        self._row = ClientRow(client, socket.gethostname(), os.getpid(), pools, kinds)
        self._on_lost = on_lost
        self._calls = calls
        self._number: int | None = None
        self._heartbeat: Heartbeat | None = None

    @property
    def registered(self) -> int | None:
        """The number, if the client has one now."""
        return self._number

    async def number(self, connection: Connection) -> int:
        """Give the number that the client's jobs name it by; register it where it has none."""
        if self._number is None:
            number = await self._database.jobs.register_client(connection, self._row)
            self._beat_for(number)
            self._number = number  # only now: who works without a heartbeat is dead to all others, and never told
        return self._number

    async def change_pools(self, connection: Connection, pools: Sequence[str]) -> None:
        """Say what the client works from now on."""
        self._row = self._row._replace(pools=pools)
        if self._number is not None:
            await self._database.queues.change_pools(connection, self._number, pools)

    async def end(self) -> None:
        """Say that the client has stopped; not before the last of its jobs has been released."""
        if self._heartbeat is not None:
            await self._heartbeat.stop()
            self._heartbeat = None

    def _beat_for(self, number: int) -> None:
        if self._heartbeat is None:
            heartbeat = Heartbeat(self._database, number, self._interval, self._lease_ttl, self._lost, self._calls)
            heartbeat.start()
            self._heartbeat = heartbeat
        else:
            self._heartbeat.number = number

    def _lost(self, number: int) -> None:
        """Take note that the client of this number was declared dead."""
        if number == self._number:
            self._number = None
            _log.error("Client %s was declared dead, as it did not beat in time: its runs are cancelled", self._row.id)
            self._on_lost()
