"""Which systems are compared, and about how fast each is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class System:
    """A queue with an adapter here.

    Attributes:
        name: As its adapter, its requirements and its environment are named.
        package: The distribution that is installed.
        pace: Jobs that one process of it works a second, about. It only makes a drain take every system as long.
    """

    name: str
    package: str
    pace: int

    @property
    def module(self) -> str:
        """The adapter, which is a process of its own."""
        return "benchmarks.peers.ours" if self is OURS else f"benchmarks.peers.adapters.{self.name}"


OURS: Final = System("workerqueue", "workerqueue-postgres", 60_000)
PEERS: Final = (
    System("procrastinate", "procrastinate", 800),
    System("pgqueuer", "pgqueuer", 25_000),
    System("chancy", "chancy", 10_000),
    System("awa", "awa-pg", 9_000),
)
