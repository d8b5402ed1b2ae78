"""One pool's workers: long-lived tasks that take claimed jobs one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Final

from workerqueue.database import Claimed

AHEAD_SECONDS: Final = 0.1
"""How much work a pool holds beside what runs, by the pace of its last jobs: enough to outlast a claim."""
MAX_AHEAD: Final = 1_000
WINDOW: Final = 0.005
"""Seconds over which the pace is measured, at least."""
LONGEST_WAIT: Final = 1.0
"""Seconds after which a claimed job that no slot has taken goes back for others to work."""
TURN: Final = 64
"""Jobs that end without waiting for anything before a slot lets the rest of the program have its turn."""

_log = logging.getLogger("workerqueue.engine")


class Slots:
    """The slots of one pool, at most `max_workers`; each awaits the work of one job inline.

    A slot is a task that lives as long as the pool: starting a task for every job would cost more than most
    jobs do. Slots are started when they are first needed. One slot is woken at a time, by the one before it:
    where jobs end without waiting, a single slot works them all, and where they wait, all slots are soon awake.
    """

    def __init__(
        self, pool: str, max_workers: int, work: Callable[[Claimed, asyncio.Task[None]], Awaitable[None]]
    ) -> None:
        self.pool = pool
        self.max_workers = max_workers
        self.busy = 0
        self._work = work
        self._handed: deque[tuple[float, Claimed]] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._waking = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._given_up: set[asyncio.Task[None]] = set()
        self._closed = False
        self._finished = 0
        self._window_began = monotonic()
        self._pace = 0.0
        self._ahead = 0

    @property
    def in_hand(self) -> int:
        """How many jobs it holds, started or not."""
        return self.busy + len(self._handed)

    @property
    def free(self) -> int:
        """How many more jobs it could start at once."""
        return max(self.max_workers - self.in_hand, 0)

    @property
    def is_low(self) -> bool:
        """Whether it is time to claim more."""
        return len(self._handed) * 2 <= self._ahead

    def wanted(self) -> int:
        """Say how many more jobs it could take: one for each free slot, and what is soon worked beside them."""
        self._measure_pace()
        if not self.is_low:
            return 0
        return max(self.max_workers + self._ahead - self.in_hand, 0)

    def hand(self, jobs: Sequence[Claimed]) -> None:
        """Give claimed jobs to the slots, in the order they are to run."""
        now = monotonic()
        self._handed.extend((now, job) for job in jobs)
        self._wake_one()

    def take_back(self, *, which: Callable[[Claimed], bool] | None = None) -> list[Claimed]:
        """Take the jobs that were handed over and have not been started; all, or some."""
        jobs = [job for _, job in self._handed if which is None or which(job)]
        if which is None:
            self._handed.clear()
        elif jobs:
            self._handed = deque(each for each in self._handed if not which(each[1]))
        return jobs

    def take_back_overdue(self) -> list[Claimed]:
        """Take them back if they have waited for too long: their slots turned out to be slow."""
        if self._handed and monotonic() - self._handed[0][0] > LONGEST_WAIT:
            self._pace = 0.0
            return self.take_back()
        return []

    def give_up(self, slot: asyncio.Task[object]) -> bool:
        """Have another slot in place of one whose worker does not end; say whether there may be another.

        There may be as many of these as the pool has workers: each still holds what its worker has.
        """
        task = next((each for each in self._tasks if each is slot), None)
        if task is None or len(self._given_up) >= self.max_workers:
            return False
        self._tasks.discard(task)
        self._given_up.add(task)
        self.busy -= 1
        self._wake_one()
        return True

    async def close(self) -> None:
        """End the slots; one whose worker does not end is left to itself."""
        self._closed = True
        for waiting in self._idle:
            waiting.cancel()
        if self._tasks and not self.busy:
            await asyncio.wait(self._tasks)

    def _measure_pace(self) -> None:
        now = monotonic()
        elapsed = now - self._window_began
        if elapsed >= WINDOW:
            self._pace = (self._pace + self._finished / elapsed) / 2
            self._finished, self._window_began = 0, now
            self._ahead = min(int(self._pace * AHEAD_SECONDS), MAX_AHEAD)

    def _wake_one(self) -> None:
        """See that a slot will come for what was handed over."""
        if self._waking or not self._handed or self._closed:
            return
        while self._idle:
            waiting = self._idle.pop()  # the slot that worked last: its memory is warm
            if not waiting.done():
                waiting.set_result(None)
                self._waking = True
                return
        if len(self._tasks) < self.max_workers:
            self._waking = True
            task = asyncio.create_task(self._slot(), name=f"workerqueue {self.pool}")
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def _slot(self) -> None:
        task = asyncio.current_task()
        self._waking = False
        turn = TURN
        # A worker may cancel the task it runs in, and so may whoever ends the loop: then this slot ends as well.
        while task is not None and not task.cancelling() and not self._closed and len(self._tasks) <= self.max_workers:
            if not self._handed:
                await self._wait()
                turn = TURN
                continue
            _, job = self._handed.popleft()
            self._wake_one()
            self.busy += 1
            try:
                await self._work(job, task)
            finally:
                is_given_up = bool(self._given_up) and task in self._given_up
                if not is_given_up:
                    self.busy -= 1
                    self._finished += 1
            if is_given_up:
                return
            turn -= 1
            if not turn:
                turn = TURN
                await asyncio.sleep(0)

    async def _wait(self) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.append(waiting)
        try:
            await waiting
        finally:
            self._waking = False

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._given_up.discard(task)
        self._waking = False  # one that is cancelled before its first step never comes
        self._wake_one()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a slot of pool %s failed", self.pool, exc_info=error)
