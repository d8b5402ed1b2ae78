"""An inserter process of the clock campaign: wants jobs now, after a delay or at a time, and notes what it wanted."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import asyncpg

from tests.faults import leash
from tests.faults.clocks import mutants
from tests.faults.clocks.kinds import CONFIG, KINDS
from tests.faults.journal import Entry, Journal
from tests.faults.specs import URL
from workerqueue import Client, InsertOpts, JobArgs

SHARES = (60, 15, 15, 4)
"""Of `KINDS`."""
WAYS = ("now", "delay", "true_time", "own_time")
PAUSE = 0.03
CHUNK = 5


class Inserter:
    """Inserts jobs that follow from the seed, and notes for each when it is to run."""

    def __init__(self, client: Client, connection: asyncpg.Connection[asyncpg.Record], seed: str, notes: Path) -> None:
        self._client = client
        self._connection = connection
        self._random = Random(seed)  # noqa: S311 - repeatable, not a secret
        self._notes = Journal(notes)

    async def insert(self, calls: int) -> None:
        """Insert so many times: one, several, or one in a transaction."""
        for number in range(calls):
            how = ("insert", "insert_many", "insert_tx")[number % 3]
            jobs = [await self._job() for _ in range(CHUNK if how == "insert_many" else 1)]
            ids = await self._insert(how, [(args, opts) for args, opts, _ in jobs])
            self._notes.add(*({"job": id_, **asked} for id_, (_, _, asked) in zip(ids, jobs, strict=True)))
            await asyncio.sleep(PAUSE)

    async def _job(self) -> tuple[JobArgs, InsertOpts, Entry]:
        (kind,), way = self._random.choices(KINDS, SHARES), self._random.choice(WAYS)
        seconds = round(self._random.uniform(0.2, 2.5), 3)
        match way:
            case "now":
                return kind(), InsertOpts(), {"delay": 0.0}
            case "delay":
                return kind(), InsertOpts(scheduled_at=timedelta(seconds=seconds)), {"delay": seconds}
            case "true_time":
                at: datetime = await self._connection.fetchval("select clock_timestamp()") + timedelta(seconds=seconds)
                return kind(), InsertOpts(scheduled_at=at), {"due": at.isoformat()}
            case _:
                # Who believes a wrong clock gets what it asked for: at once, or not before that time has come.
                at = datetime.now(UTC) + timedelta(seconds=seconds)
                return kind(), InsertOpts(scheduled_at=at), {"due": at.isoformat()}

    async def _insert(self, how: str, jobs: Sequence[tuple[JobArgs, InsertOpts]]) -> list[int]:
        match how:
            case "insert":
                return [(await self._client.insert(*jobs[0])).job.id]
            case "insert_many":
                return [result.job.id for result in await self._client.insert_many(jobs)]
            case _:
                async with self._client.transaction() as tx:
                    return [(await self._client.insert_tx(tx, *jobs[0])).job.id]


async def insert(seed: str, calls: int, notes: Path) -> None:
    """Insert all of it."""
    connection = await asyncpg.connect(os.environ[URL])
    async with Client(os.environ[URL], config=CONFIG, strict=False) as client:
        await Inserter(client, connection, seed, notes).insert(calls)
    await connection.close()


def main(mutant: str, seed: str, calls: int, notes: Path, parent: int) -> None:
    """Run one."""
    leash.hold(parent)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    mutants.apply(mutant)
    asyncio.run(insert(seed, calls, notes))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]))
