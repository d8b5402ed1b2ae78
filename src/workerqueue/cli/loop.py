"""Chooses the event loop: uvloop where it is installed, else asyncio's own."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final, TypeVar

import anyio

from workerqueue.cli.problems import WrongUse

T = TypeVar("T")

VARIABLE: Final = "WORKERQUEUE_LOOP"


class Loop(StrEnum):
    """What runs the coroutines."""

    ASYNCIO = "asyncio"
    UVLOOP = "uvloop"


def choose_loop() -> Loop:
    """Give the loop that the environment names, else the fastest that is installed.

    Raises:
        WrongUse: If the environment names one that is unknown or not installed.
    """
    wanted = os.environ.get(VARIABLE)
    installed = importlib.util.find_spec("uvloop") is not None
    if not wanted:
        return Loop.UVLOOP if installed else Loop.ASYNCIO
    if wanted not in tuple(Loop):
        raise WrongUse(f"{VARIABLE}: expected {' or '.join(Loop)}, got {wanted!r}")
    if wanted == Loop.UVLOOP and not installed:
        raise WrongUse(f"{VARIABLE}: uvloop is not installed; install workerqueue-postgres[fast]")
    return Loop(wanted)


def run_on(loop: Loop, work: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine function to its end."""
    return anyio.run(work, backend_options={"use_uvloop": loop is Loop.UVLOOP})


class LoopNote(logging.Filter):
    """Notes the loop among the fields of the first log line, for whoever wonders what ran."""

    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self._loop: Loop | None = loop

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, the first with the loop."""
        if self._loop is not None:
            record.loop = self._loop
            self._loop = None
        return True
