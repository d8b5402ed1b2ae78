"""The statements of queues and of the rules over them: one method per statement, named as its file."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from workerqueue.database.caller import Connection
from workerqueue.database.driver_errors import in_our_words
from workerqueue.database.rows import Choice, Counted, QueueChange, Removal, Room
from workerqueue.database.statements import CALL_TIMEOUT, statement

ALL: Final = "*"
"""The name of every queue, those to come too, where one is paused or resumed."""

CHANGED: Final = "\tqueues"
"""What is said on the channel when a queue is paused, resumed or changed; no pool is named like that."""

Rules = Mapping[str, object]
"""The rules of one pool or kind, as the statements read them."""


class QueueTable:
    """The statements over `queue` and `gate` in one schema."""

    def __init__(self, schema: str, channel: str) -> None:
        self._schema = schema
        self._channel = channel

    async def list_changes(self, connection: Connection) -> list[QueueChange]:
        """List what was said of queues at run time."""
        with in_our_words(self._schema):
            rows = await connection.fetch(statement("list_changes", self._schema), timeout=CALL_TIMEOUT)
        return [QueueChange._make(row) for row in rows]

    async def pause_queue(self, connection: Connection, name: str) -> bool:
        """Pause a queue, a dynamic one, or all; say whether it was not paused before."""
        with in_our_words(self._schema):
            rows = await connection.fetch(
                statement("pause_queue", self._schema), name, self._channel, CHANGED, timeout=CALL_TIMEOUT
            )
        return bool(rows[0]["changed"])

    async def resume_queue(self, connection: Connection, name: str) -> bool:
        """End a pause; say whether there was one."""
        with in_our_words(self._schema):
            rows = await connection.fetch(
                statement("resume_queue", self._schema), name, self._channel, CHANGED, timeout=CALL_TIMEOUT
            )
        return bool(rows[0]["changed"])

    async def change_queue(self, connection: Connection, name: str, said: Mapping[str, object]) -> None:
        """Change what a queue has; what is not said stays, and `None` goes back to what is configured."""
        with in_our_words(self._schema):
            await connection.execute(
                statement("change_queue", self._schema),
                name,
                json.dumps(said),
                self._channel,
                CHANGED,
                timeout=CALL_TIMEOUT,
            )

    async def remove_queue(self, connection: Connection, name: str) -> Removal:
        """Forget a queue that was added, if it has no live job."""
        with in_our_words(self._schema):
            rows = await connection.fetch(
                statement("remove_queue", self._schema), name, self._channel, CHANGED, timeout=CALL_TIMEOUT
            )
        return Removal(rows[0]["removed"], rows[0]["jobs"])

    async def count_jobs(self, connection: Connection) -> list[Counted]:
        """Count jobs by queue and state."""
        with in_our_words(self._schema):
            rows = await connection.fetch(statement("count_jobs", self._schema), timeout=CALL_TIMEOUT)
        return [Counted._make(row) for row in rows]

    async def count_dynamic(self, connection: Connection, name: str) -> list[Counted]:
        """Count the live jobs of one dynamic queue."""
        with in_our_words(self._schema):
            rows = await connection.fetch(statement("count_dynamic", self._schema), name, timeout=CALL_TIMEOUT)
        return [Counted._make(row) for row in rows]

    async def list_worked(self, connection: Connection) -> dict[str, int]:
        """Count the living clients that work each queue."""
        with in_our_words(self._schema):
            rows = await connection.fetch(statement("list_worked", self._schema), timeout=CALL_TIMEOUT)
        return {row["pool"]: row["clients"] for row in rows}

    async def change_pools(self, connection: Connection, number: int, pools: Collection[str]) -> None:
        """Write down what a client works from now on."""
        with in_our_words(self._schema):
            await connection.execute(statement("change_pools", self._schema), number, list(pools), timeout=CALL_TIMEOUT)

    async def hold_gates(self, connection: Connection, names: Collection[str]) -> list[str]:
        """Hold these gates until the transaction ends, and give those that are there."""
        with in_our_words(self._schema):
            rows = await connection.fetch(statement("hold_gates", self._schema), list(names), timeout=CALL_TIMEOUT)
        return [row["name"] for row in rows]

    async def make_gates(self, connection: Connection, names: Collection[str]) -> None:
        """Make these gates where they are missing."""
        with in_our_words(self._schema):
            await connection.execute(statement("make_gates", self._schema), list(names), timeout=CALL_TIMEOUT)

    async def find_room(self, connection: Connection, pools: Sequence[Rules]) -> list[Room]:
        """Tell how many jobs these pools may be given by their own limits and rates."""
        with in_our_words(self._schema):
            rows = await connection.fetch(
                statement("find_room", self._schema), json.dumps(pools), "[]", timeout=CALL_TIMEOUT
            )
        return [Room._make(row) for row in rows]

    async def choose_jobs(
        self, connection: Connection, pool: Rules, kinds: Sequence[Rules], worked: Collection[str], number: int
    ) -> Choice:
        """Choose what to claim of a pool under its rules and those of kinds."""
        with in_our_words(self._schema):
            rows = await connection.fetch(
                statement("choose_jobs", self._schema),
                json.dumps([pool]),
                json.dumps(kinds),
                list(worked),
                number,
                timeout=CALL_TIMEOUT,
            )
        return Choice._make(rows[0])

    async def note_starts(
        self, connection: Connection, pools: Sequence[Rules], kinds: Sequence[Rules], started: Collection[int]
    ) -> None:
        """Note what was started under rates."""
        with in_our_words(self._schema):
            await connection.execute(
                statement("note_starts", self._schema),
                json.dumps(pools),
                json.dumps(kinds),
                list(started),
                timeout=CALL_TIMEOUT,
            )

    async def count_runs(self, connection: Connection, pools: Collection[str]) -> None:
        """Let limits count what runs in these pools."""
        with in_our_words(self._schema):
            await connection.execute(statement("count_runs", self._schema), list(pools), timeout=CALL_TIMEOUT)
