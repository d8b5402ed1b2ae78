"""The inserting process of the memory campaign: inserts as many as it is told, in every way there is."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Iterator
from itertools import islice
from uuid import uuid4

from tests.faults import leash
from tests.faults.children import answer
from tests.faults.memory.kinds import CONFIG, Numbered, jobs
from tests.faults.memory.samples import look_inside
from tests.faults.specs import URL
from workerqueue import Client, InsertOpts
from workerqueue.errors import InsertError

CALLERS = 100
CHUNK = 500
RARE = 50
"""One single insert of so many is repeated by its id, one is in a transaction, and one comes after a refused one."""


class Inserter:
    """Inserts jobs, half of them one by one from many callers at once, the others in chunks."""

    def __init__(self, client: Client, seed: int) -> None:
        self._client = client
        self._jobs = jobs(seed)
        self._inserting: asyncio.Task[None] | None = None
        self.done = 0

    async def reply(self, question: str, number: int) -> str:
        """Insert so many, or say what this process holds; an insert that failed is told by the end of this process."""
        if self._inserting is not None and self._inserting.done():
            self._inserting.result()
        if question == "insert":
            self._inserting = asyncio.create_task(self._insert(number))
        return look_inside(self.done, collect=question == "settle")

    async def _insert(self, number: int) -> None:
        one_by_one, together = islice(self._jobs, number // 2), number - number // 2
        async with asyncio.TaskGroup() as callers:
            for _ in range(CALLERS):
                callers.create_task(self._insert_one_by_one(one_by_one))
            callers.create_task(self._insert_together(together))

    async def _insert_one_by_one(self, mine: Iterator[Numbered]) -> None:
        for args in mine:
            match args.number % RARE:
                case 0:
                    opts = InsertOpts(insert_id=uuid4())
                    await self._client.insert(args, opts)
                    await self._client.insert(args, opts)
                case 1:
                    async with self._client.transaction() as tx:
                        await self._client.insert_tx(tx, args)
                case 2:
                    await self._be_refused(args)
                    await self._client.insert(args)
                case _:
                    await self._client.insert(args)
            self.done += 1

    async def _insert_together(self, number: int) -> None:
        while number:
            chunk = list(islice(self._jobs, min(CHUNK, number)))
            await self._client.insert_many(chunk)
            self.done += len(chunk)
            number -= len(chunk)

    async def _be_refused(self, args: Numbered) -> None:
        try:
            await self._client.insert(args, InsertOpts(tags=["\0"]))
        except InsertError:
            return
        raise RuntimeError("a tag that can't be stored was taken")


async def insert(seed: int) -> None:
    """Insert until nobody asks any more; a failed insert ends the process, since no answer comes then."""
    async with Client(os.environ[URL], id="inserter", config=CONFIG, strict=False) as client:
        await answer(Inserter(client, seed).reply)


def main(seed: int, parent: int) -> None:
    """Run one."""
    leash.hold(parent)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    asyncio.run(insert(seed))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
