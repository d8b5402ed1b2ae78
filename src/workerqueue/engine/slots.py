"""One pool's workers: long-lived tasks that take claimed jobs one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from workerqueue.database import StoredJob

_log = logging.getLogger("workerqueue.engine")


class Slots:
    """The slots of one pool, at most `max_workers`; each awaits the work of one job inline.

    A slot is a task that lives as long as the pool: starting a task for every job would cost more than most
    jobs do. Slots are started when they are first needed.
    """

    def __init__(self, pool: str, max_workers: int, work: Callable[[StoredJob], Awaitable[None]]) -> None:
        self.pool = pool
        self.max_workers = max_workers
        self.busy = 0
        self._work = work
        self._handed: deque[StoredJob] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def free(self) -> int:
        """How many more jobs could be worked now."""
        return self.max_workers - self.busy - len(self._handed)

    def hand(self, job: StoredJob) -> None:
        """Give a claimed job to a slot."""
        self._handed.append(job)
        while self._idle:
            waiting = self._idle.pop()  # the slot that worked last: its memory is warm
            if not waiting.done():
                waiting.set_result(None)
                return
        if len(self._tasks) < self.max_workers:
            self._start_slot()

    def take_back(self) -> list[StoredJob]:
        """Take the jobs that were handed over and have not been started."""
        jobs = list(self._handed)
        self._handed.clear()
        return jobs

    async def close(self) -> None:
        """End the slots; one whose worker does not end is left to itself."""
        self._closed = True
        for waiting in self._idle:
            waiting.cancel()
        if self._tasks and not self.busy:
            await asyncio.wait(self._tasks)

    def _start_slot(self) -> None:
        task = asyncio.create_task(self._slot(), name=f"workerqueue {self.pool}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def _slot(self) -> None:
        task = asyncio.current_task()
        # A worker may cancel the task it runs in, and so may whoever ends the loop: then this slot ends as well.
        while task is not None and not task.cancelling() and not self._closed:
            while not self._handed:
                waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._idle.append(waiting)
                await waiting
            job = self._handed.popleft()
            self.busy += 1
            try:
                await self._work(job)
            finally:
                self.busy -= 1

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._handed and not self._closed:
            self._start_slot()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a slot of pool %s failed", self.pool, exc_info=error)
