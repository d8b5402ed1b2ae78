"""What values options can have: each is found among its settings, checked, and refused with what was expected."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeVar

from workerqueue.durations import as_timedelta, positive
from workerqueue.durations import delay as as_delay
from workerqueue.errors import OptionError, brief

T = TypeVar("T")


def first_set(*values: T | None) -> T:
    """Give the first setting that is set; the last is a default and always is."""
    return next(value for value in values if value is not None)


def integer_option(option: str, legal: range, *settings: int | None) -> int:
    """Give the first setting that is set.

    Raises:
        OptionError: If it is not an integer of that range.
    """
    value = first_set(*settings)
    if not _is_integer(value) or value not in legal:
        raise OptionError(f"{option}: expected an integer from {legal.start} to {legal.stop - 1}, got {brief(value)}")
    return int(value)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)  # True and 1.0 are equal to one, and no priority


def timeout_option(*settings: timedelta | float | None) -> timedelta:
    """Give the first timeout that is set.

    Raises:
        OptionError: If an attempt can't take so long.
    """
    try:
        return as_delay(positive(first_set(*settings)))
    except ValueError as error:
        raise OptionError(f"timeout: {error}") from None


def deadline_option(*settings: datetime | timedelta | float | None) -> tuple[datetime | None, timedelta | None]:
    """Split a deadline into an instant, or a time from the database's now; none, where there is none."""
    given = [each for each in settings if each is not None]
    return _moment("deadline", given[0]) if given else (None, None)


def due_option(*settings: datetime | timedelta | float | None) -> tuple[datetime | None, timedelta]:
    """Split a due time into an instant, or a delay from the database's now; the past means now."""
    given = [each for each in settings if each is not None]
    at, delay = _moment("scheduled_at", given[0])
    return at, delay or timedelta()


def _moment(name: str, when: datetime | timedelta | float) -> tuple[datetime | None, timedelta | None]:
    if isinstance(when, datetime):
        if when.utcoffset() is None:
            raise OptionError(
                f"{name}: expected an aware datetime, got the naive {when.isoformat()}; "
                "give it a zone, such as datetime.now(UTC) or .replace(tzinfo=UTC)"
            )
        try:
            return when.astimezone(UTC), None
        except OverflowError:
            raise OptionError(f"{name}: expected a time that UTC can hold, got {when.isoformat()}") from None
    try:
        return None, as_delay(max(as_timedelta(when), timedelta()))
    except ValueError as error:
        raise OptionError(f"{name}: {error}, or an aware datetime") from None
