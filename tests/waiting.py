"""Waiting in tests: for something to become true, with a deadline, and never for a while."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio

from workerqueue.errors import DatabaseUnavailableError

T = TypeVar("T")

PATIENCE = 40.0
"""Seconds after which what has not happened will not: ample on a machine that stalls, short of the test's own limit,
and of the minute between two looks of a client that is to be told of its jobs."""


async def eventually(look: Callable[[], Awaitable[T]], *, within: float = PATIENCE) -> T:
    """Look until what is seen is true, and give it."""
    with anyio.move_on_after(within):
        while True:
            seen = await look()
            if seen:
                return seen
            await anyio.sleep(0.01)
    raise AssertionError(f"not seen within {within} s: {look}")


async def succeeds(step: Awaitable[object]) -> bool:
    """Take a step of a client with a short deadline; say whether it was done in time."""
    try:
        await step
    except DatabaseUnavailableError:
        return False
    return True


TICK = 0.05


@asynccontextmanager
async def lateness() -> AsyncGenerator[Callable[[], float]]:
    """Measure by how many seconds in all this process woke too late: what its machine adds to any figure taken here."""
    late = 0.0

    async def tick() -> None:
        nonlocal late
        while True:
            due = anyio.current_time() + TICK
            await anyio.sleep(TICK)
            late += anyio.current_time() - due

    async with anyio.create_task_group() as ticking:
        ticking.start_soon(tick)
        yield lambda: late
        ticking.cancel_scope.cancel()
