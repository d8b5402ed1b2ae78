"""A straight line through points of which some lie anywhere: Theil's and Sen's, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist, median
from typing import Final

CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Slope:
    """How much y grows with x, and between what and what that lies."""

    low: float
    middle: float
    high: float


def theil_sen(points: Sequence[tuple[float, float]]) -> Slope:
    """Give the median of the slopes between all pairs of points, and Sen's interval around it.

    The interval takes the points for independent of each other. Samples of one process are not quite, so the true one
    is somewhat wider.
    """
    slopes = sorted((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x1 != x2)
    if not slopes:
        raise ValueError(f"a slope needs two points that differ in x, got {len(points)} points")
    count = len(points)
    # By how much Kendall's statistic, which counts rises against falls, varies where there is no slope.
    spread = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    first = max(math.floor((len(slopes) - spread) / 2), 0)
    last = min(math.ceil((len(slopes) + spread) / 2), len(slopes) - 1)
    return Slope(slopes[first], median(slopes), slopes[last])
