"""Durations are a timedelta or a finite number of seconds, and nothing else."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from workerqueue.durations import as_timedelta, delay, not_negative, positive


@pytest.mark.parametrize(
    ("value", "duration"),
    [
        (timedelta(minutes=1), timedelta(minutes=1)),
        (90, timedelta(seconds=90)),
        (0.25, timedelta(milliseconds=250)),
        (0, timedelta()),
        (-1, timedelta(seconds=-1)),
        (timedelta.max, timedelta.max),
    ],
)
def test_a_duration_is_a_timedelta_or_seconds(value: object, duration: timedelta) -> None:
    """Both forms are read as a timedelta."""
    assert as_timedelta(value) == duration


@pytest.mark.parametrize("read", [as_timedelta, positive, not_negative, delay])
@pytest.mark.parametrize(
    "value",
    ["60", None, True, False, math.nan, math.inf, -math.inf, 1e300, 10**400, [1], b"1"],
    ids=lambda value: repr(value)[:9],
)
def test_what_is_no_duration_is_refused_and_named(read: Any, value: object) -> None:
    """Text, truth values and what no timedelta can hold are refused, with what came in the message."""
    with pytest.raises(ValueError, match=r"expected|more than") as refusal:
        read(value)
    assert repr(value)[:20] in str(refusal.value)
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize(
    ("value", "is_positive", "is_not_negative"),
    [
        (timedelta(microseconds=1), True, True),
        (0, False, True),
        (timedelta(), False, True),
        (-0.0, False, True),
        (-0.000001, False, False),
        (timedelta(days=-1), False, False),
    ],
)
def test_zero_is_where_positive_and_not_negative_part(value: Any, is_positive: bool, is_not_negative: bool) -> None:
    """A timeout must be longer than nothing, a delay may be nothing."""
    assert (accepts(positive, value), accepts(not_negative, value)) == (is_positive, is_not_negative)


@pytest.mark.parametrize(
    ("value", "legal"),
    [
        (0, True),
        (timedelta(days=36_525), True),
        (timedelta(days=36_525, microseconds=1), False),
        (timedelta.max, False),
        (-1, False),
    ],
    ids=["0", "a hundred years", "more", "endless", "negative"],
)
def test_a_delay_is_0_to_a_hundred_years(value: Any, legal: bool) -> None:
    """A time from now must be one that a timestamp can hold."""
    assert accepts(delay, value) == legal


def accepts(read: Any, value: object) -> bool:
    """Tell whether a reader takes a value as it is, or refuses it and shows what came."""
    try:
        duration: timedelta = read(value)
    except ValueError as error:
        refusal = str(error)
    else:
        return duration == as_timedelta(value)
    assert repr(value) in refusal
    return False
