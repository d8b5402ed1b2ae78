"""Runs a module in a process whose wall clock is wrong; what measures intervals goes on as it is.

Everything in Python that tells the time of day is replaced before the module, and with it the library, is imported:
what they take from `time` and `datetime` is wrong from the beginning. Nothing outside of the process is touched, so
this needs neither root nor a library to preload. C code that asks the kernel itself is told the truth; there is none in
workerqueue, and what the driver's C code does with time is to write and read what it is given.
"""

from __future__ import annotations

import datetime
import json
import runpy
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final, Self
from unittest.mock import patch

_DATETIME: Final = datetime.datetime
_DATE: Final = datetime.date


@dataclass(frozen=True, slots=True)
class Clock:
    """How a wall clock is wrong; all times in seconds."""

    ahead: float = 0.0
    """By how much it is ahead of the true one, or behind."""
    rate: float = 1.0
    """How many of its seconds go by in one."""
    jump: float = 0.0
    """How far it jumps: ahead, back, behind, and back again."""
    every: float = 1.0
    """How much time lies between two jumps."""

    def reading(self, true: float, elapsed: float) -> float:
        """Give what it shows at a true time, so long after the process began."""
        jumps = (0.0, self.jump, 0.0, -self.jump)[int(elapsed / self.every) % 4]
        return true + self.ahead + elapsed * (self.rate - 1.0) + jumps

    def arguments(self, module: str) -> tuple[str, ...]:
        """Give what runs a module with this clock."""
        return ("tests.faults.clocks.skewed", json.dumps(asdict(self)), module)


def install(clock: Clock) -> None:
    """Make this process's wall clock wrong, from now on."""
    if {"workerqueue", "asyncpg", "pydantic"} & sys.modules.keys():
        raise RuntimeError("what was imported before its clock was wrong may keep the true one")
    true, began, monotonic = time.time, time.monotonic(), time.monotonic

    def now() -> float:
        return clock.reading(true(), monotonic() - began)

    _replace_time(now)
    _replace_datetime(now)


def _replace_time(now: Callable[[], float]) -> None:
    def now_ns() -> int:
        return int(now() * 1e9)

    def of_clock(ask: Callable[[int], float], wrong: Callable[[], float]) -> Callable[[int], float]:
        def asked(which: int) -> float:
            return wrong() if which == time.CLOCK_REALTIME else ask(which)

        return asked

    def at(convert: Callable[[float | None], object]) -> Callable[[float | None], object]:
        def converted(seconds: float | None = None) -> object:
            return convert(now() if seconds is None else seconds)

        return converted

    def strftime(form: str, when: time.struct_time | None = None) -> str:
        return formatted(form, time.localtime() if when is None else when)

    formatted = time.strftime
    replaced: dict[str, object] = {
        "time": now,
        "time_ns": now_ns,
        "clock_gettime": of_clock(time.clock_gettime, now),
        "clock_gettime_ns": of_clock(time.clock_gettime_ns, now_ns),
        "localtime": at(time.localtime),
        "gmtime": at(time.gmtime),
        "ctime": at(time.ctime),
        "strftime": strftime,
    }
    for name, function in replaced.items():
        patch.object(time, name, function).start()


class _AnyDatetime(type):
    """What C code made is a datetime as well, though not of the class that stands in its place."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _DATETIME)


class _AnyDate(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _DATE)


def _replace_datetime(now: Callable[[], float]) -> None:
    class WrongDatetime(datetime.datetime, metaclass=_AnyDatetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Self:
            return cls.fromtimestamp(now(), tz)

        @classmethod
        def utcnow(cls) -> Self:
            return cls.fromtimestamp(now(), datetime.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Self:
            return cls.fromtimestamp(now())

    class WrongDate(datetime.date, metaclass=_AnyDate):
        @classmethod
        def today(cls) -> Self:
            return cls.fromtimestamp(now())

    patch.object(datetime, "datetime", WrongDatetime).start()
    patch.object(datetime, "date", WrongDate).start()


def main(clock: str, module: str, arguments: list[str]) -> None:
    """Run a module as if by `python -m module arguments`."""
    install(Clock(**json.loads(clock)))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
