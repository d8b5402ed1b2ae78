"""A worker process: the real client, whose workers leave effects behind."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from pathlib import Path

import asyncpg

from tests.faults import leash, mutants, observe
from tests.faults.journal import Journal
from tests.faults.kinds import config, make_workers
from tests.faults.specs import URL, Spec
from workerqueue import Client
from workerqueue.database import Connection
from workerqueue.errors import DatabaseUnavailableError

EXACT = "insert into faults.exact (job, lease) values ($1, $2)"
EFFECT = "insert into faults.effect (job, lease, attempt, at) values ($1, $2, $3, clock_timestamp())"


async def work(spec: Spec) -> None:
    """Work until SIGTERM."""
    outside = Journal(spec.external)
    async with asyncpg.create_pool(os.environ[URL], min_size=0, max_size=4, command_timeout=5) as pool:

        async def leave_row(job: int, attempt: int) -> None:
            await pool.execute(EFFECT, job, observe.current_lease.get(), attempt)

        async def leave_exactly(tx: Connection, job: int, attempt: int) -> None:
            await tx.execute(EFFECT, job, observe.current_lease.get(), attempt)
            await tx.execute(EXACT, job, observe.current_lease.get())

        async def leave_line(job: int, attempt: int) -> None:
            entry = {"job": job, "lease": observe.current_lease.get(), "attempt": attempt, "at": time.time()}
            outside.add(entry)
            await asyncio.to_thread(outside.sync)

        profile = spec.profile
        client = Client(
            os.environ[URL],
            id=spec.name,
            config=config(profile),
            workers=make_workers(profile, spec.seed, leave_row, leave_line, leave_exactly, observe.current_lease.get),
            poll_interval=profile.poll_interval,
            heartbeat_interval=profile.heartbeat_interval,
            lease_ttl=profile.lease_ttl,
            stop_timeout=profile.stop_timeout,
        )
        while True:
            try:
                await client.run()
                return
            except DatabaseUnavailableError:  # the server was restarted while this began
                await asyncio.sleep(0.1)


def main(path: Path, parent: int) -> None:
    """Run one."""
    leash.hold(parent)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    spec = Spec.model_validate_json(path.read_text())
    observe.install(Journal(spec.journal))
    if spec.mutant is not None:
        mutants.apply(spec.mutant)
    asyncio.run(work(spec))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
