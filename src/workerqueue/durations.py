"""Durations as callers give them: a timedelta or a number of seconds."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Final

Duration = timedelta | float
"""A `timedelta`, or a number of seconds."""


def as_timedelta(value: object) -> timedelta:
    """Read a duration.

    Raises:
        ValueError: If the value is neither a timedelta nor a finite number of seconds; the text says what came.
    """
    if isinstance(value, timedelta):
        return value
    # bool is an int to Python, but nobody means one second by True.
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            if math.isfinite(value):
                return timedelta(seconds=value)
        except OverflowError:
            # The value is shortened as a number: Python refuses to write integers of over 4,300 digits.
            shown = repr(value) if isinstance(value, float) else f"{value // 10 ** max(_digits(value) - 20, 0)}…"
            raise ValueError(f"expected a duration that a timedelta holds, got {shown} seconds") from None
    raise ValueError(f"expected a timedelta or a number of seconds, got {value!r}")


def positive(value: object) -> timedelta:
    """Read a duration longer than nothing.

    Raises:
        ValueError: As `as_timedelta`, and for a duration of zero or less.
    """
    duration = as_timedelta(value)
    if duration <= timedelta():
        raise ValueError(f"expected a duration longer than 0, got {value!r}")
    return duration


LONGEST_DELAY: Final = timedelta(days=36_525)
"""A hundred years: what is due later can't be meant, and Python could not read a time beyond the year 9999."""


def delay(value: object) -> timedelta:
    """Read a time from now, from 0 to a hundred years.

    Raises:
        ValueError: As `as_timedelta`, and for a delay that is negative or too long.
    """
    duration = not_negative(value)
    if duration > LONGEST_DELAY:
        raise ValueError(f"expected a delay of at most a hundred years, got {value!r}")
    return duration


def not_negative(value: object) -> timedelta:
    """Read a duration of zero or more.

    Raises:
        ValueError: As `as_timedelta`, and for a negative duration.
    """
    duration = as_timedelta(value)
    if duration < timedelta():
        raise ValueError(f"expected a duration of 0 or longer, got {value!r}")
    return duration


def _digits(value: int) -> int:
    """Estimate how many decimal digits an integer has, at most one too many."""
    return int(value.bit_length() * math.log10(2)) + 1
