"""Notes what a worker process believes of its own runs: their leases, and which of their writes were accepted."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from contextvars import ContextVar
from unittest.mock import patch

from tests.faults.journal import Entry, Journal
from workerqueue.database import Claimant, Claimed, ClientRow, Connection, Finished, Recorded
from workerqueue.database.jobs import JobTable
from workerqueue.engine.executor import Executor
from workerqueue.outcome import Outcome

current_lease: ContextVar[int] = ContextVar("current_lease")
"""The lease of the run that is being worked."""


def install(journal: Journal) -> None:
    """Begin to note."""
    _note_leases()
    _note_outcomes(journal)
    _note_numbers(journal)


def _note_leases() -> None:
    execute = Executor.execute

    async def noting(executor: Executor, stored: Claimed, task: asyncio.Task[None]) -> Outcome | None:
        current_lease.set(stored.lease)
        return await execute(executor, stored, task)

    patch.object(Executor, "execute", noting).start()


def _note_outcomes(journal: Journal) -> None:
    record_outcomes, record_turns = JobTable.record_outcomes, JobTable.record_turns

    async def noting(
        table: JobTable, connection: Connection, runs: Sequence[Finished], *, with_follow_ups: bool = True
    ) -> set[int]:
        accepted = await record_outcomes(table, connection, runs, with_follow_ups=with_follow_ups)
        journal.add(*(_entry(run, run.job.id in accepted) for run in runs))
        return accepted

    async def noting_turns(
        table: JobTable,
        connection: Connection,
        runs: Sequence[Finished],
        claimant: Claimant | None = None,
        *,
        lease: int = 0,
        with_follow_ups: bool = True,
    ) -> Recorded:
        recorded = await record_turns(table, connection, runs, claimant, lease=lease, with_follow_ups=with_follow_ups)
        journal.add(*(_entry(run, run.job.id in recorded.accepted) for run in runs))
        return recorded

    patch.object(JobTable, "record_outcomes", noting).start()
    patch.object(JobTable, "record_turns", noting_turns).start()


def _entry(run: Finished, accepted: bool) -> Entry:
    state = str(run.outcome.state)
    return {"job": run.job.id, "lease": run.job.lease, "state": state, "accepted": accepted, "at": time.time()}


def _note_numbers(journal: Journal) -> None:
    register_client = JobTable.register_client

    async def noting(table: JobTable, connection: Connection, client: ClientRow) -> int:
        number = await register_client(table, connection, client)
        journal.add({"number": number, "pid": os.getpid()})
        return number

    patch.object(JobTable, "register_client", noting).start()
