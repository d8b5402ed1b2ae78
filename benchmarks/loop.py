"""The event loop: uvloop where it is installed, as `workerqueue run` has it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, TypeVar

T = TypeVar("T")

NAME: Final = "uvloop" if find_spec("uvloop") is not None else "asyncio"


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a loop of its own."""
    factory: Callable[[], asyncio.AbstractEventLoop] = import_module(NAME).new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
