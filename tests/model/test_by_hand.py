"""Every call by hand on a job in every state: what the table of transitions has, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import Work
from tests.model.machine import NEXT, ByHand, New, Row, name_of
from workerqueue import ControlResult, InsertOpts, JobState
from workerqueue.client import Client
from workerqueue.database import Connection
from workerqueue.job import FINAL, WAITING
from workerqueue.options import Payload

CALLS: dict[str, Callable[[Client, int], Awaitable[ControlResult[Payload]]]] = {
    "cancel": lambda client, job: client.jobs.cancel(job),
    "complete": lambda client, job: client.jobs.complete(job, 7),
    "fail": lambda client, job: client.jobs.fail(job, "no"),
    "retry": lambda client, job: client.jobs.retry(job),
}
HOW = {"cancel": ByHand("cancel"), "complete": ByHand("complete"), "fail": ByHand("fail"), "retry": ByHand("retry")}


@pytest.mark.parametrize("is_last", [False, True], ids=["attempts left", "the last attempt"])
@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("call", CALLS)
async def test_a_call_by_hand_does_what_the_table_says(
    make_client: MakeClient, sql: Connection, call: str, state: JobState, is_last: bool
) -> None:
    """Where it has the step the job is there and the answer is ok; else nothing changes, and the answer says why."""
    client = make_client()
    job = (await client.insert(Work(), InsertOpts(max_attempts=2, pending=True))).job.id
    attempt = 2 if is_last and state in (JobState.RUNNING, *FINAL) else 1 if is_last else 0
    await _put(sql, client, job, state, attempt)
    before = await sql.fetchval("select job_all::text from job_all")
    model = Row(New("", max_attempts=2), state, 0.0, attempt=attempt, lease=1 if state is JobState.RUNNING else None)
    target = NEXT.get((name_of(model, HOW[call]), state))

    result = await CALLS[call](client, job)

    is_there = call == "retry" and state is JobState.AVAILABLE
    after = await client.jobs.get(job)
    assert after is not None
    assert (result.ok, after.state) == (target is not None or is_there, target or state)
    assert result.reason == (None if result.ok else state.value)
    assert result.job == after
    if target is None:
        assert await sql.fetchval("select job_all::text from job_all") == before
    if call == "fail" and target is not None:
        assert after.attempt == (max(attempt, 1) if state is JobState.RUNNING else attempt + 1)
        assert [each.attempt for each in after.errors] == [after.attempt]
        assert (after.state is JobState.DISCARDED) == (after.attempt >= 2)
    if call == "retry" and target is not None:
        assert after.max_attempts > after.attempt


@pytest.mark.parametrize("state", JobState)
async def test_only_what_does_not_run_is_deleted(make_client: MakeClient, sql: Connection, state: JobState) -> None:
    """And then it is gone, wherever it was."""
    client = make_client()
    job = (await client.insert(Work(), InsertOpts(pending=True))).job.id
    await _put(sql, client, job, state, 1)
    result = await client.jobs.delete(job)
    assert result.ok == (state in WAITING | FINAL)
    assert await sql.fetchval("select count(*) from job_all") == (0 if result.ok else 1)


async def _put(sql: Connection, client: Client, job: int, state: JobState, attempt: int) -> None:
    """Bring a parked job into a state."""
    await sql.execute("update job set attempt = $1", attempt)
    match state:
        case JobState.RUNNING:
            await sql.execute("update job set state = 'running', lease = 1, client = 1, attempt = greatest(attempt, 1)")
        case JobState.COMPLETED:
            await client.jobs.complete(job)
        case JobState.CANCELLED:
            await client.jobs.cancel(job)
        case JobState.DISCARDED:
            await client.jobs.complete(job)
            await sql.execute("update job_finalized set state = 'discarded'")
        case _:
            await sql.execute(f"update job set state = '{state}'")  # noqa: S608 - one of ours
