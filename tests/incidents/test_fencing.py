"""Incidents in which a run that was over wrote, or a client lived on in its successor."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest

from tests.claiming import claim_jobs
from tests.conftest import MakeClient
from tests.engine.jobs import Work
from workerqueue import InsertOpts, Job, JobState, Workers
from workerqueue.database import Claimed, ClientRow, Connection, Database, Finished
from workerqueue.outcome import COMPLETED, INTERRUPTED, Outcome

LIMIT = 10.0
ENTRY = '{"attempt": 1, "type": "ValueError", "error": "x", "trace": null, "client": "c1"}'
LATE = {
    "completed": COMPLETED,
    "interrupted": INTERRUPTED,
    "failed": Outcome("failed", JobState.RETRYABLE, timedelta(hours=1), error=ENTRY),
    "snoozed": Outcome("snoozed", JobState.SCHEDULED, timedelta(hours=1), counts=False),
    "cancelled": Outcome("cancelled", JobState.CANCELLED, error=ENTRY),
    "discarded": Outcome("discarded", JobState.DISCARDED, error=ENTRY),
}


async def claim(door: Database, sql: Connection, number: int, lease: int) -> list[Claimed]:
    """Claim all there is."""
    return (
        await claim_jobs(
            door.jobs, sql, lease=lease, client=f"c{number}", number=number, wanted={"default": 100}, kinds=["work"]
        )
    ).jobs


async def fall_silent(sql: Connection, number: int) -> None:
    """Let a client not beat for a minute."""
    await sql.execute("update client set heartbeat_at = now() - interval '1 minute' where number = $1", number)


@pytest.mark.parametrize("late", LATE.values(), ids=LATE.keys())
async def test_oban_532_a_late_attempt_flips_no_discarded_job(
    make_client: MakeClient, door: Database, sql: Connection, late: Outcome
) -> None:
    """A job whose client died on its last attempt is discarded; what that client writes later changes nothing."""
    await make_client().insert(Work(), InsertOpts(max_attempts=1))
    (run,) = await claim(door, sql, 1, lease=1)
    await fall_silent(sql, 1)
    assert (await door.jobs.rescue_jobs(sql, LIMIT))[:3] == (["c1"], 0, 1)
    before = await sql.fetch("select * from job_all")
    assert await door.jobs.record_outcomes(sql, [Finished(run, late)]) == set()
    assert await sql.fetch("select * from job_all") == before
    assert before[0]["state"] == "discarded"


async def test_procrastinate_1518_a_name_used_again_is_another_client(
    make_client: MakeClient, door: Database, sql: Connection
) -> None:
    """A pod that died and came back under its name: the first one's jobs are freed, the second one's left alone."""
    await make_client().insert(Work())
    (old,) = await claim(door, sql, 1, lease=1)
    again = await door.jobs.register_client(sql, ClientRow("c1", "h", 2, [], []))
    await make_client().insert(Work())
    (new,) = await claim(door, sql, again, lease=2)
    await fall_silent(sql, 1)
    assert (await door.jobs.rescue_jobs(sql, LIMIT))[:3] == (["c1"], 1, 0)
    assert await sql.fetchval("select array_agg(id) from job where state = 'running'") == [new.id]
    assert not (await door.jobs.beat(sql, 1, LIMIT)).alive
    assert (await door.jobs.beat(sql, again, LIMIT)).alive
    assert await door.jobs.record_outcomes(sql, [Finished(old, COMPLETED), Finished(new, COMPLETED)]) == {new.id}


async def test_river_1324_a_rescue_reads_no_args(make_client: MakeClient, door: Database, sql: Connection) -> None:
    """Jobs whose args fit no class, or whose kind nobody knows, are freed with all others."""
    await sql.execute(
        """insert into job (kind, args)
           values ('work', '{"n": "no number"}'), ('work', '{}'), ('unknown', '{"x": [1]}')"""
    )
    await claim_jobs(door.jobs, sql, lease=1, client="c1", number=1, wanted={"default": 100}, kinds=["work", "unknown"])
    await fall_silent(sql, 1)
    assert (await door.jobs.rescue_jobs(sql, LIMIT))[:3] == (["c1"], 3, 0)
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None: ...

    await make_client(workers).run(drain=True)
    ended = await sql.fetch("select state, attempt from job_all order by id")
    assert [tuple(row) for row in ended] == [("discarded", 2), ("completed", 2), ("available", 1)]


@pytest.mark.parametrize("seconds", [-1, 0])
async def test_river_1331_a_timeout_that_ends_before_it_begins_is_refused(sql: Connection, seconds: int) -> None:
    """Also from plain SQL: no row can hold a rescuer up with one."""
    with pytest.raises(asyncpg.CheckViolationError):
        await sql.execute("insert into job (kind, timeout_seconds) values ('work', $1)", seconds)
