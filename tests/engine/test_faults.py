"""Lost connections and lost notifications: the engine goes on, says little and loses nothing."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

import asyncpg
import pytest

from tests.conftest import MakeClient
from tests.database.observer import sessions, terminate
from tests.engine.jobs import Work, until_none_live, within
from tests.waiting import PATIENCE, eventually
from workerqueue import Job, JobState, Workers
from workerqueue.database import Connection, Database


def application(client_id: str) -> str:
    """What a client's sessions call themselves."""
    return f"workerqueue {client_id}"[:63]


async def until_connected(sql: Connection, name: str, count: int) -> None:
    """Wait until an application has so many sessions."""

    async def look() -> bool:
        return await sessions(sql, name) >= count

    await eventually(look)


@pytest.mark.req("C18")
async def test_a_lost_notification_costs_a_poll_and_no_job(make_client: MakeClient, sql: Connection) -> None:
    """A job that nobody was told of is started by the poll, within its interval."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None: ...

    client = make_client(workers, poll_interval=0.3)
    await client.start()
    for _ in range(3):
        await sql.execute("insert into job (kind) values ('work')")
        await until_none_live(sql)
    waits = await sql.fetch("select extract(epoch from attempted_at - created_at)::float8 as wait from job_finalized")
    assert max(row["wait"] for row in waits) < 0.3 * 1.1 + 1


async def test_a_notification_wakes_an_idle_client_at_once(make_client: MakeClient, sql: Connection) -> None:
    """With a poll of a minute, a job inserted through a client starts without it."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None: ...

    client = make_client(workers, poll_interval=60)
    await client.start()
    await client.insert(Work())
    await until_none_live(sql)
    async with sql.transaction():
        await make_client().insert_tx(sql, Work())
    await until_none_live(sql)
    assert await sql.fetchval("select count(*) from job_finalized") == 2


@pytest.mark.parametrize("payload", ["default", "no such pool", "", "'; drop table job; --", "x" * 7000])
async def test_a_forged_notification_does_no_harm(
    make_client: MakeClient, sql: Connection, database_url: str, schema: str, payload: str
) -> None:
    """A notification is a hint: whatever it says, nothing happens but a look."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None: ...

    client = make_client(workers)
    await client.start()
    channel = Database(database_url, schema).channel
    for _ in range(50):
        await sql.execute("select pg_notify($1, $2)", channel, payload)
    inserted = await client.insert(Work())
    assert (await client.jobs.wait(inserted.job.id, 10)).state is JobState.COMPLETED


@pytest.mark.parametrize("own_pool", [True, False], ids=["the client's connections", "a caller's pool"])
async def test_work_goes_on_after_every_connection_was_terminated(
    make_client: MakeClient,
    sql: Connection,
    database_url: str,
    caplog: pytest.LogCaptureFixture,
    own_pool: bool,
) -> None:
    """Jobs under way end, later ones run, each once, and the log holds a few lines about it."""
    caplog.set_level(logging.INFO, "workerqueue.database")
    caplog.set_level(logging.INFO, "workerqueue.engine")
    runs: Counter[int] = Counter()
    started, gate = asyncio.Event(), asyncio.Event()
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        runs[job.id] += 1
        started.set()
        await gate.wait()

    async with asyncpg.create_pool(
        database_url, min_size=0, max_size=6, server_settings={"application_name": "the caller's"}
    ) as pool:
        client = make_client(workers, database=None if own_pool else pool)
        name = application(client.id) if own_pool else "the caller's"
        await client.start()
        await make_client().insert_many([Work()] * 20)
        await within(started)
        await until_connected(sql, name, 4)
        assert await terminate(sql, name) >= 4
        gate.set()
        await until_none_live(sql)
        await make_client().insert_many([Work()] * 20)
        await until_none_live(sql)
        await until_connected(sql, name, 4)
        await client.close()

    assert runs == dict.fromkeys(runs, 1)
    assert len(runs) == 40
    assert {row["attempt"] for row in await sql.fetch("select attempt from job_finalized")} == {1}
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert 1 <= len(said) <= 8, said


async def test_connections_terminated_again_and_again_lose_no_job(make_client: MakeClient, sql: Connection) -> None:
    """Twenty losses while 2,000 jobs are worked: all are completed, those too whose claim's answer was lost."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        await asyncio.sleep(0.001)

    client = make_client(workers)
    await client.start(queues={"default": 20})
    await make_client().insert_many([Work()] * 2000)
    for _ in range(20):
        await until_connected(sql, application(client.id), 1)
        await terminate(sql, application(client.id))

    await until_none_live(sql)
    assert await sql.fetchval("select count(*) from job_finalized where state = 'completed'") == 2000


async def test_a_client_stops_in_time_while_its_connections_are_refused(
    make_client: MakeClient, sql: Connection, database_url: str
) -> None:
    """With its role locked out, a running client neither ends nor floods the log, and stops when it is told to."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None: ...

    role = f"role_{id(sql)}"
    await sql.execute(f"create role {role} login superuser password 'once'")
    url = database_url.replace("//postgres:", f"//{role}:").replace(database_url.split(":")[2].split("@")[0], "once")
    try:
        client = make_client(workers, database=url)
        await client.start()
        await sql.execute(f"alter role {role} nologin")
        await terminate(sql, application(client.id))
        inserted = await make_client().insert(Work())
        await sql.execute(f"alter role {role} login")
        async with asyncio.timeout(PATIENCE):
            await until_none_live(sql)
        await sql.execute(f"alter role {role} nologin")
        await terminate(sql, application(client.id))
        async with asyncio.timeout(PATIENCE):
            await client.close()
        assert inserted.job.id
    finally:
        await sql.execute(f"reassign owned by {role} to current_user")  # the day's tables that it made
        await sql.execute(f"drop role {role}")
