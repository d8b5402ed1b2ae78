"""The statements of events that are told to other processes: one method per statement, named as its file."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from workerqueue.database.caller import Connection, Runner
from workerqueue.database.driver_errors import in_our_words
from workerqueue.database.rows import Happened
from workerqueue.database.statements import CALL_TIMEOUT, statement

SUBSCRIBED: Final = "\tsubscribed"
"""What is said on the channel of all clients when somebody subscribes; no pool is named like that."""


class EventTable:
    """The statements over `subscriber` in one schema."""

    def __init__(self, schema: str, channel: str) -> None:
        self._schema = schema
        self._channel = channel

    async def tell(self, runner: Runner, happened: Sequence[Happened]) -> None:
        """Tell subscribers what happened."""
        types, jobs, kinds = zip(*happened, strict=True)
        with in_our_words(self._schema):
            await runner.fetch(
                statement("tell", self._schema), list(types), list(jobs), list(kinds), timeout=CALL_TIMEOUT
            )

    async def subscribe(
        self,
        connection: Connection,
        channel: str,
        types: Collection[str] | None,
        kinds: Collection[str] | None,
        seconds: float,
    ) -> None:
        """Have events told on a channel for so many seconds; `None` asks for all."""
        with in_our_words(self._schema):
            await connection.execute(
                statement("subscribe", self._schema),
                channel,
                None if types is None else list(types),
                None if kinds is None else list(kinds),
                seconds,
                self._channel,
                SUBSCRIBED,
                timeout=CALL_TIMEOUT,
            )

    async def unsubscribe(self, connection: Connection, channel: str) -> None:
        """Have nothing told on a channel any more."""
        with in_our_words(self._schema):
            await connection.execute(statement("unsubscribe", self._schema), channel, timeout=CALL_TIMEOUT)
