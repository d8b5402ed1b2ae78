"""The traps of inserting that were met before, each held by what must stay true: design.md, section 4."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.client.kinds import Note
from tests.conftest import MakeClient
from tests.engine.jobs import within
from tests.waiting import eventually
from workerqueue import DatabaseError, InsertOpts, InsertResult
from workerqueue.database import Connection, Inserted, Runner
from workerqueue.database.jobs import JobTable
from workerqueue.options import NewJob


class Statements:
    """The statements that inserts send, and how many jobs each holds; all but the first `free` wait for the gate."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, free: int = 0) -> None:
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self.sizes: list[int] = []
        self._free = free
        one, many = JobTable.insert_job, JobTable.insert_jobs

        async def insert_job(jobs: JobTable, runner: Runner, job: NewJob, timeout: float) -> Inserted:
            await self._pass(1)
            return await one(jobs, runner, job, timeout)

        async def insert_jobs(jobs: JobTable, runner: Runner, new: Sequence[NewJob], timeout: float) -> Inserted:
            await self._pass(len(new))
            return await many(jobs, runner, new, timeout)

        monkeypatch.setattr(JobTable, "insert_job", insert_job)
        monkeypatch.setattr(JobTable, "insert_jobs", insert_jobs)

    async def _pass(self, size: int) -> None:
        self.sizes.append(size)
        self.begun.set()
        if len(self.sizes) > self._free:
            await self.gate.wait()


Inserting = asyncio.Task[InsertResult[Note]]


async def callers(
    make_client: MakeClient, statements: Statements, jobs: Sequence[tuple[int, InsertOpts]]
) -> list[Inserting]:
    """Insert as many callers at once: the first alone, the others while the first one's statement is under way."""
    client = make_client()
    tasks = [asyncio.create_task(client.insert(Note(n=n), opts)) for n, opts in jobs]
    await within(statements.begun)
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_inserts_that_arrive_while_one_is_written_are_the_next_statement(
    make_client: MakeClient, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit costs as much for fifty as for one; each caller gets its own job, once that is committed."""
    statements = Statements(monkeypatch)
    tasks = await callers(make_client, statements, [(n, InsertOpts()) for n in range(50)])
    assert not any(task.done() for task in tasks)
    statements.gate.set()
    results = await asyncio.gather(*tasks)
    assert statements.sizes == [1, 49]
    stored = await sql.fetch("select id, (args ->> 'n')::int as n from job order by id")
    assert [(result.job.id, result.job.args.n) for result in results] == [(row["id"], row["n"]) for row in stored]
    assert [row["n"] for row in stored] == list(range(50))


async def test_a_lone_caller_pays_for_nobody_else(
    make_client: MakeClient, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One insert after the other is one plain statement each, begun at once and with nothing to wait for."""
    statements = Statements(monkeypatch, free=1000)
    client = make_client()
    for n in range(20):
        await client.insert(Note(n=n))
        assert await sql.fetchval("select count(*) from job") == n + 1
    assert statements.sizes == [1] * 20


async def test_a_job_that_is_refused_fails_its_own_caller_only(
    make_client: MakeClient, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its neighbours in the same statement are inserted, and told so."""
    await sql.execute("alter table job add constraint mine check (priority <> 13)")
    statements = Statements(monkeypatch)
    jobs = [(n, InsertOpts(priority=13 if n in (5, 11) else 1)) for n in range(20)]
    tasks = await callers(make_client, statements, jobs)
    statements.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    refused = [n for n, result in enumerate(results) if isinstance(result, BaseException)]
    assert refused == [5, 11]
    assert all(isinstance(results[n], DatabaseError) for n in refused)
    stored = await sql.fetch("select (args ->> 'n')::int as n from job")
    assert sorted(row["n"] for row in stored) == [n for n in range(20) if n not in refused]


async def test_a_caller_who_goes_away_takes_nobody_along(
    make_client: MakeClient, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the one whose statement the others wait behind, nor one in their midst; who still waited is answered."""
    statements = Statements(monkeypatch)
    tasks = await callers(make_client, statements, [(n, InsertOpts()) for n in range(10)])
    tasks[0].cancel()
    tasks[4].cancel()
    statements.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [n for n, result in enumerate(results) if isinstance(result, BaseException)] == [0, 4]

    async def stored() -> set[int]:
        rows = await sql.fetch("select (args ->> 'n')::int as n from job")
        return {row["n"] for row in rows}

    assert await eventually(stored) == {1, 2, 3, 5, 6, 7, 8, 9}  # the gone had not been sent
