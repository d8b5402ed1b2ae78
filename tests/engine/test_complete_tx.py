"""`complete_tx`: a worker's rows, its follow-up jobs and its completion are one commit, or none of them is there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import Recorder, until_none_live, until_state, within
from workerqueue import (
    ArgsError,
    Config,
    Fixed,
    InsertOpts,
    Job,
    JobArgs,
    JobState,
    NotInTransactionError,
    StaleRunError,
    TaskConfig,
    Workers,
    current_client,
)
from workerqueue.database import Connection


class Pay(JobArgs):
    order: int = 1
    how: str = "commit"

    @classmethod
    def kind(cls) -> str:
        return "pay"


class Thank(JobArgs):
    order: int

    @classmethod
    def kind(cls) -> str:
        return "thank"


def by_order(args: Pay) -> str:
    """Give an order's dynamic queue."""
    return f"order-{args.order}"


class RolledBackError(Exception):
    """Rolls a transaction back, and is caught behind it."""


class Shop:
    """Pays orders: a row, a follow-up and the completion in one transaction."""

    def __init__(self, schema: str) -> None:
        self.paid = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()
        self.stale = asyncio.Event()
        self.workers = Workers()

        @self.workers.worker
        async def pay(job: Job[Pay]) -> object:
            client = current_client()
            with suppress(RolledBackError):
                async with client.transaction() as tx:
                    await tx.execute(f'insert into "{schema}".payment values ($1)', job.args.order)  # noqa: S608 - ours
                    await client.insert_tx(tx, Thank(order=job.args.order))
                    self.paid.set()
                    await self.go.wait()
                    try:
                        await client.complete_tx(tx, job, {"paid": True})
                    except StaleRunError:
                        self.stale.set()
                        raise
                    if job.args.how == "raise inside" and job.attempt == 1:
                        raise ValueError("inside")
                    if job.args.how == "roll back" and job.attempt == 1:
                        raise RolledBackError
            if job.args.how == "raise after":
                raise ValueError("after")
            return "ignored"

        @self.workers.worker
        async def thank(job: Job[Thank]) -> None:
            pass


@pytest.fixture
async def payments(sql: Connection) -> Callable[[], Awaitable[list[int]]]:
    """The shop's own table, and a look at it."""
    await sql.execute("create table payment (order_id integer)")

    async def read() -> list[int]:
        return [row["order_id"] for row in await sql.fetch("select order_id from payment order by order_id")]

    return read


Payments = Callable[[], Awaitable[list[int]]]
DYNAMIC = Config(tasks={"pay": TaskConfig(dynamic_queue=by_order)})
SOON = InsertOpts(retry=Fixed(0.01))


@pytest.mark.parametrize("config", [None, DYNAMIC], ids=["plain", "dynamic"])
async def test_rows_follow_ups_and_completion_are_one_commit(
    make_client: MakeClient, sql: Connection, schema: str, payments: Payments, config: Config | None
) -> None:
    """The output is the call's, the worker's own return is ignored, and a dynamic queue goes on to its next job."""
    client = make_client(Shop(schema).workers, config=config)
    recorder = Recorder(client)
    await client.start()
    made = [(await client.insert(Pay(order=n % 3))).job.id for n in range(9)]
    await until_none_live(sql)
    assert await payments() == sorted([0, 1, 2] * 3)
    assert await sql.fetchval("select count(*) from job_finalized where kind = 'thank' and state = 'completed'") == 9
    for job_id in made:
        job = await client.jobs.get(job_id)
        assert job is not None
        assert (job.state, job.output, job.errors) == (JobState.COMPLETED, {"paid": True}, [])
        await recorder.until(job_id, "completed")
        assert recorder.types(job_id) == ["started", "completed"]


@pytest.mark.parametrize(
    ("how", "error"), [("raise inside", "ValueError"), ("roll back", "NotCommittedError"), ("raise after", None)]
)
@pytest.mark.parametrize("config", [None, DYNAMIC], ids=["plain", "dynamic"])
async def test_what_is_not_committed_is_not_completed(
    make_client: MakeClient,
    sql: Connection,
    schema: str,
    payments: Payments,
    how: str,
    error: str | None,
    config: Config | None,
) -> None:
    """The attempt has failed then, whatever the worker returns; what it raises after its commit changes nothing."""
    client = make_client(Shop(schema).workers, config=config)
    await client.start()
    result = await client.insert(Pay(how=how), SOON)
    job = await until_state(client, result.job.id, JobState.COMPLETED)
    assert [each.type for each in job.errors] == ([] if error is None else [error])
    assert await payments() == [1]
    await until_none_live(sql)
    assert await sql.fetchval("select count(*) from job_finalized where kind = 'thank'") == 1


async def test_a_stale_run_is_refused_and_its_transaction_rolled_back(
    make_client: MakeClient, sql: Connection, schema: str, payments: Payments
) -> None:
    """Whoever has the job by now does it; nothing of the stale run is left."""
    shop = Shop(schema)
    shop.go.clear()
    client = make_client(shop.workers)
    await client.start()
    result = await client.insert(Pay())
    await within(shop.paid)
    await sql.execute("update job set lease = lease - 1")  # another one has it
    shop.go.set()
    await within(shop.stale)
    await sql.execute("update job set state = 'available', lease = null")
    await until_state(client, result.job.id, JobState.COMPLETED)
    assert await payments() == [1]
    await until_none_live(sql)
    assert await sql.fetchval("select count(*) from job_finalized where kind = 'thank'") == 1


async def test_it_is_for_the_worker_that_runs_the_job(make_client: MakeClient, sql: Connection) -> None:
    """And for a transaction, and an output that can be stored; each refusal leaves the job as it was."""
    client = make_client(Workers())
    job = (await client.insert(Pay())).job
    async with client.transaction() as tx:
        with pytest.raises(StaleRunError, match="is not started"):
            await client.complete_tx(tx, job)
    problems: list[BaseException] = []
    workers = Workers()

    @workers.worker
    async def pay(job: Job[Pay]) -> None:
        mine = current_client()
        other = make_client()
        async with mine.transaction() as tx:
            calls = (
                mine.complete_tx(tx, job, {"a": float("nan")}),
                mine.complete_tx(tx, (await other.insert(Pay())).job),
                other.complete_tx(tx, job),
            )
            for call in calls:
                try:
                    await call
                except (ArgsError, StaleRunError) as error:
                    problems.append(error)
        try:
            await mine.complete_tx(sql, job)
        except NotInTransactionError as error:
            problems.append(error)

    working = make_client(workers, concurrency=1)
    await working.start()
    done = await until_state(working, job.id, JobState.COMPLETED)
    assert [type(each) for each in problems[:4]] == [ArgsError, StaleRunError, StaleRunError, NotInTransactionError]
    assert done.output is None
