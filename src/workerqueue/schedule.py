"""When a schedule fires: a cron expression in a time zone, and its occurrences.

Local time decides. An expression that names its minutes and hours fires once a day for each of them: one that a change
of the clocks skips fires at the first instant after the gap, and one that occurs twice fires the first time. An
expression whose minutes or hours begin with `*` goes on with real time through a change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from workerqueue.errors import brief, near_matches

LONGEST: Final = 256
"""Bytes of an expression."""
HORIZON: Final = timedelta(days=5 * 366)
"""What does not fire in so long never does, for all that matters."""
MOST: Final = 1_000
"""Occurrences that are listed at once at most."""

ALIASES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_A_CRON: Final = "expected 5 fields such as '0 9 * * *', 6 with seconds first, or an alias such as '@daily'"
_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Cron:
    """An expression that was checked, and the zone whose clocks it means; `read_cron` makes it."""

    expression: str
    """Without aliases, each field separated by one space."""
    zone: ZoneInfo

    def next_after(self, moment: datetime) -> datetime | None:
        """Give the first occurrence after an aware time, in UTC; none if there is none for five years."""
        return next(iter(self.list_after(moment, 1)), None)

    def list_after(self, moment: datetime, most: int = 10) -> list[datetime]:
        """List at most so many occurrences after an aware time, in UTC.

        Raises:
            ValueError: If `most` is not from 1 to 1,000, or the time has no zone.
        """
        if not 1 <= most <= MOST:
            raise ValueError(f"expected 1 to {MOST} occurrences, got {most}")
        if moment.tzinfo is None:
            raise ValueError("expected a time with a zone, such as datetime.now(UTC)")
        found: list[datetime] = []
        for occurrence in self._occurrences(moment):
            if occurrence > (found[-1] if found else moment) + HORIZON:
                break
            found.append(occurrence)
            if len(found) == most:
                break
        return found

    def _occurrences(self, moment: datetime) -> Iterator[datetime]:
        """Give the occurrences after a time, each once and in order."""
        last = moment.astimezone(UTC)
        local = moment.astimezone(self.zone)
        try:
            for each in CronSim(self.expression, local.replace(tzinfo=None) if self._names_times else local):
                occurrence = self._instant(each) if self._names_times else each.astimezone(UTC)
                if occurrence > last:
                    yield occurrence
                    last = occurrence
        except OverflowError:  # the end of the calendar
            return

    @property
    def _names_times(self) -> bool:
        minutes, hours = self.expression.split()[-5:-3]
        return not minutes.startswith("*") and not hours.startswith("*")

    def _instant(self, wall: datetime) -> datetime:
        """Give the instant at which the clocks show this: the first of two, or the first after the gap it is in."""
        while not self._is_shown(wall):
            wall = wall.replace(second=0) + _MINUTE
        return wall.replace(tzinfo=self.zone).astimezone(UTC)

    def _is_shown(self, wall: datetime) -> bool:
        there_and_back = wall.replace(tzinfo=self.zone).astimezone(UTC).astimezone(self.zone)
        return there_and_back.replace(tzinfo=None) == wall


def read_cron(text: object, timezone: str = "UTC") -> Cron:
    """Read a cron expression: 5 fields, 6 with seconds first, or an alias such as `@daily`.

    Args:
        text: The expression, at most 256 bytes.
        timezone: An IANA name such as `Europe/Berlin`.

    Raises:
        ValueError: If it is no expression, never fires, or the zone is not known; says what was expected.
    """
    if not isinstance(text, str):
        raise ValueError(f"{_A_CRON}, got {brief(text)}")
    if len(text.encode(errors="replace")) > LONGEST:
        raise ValueError(f"expected at most {LONGEST} bytes, got {len(text.encode(errors='replace'))}")
    cron = Cron(_expand(text), _read_zone(timezone))
    now = datetime.now(UTC)
    try:
        fires = cron.next_after(now) is not None
    except CronSimError as error:
        raise ValueError(f"{str(error).lower()}: {_A_CRON}, got {brief(text)}") from None
    if not fires:
        raise ValueError(f"expected what fires at least once in five years, got {brief(text)}")
    return cron


def _expand(text: str) -> str:
    fields = text.split()
    if fields and fields[0].startswith("@"):
        alias = " ".join(fields).lower()
        if alias not in ALIASES:
            raise ValueError(f"no alias {brief(text)}; {near_matches(alias, ALIASES)}")
        return ALIASES[alias]
    if len(fields) not in (5, 6):
        raise ValueError(f"wrong number of fields: {_A_CRON}, got {brief(text)}")
    return " ".join(fields)


def _read_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        close = near_matches(name, available_timezones())
        cure = close if close.startswith("did you mean") else "write an IANA name such as 'Europe/Berlin'"
        raise ValueError(f"no time zone {brief(name)}; {cure}") from None
