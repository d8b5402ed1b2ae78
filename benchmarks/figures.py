"""What a benchmark answers: figures, what was wanted of them, and the samples they are taken from."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Figure:
    """One figure of a benchmark.

    Attributes:
        name: Its key in the JSON.
        says: What it is, in words.
        unit: Such as `jobs/s`.
        at_least: What is wanted of its median, where more is better.
        at_most: What is wanted of its median, where less is better.
    """

    name: str
    says: str
    unit: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether the issue's table has it."""
        return self.at_least is not None or self.at_most is not None

    @property
    def wanted(self) -> str:
        """What is wanted of it, as the tables print it."""
        if self.at_least is not None:
            return f"≥ {number(self.at_least)}"
        return "" if self.at_most is None else f"≤ {number(self.at_most)}"


@dataclass(frozen=True)
class Spread:
    """The values of one figure over the repeats."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        """The middle one, which one slow repeat does not move."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The smallest."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest."""
        return max(self.values)

    def __str__(self) -> str:
        return f"{number(self.median)} ({number(self.low)}–{number(self.high)})"


@dataclass
class Samples:
    """What a benchmark measured: a value per figure and repeat, and the curves for its picture."""

    values: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    curves: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    notes: list[str] = field(default_factory=list[str])

    def add(self, name: str, value: float) -> None:
        """Note one value of a figure."""
        self.values.setdefault(name, []).append(value)

    def add_all(self, values: Mapping[str, float]) -> None:
        """Note one value of each of several figures."""
        for name, value in values.items():
            self.add(name, value)

    def note(self, text: str) -> None:
        """Say once how something was measured."""
        if text not in self.notes:
            self.notes.append(text)

    def spread(self, name: str) -> Spread | None:
        """Give the values of a figure; `None` where it could not be measured here."""
        values = self.values.get(name)
        return Spread(values) if values else None


def verdict(figure: Figure, spread: Spread | None) -> str:
    """Say whether a figure is met by its median, or by how much it is missed."""
    if not figure.is_wanted:
        return ""
    if spread is None:
        return "not measured"
    if figure.at_least is not None:
        wanted, missing = figure.at_least, figure.at_least - spread.median
    else:
        wanted = figure.at_most or 0.0
        missing = spread.median - wanted
    if missing <= 0:
        return "met"
    return f"missed by {number(missing)}" + (f" ({missing / wanted:.0%})" if wanted else "")


def percentile(values: Sequence[float], share: float) -> float:
    """Give the smallest value that so large a share of the values does not exceed."""
    ordered = sorted(values)
    # Less a hair: 0.99 × 100 is a little more than 99 in floating point.
    return ordered[max(math.ceil(share * len(ordered) - 1e-9), 1) - 1]


def number(value: float) -> str:
    """Write a number with as many digits as mean something."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


COST = (
    Figure("server_cpu_us", "PostgreSQL CPU a job", "µs"),
    Figure("client_cpu_us", "client CPU a job", "µs"),
    Figure("wal_bytes", "WAL a job", "B"),
)
"""What every benchmark that works jobs also prints."""
