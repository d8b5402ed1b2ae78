"""Waiting in tests: for something to become true, with a deadline, and never for a while."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")

PATIENCE = 15.0
"""Seconds after which what has not happened will not: ample on a busy machine, short of the test's own limit."""


async def eventually(look: Callable[[], Awaitable[T]], *, within: float = PATIENCE) -> T:
    """Look until what is seen is true, and give it."""
    with anyio.move_on_after(within):
        while True:
            seen = await look()
            if seen:
                return seen
            await anyio.sleep(0.01)
    raise AssertionError(f"not seen within {within} s: {look}")
