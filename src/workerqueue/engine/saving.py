"""Saves what a worker says of its run while it runs: the newest of each, one write at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from workerqueue.job import SAVED

Write = Callable[[str | None, str | None], Awaitable[None]]
"""Writes progress and checkpoint, each JSON, or `None` where there is no newer one."""


class Saving:
    """What is saved of one run; its worker may be on the loop, or in any thread.

    Args:
        write: Writes to the database; it raises if the run is not its job's current one any more.
        loop: Where it is called.
    """

    def __init__(self, write: Write, loop: asyncio.AbstractEventLoop) -> None:
        self._write = write
        self._loop = loop
        self._progress: str | None = None
        self._checkpoint: str | None = None
        self._writer: asyncio.Task[None] | None = None

    def save(self, *, progress: str | None, checkpoint: str | None) -> Awaitable[None]:
        """Save what is not `None`: begun at once; from another thread, done when this returns."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run_coroutine_threadsafe(self._save(progress, checkpoint), self._loop).result()
            return SAVED
        saved = asyncio.shield(self._begin(progress, checkpoint))
        saved.add_done_callback(_heard)
        return saved

    async def finish(self) -> None:
        """Wait until what was begun is written, or refused."""
        if self._writer is not None:
            await asyncio.wait([self._writer])

    async def _save(self, progress: str | None, checkpoint: str | None) -> None:
        await asyncio.shield(self._begin(progress, checkpoint))

    def _begin(self, progress: str | None, checkpoint: str | None) -> asyncio.Task[None]:
        self._progress = self._progress if progress is None else progress
        self._checkpoint = self._checkpoint if checkpoint is None else checkpoint
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all(), name="workerqueue saving")
            self._writer.add_done_callback(_heard)
        return self._writer

    async def _write_all(self) -> None:
        while self._progress is not None or self._checkpoint is not None:
            progress, checkpoint = self._progress, self._checkpoint
            self._progress = self._checkpoint = None
            await self._write(progress, checkpoint)


def _heard(saved: asyncio.Future[None]) -> None:
    """Take note of an error that nobody may await: the run that it is about is cut off, or has ended."""
    if not saved.cancelled():
        saved.exception()
