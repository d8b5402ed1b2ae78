"""How do other queues over PostgreSQL do at the same workloads, in the same run?"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Samples
from benchmarks.peers.database import installed
from benchmarks.peers.environment import NotInstalledError, prepare, version_of
from benchmarks.peers.session import AdapterError
from benchmarks.peers.systems import OURS, PEERS, System
from benchmarks.peers.workloads import Found, drain, flow, insert


@dataclass(frozen=True)
class Workload:
    """What is compared; in most of them more is better."""

    name: str
    says: str
    unit: str
    less_is_better: bool = False
    is_wanted: bool = True

    def figures(self) -> list[Figure]:
        """Give a figure for each system and one for the ratio."""
        figures = [Figure(f"{self.name}_{of.name}", f"{self.says}, {of.name}", self.unit) for of in (OURS, *PEERS)]
        if self.is_wanted:
            ratio = "best peer ÷ workerqueue" if self.less_is_better else "workerqueue ÷ best peer"
            figures.append(Figure(f"{self.name}_ratio", f"{self.says}: {ratio}", "×", at_least=1.0))
        return figures

    def ratio(self, found: Mapping[System, Found]) -> float | None:
        """Hold ours against the best of the peers that were measured; above 1 is better than all of them."""
        peers = [each[self.name] for system, each in found.items() if system is not OURS and self.name in each]
        ours = found[OURS].get(self.name)
        if ours is None or not peers:
            return None
        return min(peers) / ours if self.less_is_better else ours / max(peers)


WORKLOADS: Final = (
    Workload("one_caller", "insert, one caller", "jobs/s"),
    Workload("callers_50", "insert, 50 callers", "jobs/s"),
    Workload("bulk", "bulk insert", "jobs/s"),
    Workload("drain", "drain, one process", "jobs/s"),
    Workload("sustained", "sustained: bulk insert and work at once", "jobs/s"),
    Workload("p50_ms", "latency, idle queue, p50", "ms", less_is_better=True),
    Workload("p99_ms", "latency, idle queue, p99", "ms", less_is_better=True),
    Workload("wal_bytes", "WAL a job, insert and work", "B", less_is_better=True),
    Workload("server_cpu_us", "PostgreSQL CPU a job, insert and work", "µs", less_is_better=True, is_wanted=False),
)

TITLE: Final = "The same workloads on Procrastinate, PgQueuer, Chancy and awa"
FIGURES: Final = tuple(figure for workload in WORKLOADS for figure in workload.figures())
PICTURE: Final = tuple(
    f"{name}_{system.name}" for name in ("callers_50", "drain", "sustained") for system in (OURS, *PEERS)
)


async def measure(bench: Bench, samples: Samples) -> None:
    """Measure every system in each turn, and hold ours against the best within the turn."""
    samples.note("each system, ours too, has processes and a database of its own; README.md says how each is set up")
    async with AsyncExitStack() as stack:
        templates: dict[System, str] = {}
        for system in (OURS, *_installed_peers(samples)):
            with _tolerated(samples, system, "install"):
                templates[system] = await stack.enter_async_context(installed(bench, system))
        for turn in range(bench.repeat):
            found: dict[System, Found] = {system: {} for system in templates}
            for case in (insert, drain, flow):
                # Whoever comes later may find what the others left behind: they change places.
                for system in list(templates)[:: -1 if turn % 2 else 1]:
                    with _tolerated(samples, system, case.__name__):
                        found[system] |= await case(bench, system, templates[system])
            _add(samples, found)


def _installed_peers(samples: Samples) -> list[System]:
    """Make the environments that are missing, and say which of them can't be made."""
    able: list[System] = []
    for system in PEERS:
        try:
            prepare(system)
        except NotInstalledError as error:
            samples.note(f"{system.name} is missing, since it could not be installed: {error}")
        else:
            samples.note(f"{system.name} is {system.package} {version_of(system)}")
            able.append(system)
    return able


@contextmanager
def _tolerated(samples: Samples, system: System, doing: str) -> Generator[None]:
    """Note that a peer failed, and go on with the others."""
    try:
        yield
    except AdapterError as error:
        if system is OURS:
            raise
        samples.note(f"{system.name}: {doing} failed: {error}")


def _add(samples: Samples, found: Mapping[System, Found]) -> None:
    for system, each in found.items():
        samples.add_all({f"{name}_{system.name}": value for name, value in each.items()})
    for workload in WORKLOADS:
        if workload.is_wanted and (ratio := workload.ratio(found)) is not None:
            samples.add(f"{workload.name}_ratio", ratio)
