"""The next jobs of dynamic queues in which a job has ended here: this client runs them, or lets others."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence
from typing import Final

from workerqueue.database import Claimant, Claimed, Connection, Database, Finished, Recorded
from workerqueue.engine.unanswered import Unanswered

LOOKS: Final = 5
"""Looks at a dynamic queue that others change at the same moment; what still stands then is found by the leader."""


class Turns:
    """Sees to the dynamic queues whose turn one client has had.

    Args:
        database: Where they are.
        claimant: Says who runs the next jobs, of so many queues: nobody, where this client has no room for them.
        take: Runs a job that has its turn.
        unanswered: Told of what may have been claimed unheard.
        on_change: Called when a queue waits to be seen to.
    """

    def __init__(
        self,
        database: Database,
        claimant: Callable[[int], Claimant | None],
        take: Callable[[Claimed], None],
        unanswered: Unanswered,
        on_change: Callable[[], None],
    ) -> None:
        self._database = database
        self._claimant = claimant
        self._take = take
        self._unanswered = unanswered
        self._on_change = on_change
        self.waiting: set[str] = set()
        """The queues that have not been seen to."""

    def see_to(self, queues: Collection[str]) -> None:
        """Note that the next jobs of queues may have their turn."""
        if queues:
            self.waiting.update(queues)
            self._on_change()

    async def record(
        self, connection: Connection, runs: Sequence[Finished], *, with_follow_ups: bool = True
    ) -> set[int]:
        """Write how runs of dynamic queues ended, and run the next ones; give the ids of those that were accepted."""
        lease = secrets.randbits(63)
        try:
            recorded: Recorded = await self._database.jobs.record_turns(
                connection, runs, self._claimant(len(runs)), lease=lease, with_follow_ups=with_follow_ups
            )
        except BaseException:
            self._unanswered.add(lease)
            raise
        self._run(recorded.runs)
        self.see_to(recorded.turns)
        return recorded.accepted

    async def hand_over(self, connection: Connection) -> None:
        """See to the queues that wait for it."""
        queues, self.waiting = self.waiting, set()
        for _ in range(LOOKS):
            if not queues:
                return
            lease = secrets.randbits(63)
            try:
                handed = await self._database.jobs.hand_over(
                    connection, queues, self._claimant(len(queues)), lease=lease
                )
            except BaseException:
                self._unanswered.add(lease)
                self.waiting |= queues
                raise
            self._run(handed.runs)
            queues = set(handed.again)

    def _run(self, runs: Sequence[Claimed]) -> None:
        for run in runs:
            self._take(run)
