"""The process that inserts while another works: `python -m benchmarks.inserter SCHEMA bulk|single`.

Every byte on its standard input is leave to insert `CREDIT` jobs, so that it never runs far ahead of who works them;
at the end of the input it ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Final

from benchmarks.jobs import Noop, noops
from benchmarks.loop import run
from workerqueue import Client

CREDIT: Final = 5_000
CALLERS: Final = 50


class Credits:
    """How many jobs may still be inserted."""

    def __init__(self) -> None:
        self._left = 0
        self._ended = False
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(0, self._read)

    async def take(self, count: int) -> bool:
        """Wait for leave to insert so many; false at the end."""
        while self._left < count:
            if self._ended:
                return False
            self._changed.clear()
            await self._changed.wait()
        self._left -= count
        return not self._ended

    def _read(self) -> None:
        given = os.read(0, 65_536)
        if not given:
            self._ended = True
            asyncio.get_running_loop().remove_reader(0)
        self._left += CREDIT * len(given)
        self._changed.set()


async def _bulk(client: Client, credit: Credits) -> None:
    jobs = noops(CREDIT)
    while await credit.take(CREDIT):
        await client.insert_many(jobs)


async def _single(client: Client, credit: Credits) -> None:
    job = Noop(n=1)
    while await credit.take(1):
        await client.insert(job)


async def _insert(schema: str, way: str) -> None:
    credit = Credits()
    async with Client(schema=schema) as client, asyncio.TaskGroup() as callers:
        for _ in range(1 if way == "bulk" else CALLERS):
            callers.create_task((_bulk if way == "bulk" else _single)(client, credit))


if __name__ == "__main__":
    run(_insert(*sys.argv[1:]))
