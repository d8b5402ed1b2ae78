"""One loop that asks again until the answer is yes or the time is over."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(met: Callable[[], bool], *, seconds: float, pause: float = 0.002) -> bool:
    """Wait until `met()` is true; false when it still is not after `seconds`."""
    end = time.monotonic() + seconds
    while not met():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True
