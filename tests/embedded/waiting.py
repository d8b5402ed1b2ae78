"""The one deadline loop of these tests."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(met: Callable[[], bool], what: str, *, seconds: float = 40.0) -> None:
    """Wait until `met()` is true; fail naming `what` when it still is not after `seconds`."""
    end = time.monotonic() + seconds
    while not met():
        if time.monotonic() > end:
            raise AssertionError(f"still not so after {seconds:g} s: {what}")
        time.sleep(0.01)
