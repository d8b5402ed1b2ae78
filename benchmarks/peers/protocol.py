"""What an adapter is asked and what it answers: one JSON object a line, over its standard input and output.

Standard library only, like everything that an adapter imports from here: it is run by the peers' own environments.

| asked | with | answers with |
|---|---|---|
| `install` | | |
| `open` | | |
| `insert` | `callers`, `seconds` | `jobs`, `seconds` |
| `insert_many` | `jobs` | `seconds` |
| `start` | | |
| `wait` | `jobs` | `jobs`, `at`: how many have run, once so many have, and when; `first`: when the first did |
| `pick` | `jobs`, `apart` | `times` |

Times are in seconds, on the clock that all processes share. What goes wrong is answered with `error`. At the end of its
input an adapter ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from time import monotonic
from typing import Final

URL: Final = "WORKERQUEUE_BENCH_URL"
"""The database, by the environment: the list of processes shows arguments to everybody."""

CONNECTIONS: Final = 20
"""Of the pool through which 50 callers insert."""

WARM_UP: Final = 2
"""Inserts of each caller before the clock: its connection is open then, and its statement prepared."""


@dataclass(frozen=True)
class Request:
    """One line of an adapter's input."""

    do: str
    _: KW_ONLY
    jobs: int = 0
    callers: int = 1
    seconds: float = 0.0
    apart: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One line of its output."""

    jobs: int = 0
    seconds: float = 0.0
    first: float = 0.0
    at: float = 0.0
    times: Sequence[float] = ()
    error: str | None = None


class Ran:
    """Counts the jobs that a peer's worker ran, and tells when so many had run."""

    def __init__(self) -> None:
        self.count = 0
        self.first = 0.0
        self.awaited: dict[int, asyncio.Future[float]] = {}
        self._wanted = 0
        self._reached = asyncio.Event()
        self._at = 0.0

    def hit(self, n: int) -> None:
        """Count a job; every worker does this and nothing else."""
        self.count = count = self.count + 1
        if count == 1:
            self.first = monotonic()
        if count == self._wanted:
            self._at = monotonic()
            self._reached.set()
        if self.awaited and (started := self.awaited.pop(n, None)) is not None:
            started.set_result(monotonic())

    async def reach(self, count: int) -> tuple[int, float]:
        """Wait until that many jobs have run in all, and say how many had, and when."""
        if self.count >= count:
            return self.count, monotonic()
        self._reached.clear()
        self._wanted = count
        await self._reached.wait()
        return count, self._at


class Adapter(ABC):
    """One queue, set up as its documentation says is best. Its worker calls `ran.hit` with each job's `n`."""

    def __init__(self, url: str, ran: Ran) -> None:
        self.url = url
        self.ran = ran

    @abstractmethod
    async def install(self) -> None:
        """Make its tables in an empty database."""

    @abstractmethod
    async def open(self) -> None:
        """Open what it inserts through."""

    @abstractmethod
    async def insert(self, n: int) -> None:
        """Insert one job; it is durable when this returns."""

    @abstractmethod
    async def insert_many(self, jobs: int) -> None:
        """Insert that many jobs by one call of its bulk insert."""

    @abstractmethod
    async def start(self) -> None:
        """Start its worker, in this process."""


def serve(make: Callable[[str, Ran], Adapter], *, loop: str = "uvloop") -> None:
    """Answer until the input ends.

    Args:
        make: Makes the adapter.
        loop: The module of the event loop; asyncio's own where this one is not installed.
    """
    # What a library prints must not come between the answers.
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    factory = import_module(loop if find_spec(loop) is not None else "asyncio").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_serve(make, answers))
        # Not before a worker that nobody stopped has been cut off: its database is dropped anyway.
        os._exit(0)


async def _serve(make: Callable[[str, Ran], Adapter], answers: int) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    ran = Ran()
    adapter = make(os.environ[URL], ran)
    while line := await reader.readline():
        request = Request(**json.loads(line))
        try:
            answer = await ASKED[request.do](adapter, request) or Answer()
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            answer = Answer(error=f"{type(error).__name__}: {error}")
        os.write(answers, json.dumps(asdict(answer)).encode() + b"\n")


async def _install(adapter: Adapter, _: Request) -> None:
    await adapter.install()


async def _open(adapter: Adapter, _: Request) -> None:
    await adapter.open()


async def _start(adapter: Adapter, _: Request) -> None:
    await adapter.start()


async def _insert(adapter: Adapter, request: Request) -> Answer:
    """Insert job after job, from so many callers at once, for so long."""
    ends = 0.0
    inserted = 0

    async def call() -> None:
        nonlocal inserted
        while monotonic() < ends:
            await adapter.insert(inserted)
            inserted += 1

    async def warm_up() -> None:
        for n in range(WARM_UP):
            await adapter.insert(n)

    callers = request.callers
    await asyncio.gather(*(warm_up() for _ in range(callers)))
    began = monotonic()
    ends = began + request.seconds
    await asyncio.gather(*(call() for _ in range(callers)))
    return Answer(jobs=inserted, seconds=monotonic() - began)


async def _insert_many(adapter: Adapter, request: Request) -> Answer:
    began = monotonic()
    await adapter.insert_many(request.jobs)
    return Answer(seconds=monotonic() - began)


async def _wait(adapter: Adapter, request: Request) -> Answer:
    jobs, at = await adapter.ran.reach(request.jobs)
    return Answer(jobs=jobs, first=adapter.ran.first, at=at)


async def _pick(adapter: Adapter, request: Request) -> Answer:
    """Insert jobs now and then, and time each from its acknowledged commit until it runs."""
    times: list[float] = []
    for n in range(request.jobs):
        await asyncio.sleep(random.uniform(*request.apart))  # noqa: S311 - not a secret
        started: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        adapter.ran.awaited[n] = started
        await adapter.insert(n)
        acknowledged = monotonic()
        times.append(max(await started - acknowledged, 0.0))
    return Answer(times=times)


ASKED: Final[Mapping[str, Callable[[Adapter, Request], Awaitable[Answer | None]]]] = {
    "install": _install,
    "open": _open,
    "insert": _insert,
    "insert_many": _insert_many,
    "start": _start,
    "wait": _wait,
    "pick": _pick,
}
