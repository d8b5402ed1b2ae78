"""Jobs that flow while something breaks, and what must be true of them afterwards."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from tests.waiting import PATIENCE, eventually
from workerqueue import Client, Job, JobArgs, Workers
from workerqueue.errors import DatabaseError

LOOPS = ("producer", "completer", "scheduler", "notifier", "heartbeat", "partitioner", "leader")


class Step(JobArgs):
    n: int

    @classmethod
    def kind(cls) -> str:
        return "step"


class Flow:
    """A working client, an inserting one, and a record of both: what was acknowledged, and what ran how often."""

    def __init__(self, url: str, schema: str = "workerqueue") -> None:
        self.runs: Counter[int] = Counter()
        self.acknowledged: list[int] = []
        self.at_work = 0
        self.gate = asyncio.Event()
        self.gate.set()
        workers = Workers()

        @workers.worker
        async def step(job: Job[Step]) -> None:
            self.runs[job.args.n] += 1
            self.at_work += 1
            await self.gate.wait()
            self.at_work -= 1

        self.worker = Client(url, workers=workers, schema=schema, poll_interval=0.2, stop_timeout=5.0, id="flow")
        self.inserter = Client(url, workers=workers, schema=schema, insert_timeout=2.0)
        self._inserting: asyncio.Task[None] | None = None
        self._stopping = False

    async def insert(self) -> None:
        """Insert until told to stop; what fails is not acknowledged and not repeated."""
        n = 0
        while not self._stopping:
            n += 1
            try:
                await self.inserter.insert(Step(n=n))
            except DatabaseError:
                continue
            self.acknowledged.append(n)
            await asyncio.sleep(0.002)

    async def goes_on(self, within: float) -> None:
        """Wait until a job that is inserted from now on has run."""
        seen = len(self.acknowledged)

        async def look() -> bool:
            return any(self.runs[n] for n in self.acknowledged[seen + 1 :])

        await eventually(look, within=within)

    async def end(self) -> None:
        """Insert no more, and wait until all that was acknowledged has run."""
        self.insert_no_more()
        if self._inserting is not None:
            await self._inserting

        async def look() -> bool:
            return all(self.runs[n] for n in self.acknowledged)

        await eventually(look)

    def insert_no_more(self) -> None:
        """Let the insert under way be the last."""
        self._stopping = True

    def start(self) -> None:
        """Begin to insert."""
        self._inserting = asyncio.create_task(self.insert())


@asynccontextmanager
async def flowing(url: str, schema: str = "workerqueue") -> AsyncGenerator[Flow]:
    """Let jobs flow, until all have run."""
    flow = Flow(url, schema)
    try:
        await flow.worker.start()
        flow.start()
        await flow.goes_on(PATIENCE)
        yield flow
        await flow.end()
    finally:
        flow.insert_no_more()
        await flow.worker.close()
        await flow.inserter.close()


def most_lines_a_second(caplog: pytest.LogCaptureFixture) -> Counter[str]:
    """Count the warnings of each loop in the second in which it had most to say."""
    most: Counter[str] = Counter()
    for loop in LOOPS:
        times = sorted(
            record.created
            for record in caplog.records
            if record.levelno >= logging.WARNING and record.getMessage().startswith(loop)
        )
        for begin in times:
            # A little less than the second: times are taken at a different place than the one that waits.
            most[loop] = max(most[loop], sum(begin <= time < begin + 0.95 for time in times))
    return most
