"""Counts what was worked, and when, at a cost that does not show."""

from __future__ import annotations

import asyncio
import mmap
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, perf_counter
from typing import Final

TENTHS: Final = 10
RECORD: Final = struct.Struct("=qdd")
"""Of a process's tally: how many, the first and the last on the clock that all processes share; then its marks."""
MARK: Final = struct.Struct("=d")
EVERY: Final = 100
"""Jobs between two marks."""
MARKS: Final = 10_000
SHORTEST: Final = 0.05
"""Seconds that processes must have worked together for that time to mean something."""


class Tally:
    """Counts the jobs of this process, 20 or more, and looks at the clock at the first and after every tenth."""

    def __init__(self, jobs: int) -> None:
        self.count = 0
        self.marks: list[float] = []
        """When the first job began, and when each tenth was reached."""
        self.last_job = 0
        self.done = asyncio.Event()
        self._ends = [1, *(jobs * tenth // TENTHS for tenth in range(1, TENTHS + 1))]
        self._jobs = jobs
        self._next = 1

    def hit(self, job: int) -> None:
        """Count a job."""
        self.count = count = self.count + 1
        if count == self._next:
            self._mark(job)

    def tenths(self) -> list[float]:
        """Give the jobs a second of each tenth."""
        counts = [0, *self._ends[1:]]
        return [
            (counts[i + 1] - counts[i]) / max(self.marks[i + 1] - self.marks[i], 1e-9)
            for i in range(len(self.marks) - 1)
        ]

    def _mark(self, job: int) -> None:
        self.marks.append(perf_counter())
        if self.count >= self._jobs:
            self.last_job = job
            self.done.set()
        else:
            self._next = self._ends[len(self.marks)]


class Pulse:
    """Counts without an end, and calls back after every so many."""

    def __init__(self, every: int, on_reached: Callable[[], None]) -> None:
        self.count = 0
        self._every = every
        self._next = every
        self._on_reached = on_reached

    def hit(self) -> None:
        """Count a job."""
        self.count = count = self.count + 1
        if count == self._next:
            self._next += self._every
            self._on_reached()


class SharedTally:
    """A tally in a file that outlives its process, however that ends."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._memory: mmap.mmap | None = None
        self._count = 0
        self._first = 0.0

    def hit(self) -> None:
        """Count a job."""
        now = monotonic()
        if self._memory is None:
            # Not before the first job: the process that imports this may only supervise those that work.
            self._memory = self._open()
            self._first = now
        self._count = count = self._count + 1
        RECORD.pack_into(self._memory, 0, count, self._first, now)
        if count % EVERY == 0 and count <= EVERY * MARKS:
            MARK.pack_into(self._memory, RECORD.size + (count // EVERY - 1) * MARK.size, now)

    def _open(self) -> mmap.mmap:
        path = self._folder / f"{os.getpid()}.tally"
        path.write_bytes(bytes(RECORD.size + MARKS * MARK.size))
        with path.open("r+b") as file:
            return mmap.mmap(file.fileno(), 0)


@dataclass(frozen=True)
class Worked:
    """What one process worked."""

    jobs: int
    first: float
    last: float
    marks: Sequence[float]
    """When it had worked so many hundred."""

    def within(self, start: float, end: float) -> int:
        """Give how many jobs it worked between two moments, to the hundred."""
        return EVERY * sum(start < mark <= end for mark in self.marks)


@dataclass(frozen=True)
class Together:
    """What several processes worked."""

    each: Sequence[Worked]

    @property
    def jobs(self) -> int:
        """How many jobs it was."""
        return sum(worked.jobs for worked in self.each)

    @property
    def smaller_share(self) -> float:
        """The part of the process that worked less, of two; 0 if the other worked them all."""
        return min(worked.jobs for worked in self.each) / self.jobs if len(self.each) > 1 else 0.0

    @property
    def rate(self) -> float:
        """Jobs a second while all of them worked: they do not start, nor end, at the same moment."""
        start, end = max(worked.first for worked in self.each), min(worked.last for worked in self.each)
        if end - start > SHORTEST and (jobs := sum(worked.within(start, end) for worked in self.each)):
            return jobs / (end - start)
        return self.jobs / (max(worked.last for worked in self.each) - min(worked.first for worked in self.each))


def gathered(folder: Path) -> Together:
    """Read what the processes left."""
    return Together([_read(path.read_bytes()) for path in sorted(folder.glob("*.tally"))])


def _read(content: bytes) -> Worked:
    jobs, first, last = RECORD.unpack_from(content)
    marks = [time for (time,) in MARK.iter_unpack(content[RECORD.size :])]
    return Worked(jobs, first, last, marks[: jobs // EVERY])
