"""What a stretch of work costs: time, CPU of the server and of the client, WAL."""

from __future__ import annotations

import os
import resource
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Final, cast

from benchmarks.connection import Connection

TICK: Final = os.sysconf("SC_CLK_TCK")
PROC: Final = Path("/proc")


@dataclass
class Cost:
    """What was used from the start of a stretch to its end."""

    seconds: float = 0.0
    server_cpu: float | None = None
    """Seconds; `None` where the server's processes can't be seen from here."""
    client_cpu: float = 0.0
    wal: float = 0.0

    def per_job(self, jobs: int, prefix: str = "") -> dict[str, float]:
        """Give the figures of `COST`."""
        costs = {f"{prefix}client_cpu_us": self.client_cpu / jobs * 1e6, f"{prefix}wal_bytes": self.wal / jobs}
        if self.server_cpu is not None:
            costs[f"{prefix}server_cpu_us"] = self.server_cpu / jobs * 1e6
        return costs

    def __add__(self, other: Cost) -> Cost:
        seen = self.server_cpu is not None and other.server_cpu is not None
        return Cost(
            self.seconds + other.seconds,
            (self.server_cpu or 0.0) + (other.server_cpu or 0.0) if seen else None,
            self.client_cpu + other.client_cpu,
            self.wal + other.wal,
        )


@dataclass(frozen=True)
class Meter:
    """Reads the counters of a server and of this process.

    Attributes:
        connection: For the position of the WAL; nobody else uses it.
        postmaster: The server's first process, where it runs on this machine.
    """

    connection: Connection = field(repr=False)
    postmaster: int | None

    @asynccontextmanager
    async def cost(self, children: Sequence[int] = ()) -> AsyncGenerator[Cost]:
        """Measure what happens inside; it is filled in at the end.

        Args:
            children: Processes whose CPU is the client's too. One that has ended and was waited for counts by itself.
        """
        cost = Cost()
        wal = await self._wal()
        own, server = self._client_cpu(children), self.server_cpu()
        began = perf_counter()
        try:
            yield cost
        finally:
            cost.seconds = perf_counter() - began
            cost.client_cpu = self._client_cpu(children) - own
            ended = self.server_cpu()
            cost.server_cpu = None if server is None or ended is None else ended - server
            cost.wal = await self._wal() - wal

    def server_cpu(self) -> float | None:
        """Give the CPU seconds of the server so far: its processes that live, and those it has buried."""
        if self.postmaster is None:
            return None
        # A backend that ends between two samples moves to its parent's cutime, so nothing is lost or told twice.
        return process_cpu(self.postmaster, buried=True) + sum(map(process_cpu, children_of(self.postmaster)))

    async def _wal(self) -> float:
        return float(await self.connection.fetchval("select pg_current_wal_lsn() - '0/0'::pg_lsn"))

    @staticmethod
    def _client_cpu(children: Sequence[int]) -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(each.ru_utime + each.ru_stime for each in used) + sum(map(process_cpu, children))


def process_cpu(pid: int, *, buried: bool = False) -> float:
    """Give the CPU seconds of a process, and if wanted of its children that have ended; 0 if it is gone."""
    try:
        fields = _stat(pid)
    except OSError:
        return 0.0
    # Of proc(5): utime, stime, cutime, cstime, counted from the field behind the name.
    return sum(map(int, fields[11 : 15 if buried else 13])) / TICK


def children_of(pid: int) -> list[int]:
    """Give the processes that a process has started and that live."""
    found: list[int] = []
    for task in (PROC / str(pid) / "task").glob("*/children"):
        try:
            found += map(int, task.read_text().split())
        except OSError:
            continue
    return found


def resident_bytes(pid: int) -> int:
    """Give the memory that a process holds."""
    return int((PROC / str(pid) / "statm").read_text().split()[1]) * resource.getpagesize()


async def find_postmaster(connection: Connection) -> int | None:
    """Find the server's first process, if the server runs on this machine and lets itself be seen."""
    backend = cast("int", await connection.fetchval("select pg_backend_pid()"))
    try:
        name = (PROC / str(backend) / "comm").read_text().strip()
        parent = int(_stat(backend)[1])
    except OSError:
        return None
    # A server elsewhere may have the number of a process of this machine.
    return parent if name.startswith("postgres") else None


def _stat(pid: int) -> list[str]:
    # The name, in parentheses, may hold anything: what is wanted stands behind the last of them.
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
