"""What a failed test leaves open is closed behind it, and no other test hears of it."""

from __future__ import annotations

import asyncio
import socket
import weakref
from collections.abc import Callable

import pytest

from tests.left_behind import drop_what_it_held


class Held(socket.socket):
    """Something whose loss is warned of."""


async def fails(seen: list[weakref.ref[Held]]) -> None:
    """Fail with something open."""
    held = Held()
    seen.append(weakref.ref(held))
    assert held.fileno() < 0


def plainly(seen: list[weakref.ref[Held]]) -> None:
    """Fail at once."""
    asyncio.run(fails(seen))


def with_a_cause(seen: list[weakref.ref[Held]]) -> None:
    """Fail for another reason that names the first."""
    try:
        plainly(seen)
    except AssertionError as error:
        raise ValueError from error


def in_a_group(seen: list[weakref.ref[Held]]) -> None:
    """Fail as one of several."""
    try:
        plainly(seen)
    except AssertionError as error:
        raise BaseExceptionGroup("all", [error]) from None


@pytest.mark.parametrize("fail", [plainly, with_a_cause, in_a_group])
def test_what_a_failure_held_is_closed_with_it(fail: Callable[[list[weakref.ref[Held]]], None]) -> None:
    """Without a word, though the failure itself is kept, as its report needs it."""
    seen: list[weakref.ref[Held]] = []
    with pytest.raises((AssertionError, ValueError, BaseExceptionGroup)) as failure:
        fail(seen)
    assert [ref() is not None for ref in seen] == [True]
    drop_what_it_held(failure.value)  # a warning would be an error
    assert [ref() for ref in seen] == [None]
