"""The context that travels with a job: set before its worker's first line, and never another job's."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any
from uuid import uuid4

import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import Other, Work, until_state
from tests.waiting import PATIENCE
from workerqueue import (
    ContextError,
    Fixed,
    InsertOpts,
    InsertResult,
    Job,
    JobState,
    UniqueOpts,
    Workers,
    context,
    current_client,
    current_context,
)
from workerqueue.database import Connection
from workerqueue.job_context import NOTHING, Context, entered

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
WHOLE = Context("t1", "o1", "s1", "u1", "c1", TRACE)


@pytest.mark.req("A11", "A30")
@pytest.mark.parametrize(
    "way", ["insert", "insert_tx", "insert_many", "insert_many_tx", "insert_kind", "insert_id", "unique"]
)
async def test_every_way_to_insert_carries_the_context(make_client: MakeClient, sql: Connection, way: str) -> None:
    """On the worker's first line it is what it was at the insert, after a retry and in a thread too."""
    seen: list[Context] = []
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        seen.extend((current_context(), job.context, await asyncio.to_thread(current_context)))
        if job.attempt == 1:
            raise ValueError

    again = InsertOpts(retry=Fixed(0))
    client = make_client(workers)
    inserted: InsertResult[Any]
    with entered(WHOLE):
        if way == "insert":
            inserted = await client.insert(Work(), again)
        elif way == "insert_tx":
            async with sql.transaction():
                inserted = await client.insert_tx(sql, Work(), again)
        elif way == "insert_many":
            (inserted, _) = await client.insert_many([(Work(), again)] * 2)
        elif way == "insert_many_tx":
            async with sql.transaction():
                (inserted, _) = await client.insert_many_tx(sql, [(Work(), again)] * 2)
        elif way == "insert_kind":
            inserted = await client.insert_kind("work", {}, again)
        elif way == "insert_id":
            inserted = await client.insert(Work(), InsertOpts(retry=Fixed(0), insert_id=uuid4()))
        else:
            inserted = await client.insert(Work(), InsertOpts(retry=Fixed(0), unique=UniqueOpts()))
    assert inserted.job.context == WHOLE
    await client.start()
    job = await client.jobs.wait(inserted.job.id, PATIENCE)
    await client.stop()
    assert (job.state, job.attempt, job.context) == (JobState.COMPLETED, 2, WHOLE)
    assert len(seen) >= 6
    assert set(seen) == {WHOLE}


@pytest.mark.req("B48")
async def test_a_thread_and_what_a_worker_inserts_have_it_too(make_client: MakeClient) -> None:
    """A child job carries the correlation id of the request that began it all."""
    seen: list[tuple[str, Context]] = []
    workers = Workers()

    @workers.worker
    def work(job: Job[Work]) -> None:
        seen.append((threading.current_thread().name, current_context()))

    @workers.worker
    async def other(job: Job[Other]) -> int:
        return (await current_client().insert(Work())).job.id

    async with make_client(workers) as client:
        await client.start()
        with context(correlation_id="c-42", user="u7"):
            parent = await client.insert(Other())
        child = (await client.jobs.wait(parent.job.id, PATIENCE)).output
        assert isinstance(child, int)
        job = await client.jobs.wait(child, PATIENCE)
    assert (job.context.correlation_id, job.context.user) == ("c-42", "u7")
    assert seen == [(seen[0][0], Context(correlation_id="c-42", user="u7"))]
    assert seen[0][0] != threading.main_thread().name


