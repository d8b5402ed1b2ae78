"""An inserter process: notes what it means to insert, inserts it, and notes that it was told so."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg

from tests.faults import journal, leash, mutants
from tests.faults.journal import Journal
from tests.faults.kinds import config
from tests.faults.specs import URL, Spec
from tests.faults.workload import Operation, operations
from workerqueue import Client
from workerqueue.errors import WorkerQueueError

AT_ONCE = 8
"""Callers in one process, so that their inserts meet."""
BUSINESS = "insert into faults.business (token) values ($1)"
FAILURES = (WorkerQueueError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""The third of them is what the driver says on a connection whose server said goodbye while nobody listened."""


class RolledBackError(Exception):
    """Ends a transaction on purpose."""


class Inserter:
    """Carries out operations and keeps the journal."""

    def __init__(self, client: Client, pool: asyncpg.Pool[asyncpg.Record], notes: Journal) -> None:
        self._client = client
        self._pool = pool
        self._notes = notes

    async def carry_out(self, operation: Operation) -> None:
        """Insert; whatever goes wrong leaves an intent without an acknowledgement."""
        await self._note({"op": operation.number, "how": operation.how, "tokens": operation.tokens})
        try:
            ids = await self._insert(operation)
        except FAILURES:
            return
        except RolledBackError:
            return
        await self._note({"op": operation.number, "ids": ids, "tokens": operation.tokens})

    async def _insert(self, operation: Operation) -> list[int]:
        match operation.how:
            case "insert":
                return [(await self._client.insert(*operation.jobs[0])).job.id]
            case "insert_many":
                return [result.job.id for result in await self._client.insert_many(operation.jobs)]
            case _:
                return await self._insert_in_transaction(operation)

    async def _insert_in_transaction(self, operation: Operation) -> list[int]:
        (args, opts) = operation.jobs[0]
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(BUSINESS, args.token)
            inserted = await self._client.insert_tx(connection, args, opts)
            if operation.how == "rollback":
                raise RolledBackError
        return [inserted.job.id]

    async def _note(self, entry: journal.Entry) -> None:
        self._notes.add(entry)
        await asyncio.to_thread(self._notes.sync)


async def insert(spec: Spec) -> None:
    """Carry out all operations that were not begun before, at the profile's pace."""
    before = list(journal.read([spec.journal])) if spec.journal.exists() else []
    begun = {entry["op"] for entry in before}
    left = (each for each in operations(spec.seed, spec.number, spec.profile) if each.number not in begun)
    pace = spec.profile.rate / spec.profile.inserters
    async with (
        asyncpg.create_pool(os.environ[URL], min_size=0, max_size=AT_ONCE, command_timeout=5) as pool,
        Client(os.environ[URL], config=config(spec.profile), strict=False, insert_timeout=5) as client,
    ):
        inserter = Inserter(client, pool, Journal(spec.journal))
        paced = _Paced(left, pace)
        await asyncio.gather(*(_carry_out_all(inserter, paced) for _ in range(AT_ONCE)))


class _Paced:
    """Hands out operations so that so many jobs a second are inserted."""

    def __init__(self, left: Iterator[Operation], pace: float) -> None:
        self._left = left
        self._pace = pace
        self._next_at = time.monotonic()

    async def next(self) -> Operation | None:
        operation = next(self._left, None)
        if operation is not None:
            self._next_at += len(operation.jobs) / self._pace
            await asyncio.sleep(self._next_at - time.monotonic())
        return operation


async def _carry_out_all(inserter: Inserter, paced: _Paced) -> None:
    while operation := await paced.next():
        await inserter.carry_out(operation)


def main(path: Path, parent: int) -> None:
    """Run one."""
    leash.hold(parent)
    spec = Spec.model_validate_json(path.read_text())
    if spec.mutant is not None:
        mutants.apply(spec.mutant)
    asyncio.run(insert(spec))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
