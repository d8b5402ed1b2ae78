"""Which benchmarks there are, in the order of the issue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from benchmarks import (
    ceiling,
    delayed,
    drain,
    dynamic,
    fairness,
    history,
    idle,
    insert,
    latency,
    limits,
    processes,
    rates,
    single,
    snapshot,
    sustained,
)
from benchmarks.bench import Bench
from benchmarks.figures import Figure, Samples
from benchmarks.peers import compare as peers


class Benchmark(Protocol):
    """A module that asks one question."""

    @property
    def TITLE(self) -> str:  # noqa: N802 - a module's constant
        """What is measured, in one line."""
        ...

    @property
    def FIGURES(self) -> Sequence[Figure]:  # noqa: N802 - a module's constant
        """What it answers."""
        ...

    @property
    def PICTURE(self) -> Sequence[str]:  # noqa: N802 - a module's constant
        """The figures that its picture shows as bars; none where it shows curves."""
        ...

    async def measure(self, bench: Bench, samples: Samples) -> None:
        """Measure as often as `bench.repeat` says."""
        ...


BENCHMARKS: Final[Mapping[str, Benchmark]] = {
    "ceiling": ceiling,
    "drain": drain,
    "insert": insert,
    "sustained": sustained,
    "latency": latency,
    "snapshot": snapshot,
    "history": history,
    "single": single,
    "delayed": delayed,
    "dynamic": dynamic,
    "limits": limits,
    "rates": rates,
    "fairness": fairness,
    "idle": idle,
    "processes": processes,
    "peers": peers,
}