async def test_no_job_sees_the_context_of_another(make_client: MakeClient) -> None:
    """Not that of the one before it in its slot, and not that of whoever started the client."""
    seen: dict[int, Context] = {}
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        seen[job.args.n] = current_context()
        await asyncio.sleep(0)
        assert current_context() == seen[job.args.n]

    client = make_client(workers)
    with context(tenant="whoever starts"):
        await client.start(queues={"default": 2})
    for n in range(30):
        with context(tenant=f"t{n}", fresh=True) if n % 3 else context(fresh=True):
            await client.insert(Work(n=n))
    last = await client.insert(Work(n=99), InsertOpts(priority=9))
    await client.jobs.wait(last.job.id, PATIENCE)
    await client.stop()
    assert seen == {n: Context(tenant=f"t{n}") if n % 3 else NOTHING for n in range(30)} | {99: NOTHING}


async def test_a_follow_up_has_the_context_of_the_job_it_follows(make_client: MakeClient) -> None:
    """Though the statement that discards that one inserts it."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        raise ValueError

    @workers.worker
    async def other(job: Job[Other]) -> dict[str, str]:
        return current_context().said

    async with make_client(workers) as client:
        await client.start()
        with context(tenant="t1", user="u1"):
            first = await client.insert(Work(), InsertOpts(max_attempts=1, on_discard=Other()))
        await client.jobs.wait(first.job.id, PATIENCE)
        (follow_up,) = (await client.jobs.list(kinds=["other"])).jobs
        assert (await client.jobs.wait(follow_up.id, PATIENCE)).output == {"tenant": "t1", "user": "u1"}


@pytest.mark.req("A53o")
@pytest.mark.parametrize(
    "stored", [{"tenant": 7}, {"tenant": ""}, {"token": "s3cret"}, {"traceparent": "00-1"}, {"user": "a\nb"}]
)
async def test_a_stored_context_that_is_none_is_refused(
    make_client: MakeClient, sql: Connection, stored: dict[str, object]
) -> None:
    """The worker is not called; the job is discarded and says why, and can still be looked at."""
    called: list[int] = []
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        called.append(job.id)

    async with make_client(workers) as client:
        inserted = await client.insert(Work())
        await sql.execute("update job set context = $1::text::jsonb", json.dumps(stored))
        await client.start()
        job = await client.jobs.wait(inserted.job.id, PATIENCE)
    assert (job.state, job.errors[0].type, called) == (JobState.DISCARDED, "ContextError", [])
    assert job.context is NOTHING


@pytest.mark.req("A53o")
async def test_within_one_tenant_nothing_is_inserted_for_another(make_client: MakeClient) -> None:
    """Neither in a block, nor in a worker of it; only on purpose."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> str:
        with pytest.raises(ContextError, match=r"tenant: expected 't1'"), context(tenant="t2"):
            pass
        with context(tenant="t2", fresh=True):
            other = await current_client().insert(Other())
        return other.job.context.tenant or ""

    async with make_client(workers) as client:
        await client.start()
        with context(tenant="t1"):
            inserted = await client.insert(Work())
        assert (await client.jobs.wait(inserted.job.id, PATIENCE)).output == "t2"


@pytest.mark.req("A54o")
async def test_nothing_but_the_white_list_is_stored(make_client: MakeClient, sql: Connection) -> None:
    """What a request has beside it can't even be said."""
    with pytest.raises(TypeError, match="token"), context(tenant="t1", token="s3cret"):  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue] - that is the point
        pass
    client = make_client()
    with context(tenant="t1"):
        await client.insert(Work())
    row = await sql.fetchrow("select job::text as whole, context::text from job")
    assert row is not None
    assert json.loads(row["context"]) == {"tenant": "t1"}
    assert "s3cret" not in row["whole"]


async def test_a_replaced_job_has_the_context_of_the_newest_insert(make_client: MakeClient) -> None:
    """As it has its args."""
    client = make_client()
    with context(user="u1"):
        await client.insert(Work(), InsertOpts(job_key="k", pending=True))
    with context(user="u2"):
        second = await client.insert(Work(), InsertOpts(job_key="k", job_key_mode="replace", pending=True))
    assert second.duplicate
    job = await until_state(client, second.job.id, JobState.PENDING)
    assert job.context == Context(user="u2")
