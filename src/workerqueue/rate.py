"""Rates: at most so many starts in any window of a second, a minute, an hour or a day, written as `100/m`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
MOST_STARTS: Final = 1_000_000_000

_RATE: Final = re.compile(r"\s*(\d+)\s*/\s*(\d+)?\s*([smhd])\s*")


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `starts` in any window of `seconds`."""

    starts: int
    seconds: float

    def __str__(self) -> str:
        unit, length = next((unit, length) for unit, length in reversed(UNITS.items()) if not self.seconds % length)
        times = self.seconds / length
        return f"{self.starts}/{'' if times == 1 else f'{times:g}'}{unit}"


def read_rate(text: object) -> Rate:
    """Read a rate such as `100/m` or `5/10s`: how many, and in how long (s, m, h, d).

    Raises:
        ValueError: If it is none.
    """
    match = _RATE.fullmatch(text) if isinstance(text, str) else None
    if match is not None:
        starts, times = int(match[1]), int(match[2] or 1)
        if 1 <= starts <= MOST_STARTS and 1 <= times <= 1_000:
            return Rate(starts, times * UNITS[match[3]])
    raise ValueError(f"expected a rate such as '100/m' (at least 1; per s, m, h or d), got {text!r}")
