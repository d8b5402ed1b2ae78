"""A worker process of the clock campaign; how wrong its clock is, is not its business."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from tests.faults import leash
from tests.faults.clocks import mutants
from tests.faults.clocks.kinds import BEAT, CONFIG, LEASE, POLL, make_workers
from tests.faults.specs import URL
from workerqueue import Client


async def work() -> None:
    """Work until SIGTERM."""
    client = Client(
        os.environ[URL],
        config=CONFIG,
        workers=make_workers(),
        poll_interval=POLL,
        heartbeat_interval=BEAT,
        lease_ttl=LEASE,
    )
    await client.run()


def main(mutant: str, parent: int) -> None:
    """Run one."""
    leash.hold(parent)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    mutants.apply(mutant)
    asyncio.run(work())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
