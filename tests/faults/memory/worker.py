"""The worker process of the memory campaign: works, counts what has ended, and says what it holds."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections import Counter

from pydantic_core import from_json

from tests.faults import leash
from tests.faults.children import answer
from tests.faults.memory.kinds import CONFIG, make_workers
from tests.faults.memory.leaks import LEAKS
from tests.faults.memory.samples import look_inside
from tests.faults.specs import URL
from workerqueue import Client
from workerqueue.events import Event

ENDS = ("completed", "cancelled", "discarded")
CACHED = 100_000
"""Many times the strings that pydantic's JSON reader keeps."""
AT_ONCE = 100
"""Few, since what is free again after them would hide what grows into it."""


def fill_string_cache() -> None:
    """Let pydantic's JSON reader keep from the beginning as many strings as it ever will.

    It keeps up to 16,384 short ones that it has read, each in a place that its hash gives: errors and their traces go
    through it, so that it fills over a million jobs and looks like a leak until it is full (about 1 MB).
    """
    for first in range(0, CACHED, AT_ONCE):
        from_json("[" + ",".join(f'"{number:x}"' for number in range(first, first + AT_ONCE)) + "]")


async def work(leak: str) -> None:
    """Work until nobody asks any more."""
    ended = Counter[str]()

    def count(event: Event) -> None:
        ended[event.type] += 1

    async def reply(question: str, _: int) -> str:
        return look_inside(sum(ended[end] for end in ENDS), collect=question == "settle")

    fill_string_cache()
    workers = make_workers(LEAKS[leak]())
    async with Client(os.environ[URL], id="worker", config=CONFIG, workers=workers, poll_interval=0.2) as client:
        client.events.add(count)
        await client.start()
        await answer(reply)


def main(leak: str, parent: int) -> None:
    """Run one."""
    leash.hold(parent)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    asyncio.run(work(leak))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
