"""Writes how runs ended: whatever has gathered while one batch was being written is the next."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from workerqueue.database import Connection, Database, Finished, RefusedDataError, keep_trying
from workerqueue.engine.turns import Turns
from workerqueue.outcome import without_data

_log = logging.getLogger("workerqueue.engine")

MAX_BATCH: Final = 1_000
MAX_BACKLOG: Final = 10_000
"""Outcomes that may wait to be written; beyond that, slots wait, so that memory stays bounded."""


class Completer:
    """Writes outcomes in batches, without a timer; keeps them until the database has them.

    `on_written(finished, accepted)` is told of each one after its commit; it was not accepted if the run's lease
    was no longer good. Runs of dynamic queues are written by `turns`, which sees to the next ones.
    """

    def __init__(self, database: Database, turns: Turns, on_written: Callable[[Finished, bool], None]) -> None:
        self._database = database
        self._turns = turns
        self._on_written = on_written
        self._backlog: list[Finished] = []
        self._arrived = asyncio.Event()
        self._written = asyncio.Event()
        self._closing = False

    @property
    def backlog(self) -> int:
        """How many outcomes wait to be written."""
        return len(self._backlog)

    @property
    def is_full(self) -> bool:
        """Whether whoever brings outcomes must wait."""
        return len(self._backlog) >= MAX_BACKLOG

    def add(self, finished: Finished) -> None:
        """Take an outcome."""
        self._backlog.append(finished)
        self._arrived.set()

    async def wait_for_room(self) -> None:
        """Wait while the backlog is full."""
        while self.is_full:
            await self._next_write()

    async def close(self) -> None:
        """Write what is left and end `run`."""
        self._closing = True
        self._arrived.set()
        while self._backlog:
            await self._next_write()

    async def run(self) -> None:
        """Write until closed, through every loss of the connection."""
        await keep_trying("completer", self._write_while_connected)

    async def _write_while_connected(self) -> None:
        async with self._database.dedicated() as connection:
            while not self._closing or self._backlog:
                if not self._backlog:  # what a lost connection left is there already
                    await self._arrived.wait()
                self._arrived.clear()
                while self._backlog:
                    batch = _a_run_each(self._backlog[:MAX_BATCH])
                    await self._write(connection, batch)
                    # Dropped only now: a connection lost on the way leaves them for the next one.
                    del self._backlog[: len(batch)]
                    self._written.set()

    async def _write(self, connection: Connection, batch: Sequence[Finished]) -> None:
        """Write a batch: what waits in dynamic queues apart from the rest, since somebody waits for its turn."""
        turns = [finished for finished in batch if finished.job.queue is not None]
        if turns:
            await self._write_alike(connection, turns)
            batch = [finished for finished in batch if finished.job.queue is None]
        if batch:
            await self._write_alike(connection, batch)

    async def _write_alike(self, connection: Connection, batch: Sequence[Finished]) -> None:
        """Write a batch of one sort; one that is refused for its data is halved until the culprit is alone."""
        try:
            accepted = await self._record(connection, batch)
        except RefusedDataError as error:
            if len(batch) > 1:
                middle = len(batch) // 2
                await self._write_alike(connection, batch[:middle])
                await self._write_alike(connection, batch[middle:])
                return
            _log.error("the outcome of job %s can't be stored as it is: %s", batch[0].job.id, error)
            accepted = await self._discard(connection, batch[0]._replace(outcome=without_data(batch[0].outcome, error)))
        for finished in batch:
            self._on_written(finished, finished.job.id in accepted)

    async def _record(
        self, connection: Connection, batch: Sequence[Finished], *, with_follow_ups: bool = True
    ) -> set[int]:
        if batch[0].job.queue is not None:
            return await self._turns.record(connection, batch, with_follow_ups=with_follow_ups)
        return await self._database.jobs.record_outcomes(connection, batch, with_follow_ups=with_follow_ups)

    async def _discard(self, connection: Connection, finished: Finished) -> set[int]:
        """Write what stands for an outcome that was refused; without its follow-up, which may be at fault."""
        try:
            return await self._record(connection, [finished], with_follow_ups=False)
        except RefusedDataError as error:
            # Nothing can be written for this row; going on is all that is left to do for the others.
            _log.critical("job %s can't be ended: %s", finished.job.id, error)
            return set()

    async def _next_write(self) -> None:
        self._written.clear()
        await self._written.wait()


def _a_run_each(runs: Sequence[Finished]) -> Sequence[Finished]:
    """Leave off at the second run of a job: an answer names jobs, and at most one of two runs is accepted."""
    if len({run.job.id for run in runs}) == len(runs):
        return runs
    seen: set[int] = set()
    for place, run in enumerate(runs):
        if run.job.id in seen:
            return runs[:place]
        seen.add(run.job.id)
    return runs
