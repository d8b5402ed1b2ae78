"""Runs plain functions in threads that can be ended: an exception is raised in them where they are.

Theory. Python can raise an exception in another thread (`PyThreadState_SetAsyncExc`), which that thread meets at its
next step of Python. A loop ends so; a call that waits inside C ends when it returns. It must not meet a thread that has
gone on to something else: so a function and whoever would end it take turns, and whatever comes too late is taken back.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import math
from collections.abc import Callable
from threading import Lock, get_ident
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

R = TypeVar("R")

_log = logging.getLogger("workerqueue.engine")


class ThreadEnded(BaseException):
    """Raised inside a worker's thread when its run is cut off; not an `Exception`, so that no worker swallows it."""


class Threads:
    """The threads of one client.

    Args:
        patience: Seconds after which a thread that was to end, and has not, is told of in the log.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._limiter = CapacityLimiter(math.inf)  # slots limit how many there are; they need not wait here too

    async def run(self, name: str, function: Callable[[], R]) -> R:
        """Run a function in a thread; if that is cancelled, end the thread, and do not wait for it."""
        ending = _Ending()

        def work() -> R:
            ending.enter()
            try:
                return function()
            finally:
                ending.leave()

        try:
            return await to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._limiter)
        except asyncio.CancelledError:
            if ending.end():
                asyncio.get_running_loop().call_later(self._patience, self._look_after, name, ending)
            raise

    def _look_after(self, name: str, ending: _Ending) -> None:
        if not ending.is_over:
            _log.error(
                "A thread of %s is stuck: it was cut off %g s ago, and waits for something that is not Python; "
                "its slot works on without it",
                name,
                self._patience,
                extra={"task_kind": name},
            )


class _Ending:
    """One function in its thread, and how to end it."""

    def __init__(self) -> None:
        self._turn = Lock()
        self._thread: int | None = None
        self._ended = False
        self.is_over = False

    def enter(self) -> None:
        with self._turn:
            if self._ended:
                raise ThreadEnded
            self._thread = get_ident()

    def leave(self) -> None:
        try:
            self._leave()
        except ThreadEnded:  # it came just now
            self._leave()

    def end(self) -> bool:
        """End the function, and say whether it has begun and is not over."""
        with self._turn:
            self._ended = True
            if self.is_over or self._thread is None:
                return False
            _raise_in(self._thread, ThreadEnded)
            return True

    def _leave(self) -> None:
        with self._turn:
            self.is_over = True
        _raise_in(get_ident(), None)  # what came too late for the function must not meet the thread's next one


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    set_error = ctypes.pythonapi.PyThreadState_SetAsyncExc
    set_error(ctypes.c_ulong(thread), None if error is None else ctypes.py_object(error))
