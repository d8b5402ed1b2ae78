"""Sessions killed, servers killed, connections refused: no job is lost, and work goes on within seconds.

`WORKERQUEUE_RECONNECT_ROUNDS` makes every test break things so many times more often.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, suppress
from time import monotonic
from typing import Final

import anyio
import asyncpg
import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import Work, until_none_live
from tests.reconnect.flow import Step, flowing, most_lines_a_second
from tests.reconnect.servers import OwnServer
from tests.waiting import eventually
from workerqueue import Client, Job, Workers, migrate
from workerqueue.database import Connection

ROUNDS: Final = int(os.environ.get("WORKERQUEUE_RECONNECT_ROUNDS", "1"))

# A calm machine needs a few seconds; these bounds hold on one that stalls, too.
AFTER_A_SESSION: Final = 20.0
AFTER_A_SERVER: Final = 30.0

LEASE: Final = 2.0
"""Seconds: short enough to wait for in a test, longer than a busy machine keeps a heartbeat from its turn."""


@pytest.fixture
async def fresh(own_server: OwnServer) -> AsyncGenerator[str]:
    """The URL of the own server, with nothing in it."""
    await migrate(own_server.url)
    yield own_server.url
    connection = await asyncpg.connect(own_server.url)
    await connection.execute("drop schema workerqueue cascade")
    await connection.close()


async def kill_one(sql: Connection, name: str) -> None:
    """End a random session of our clients, other than this one."""
    pids = await sql.fetch(
        "select pid from pg_stat_activity where application_name like $1 and pid <> pg_backend_pid()", name
    )
    if pids:
        await sql.execute("select pg_terminate_backend($1)", random.choice(pids)["pid"])  # noqa: S311 - no secret


async def connections_until_full(url: str) -> list[Connection]:
    """Take every connection that a server has left."""
    taken: list[Connection] = []
    with suppress(asyncpg.TooManyConnectionsError):
        while True:
            taken.append(await asyncpg.connect(url))
    return taken


@pytest.mark.timeout(120 * ROUNDS)
async def test_sessions_killed_one_by_one_lose_nothing(fresh: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whichever loop's session is killed, jobs go on; nothing acknowledged is lost, and little is said."""
    caplog.set_level(logging.WARNING, "workerqueue")
    sql = await asyncpg.connect(fresh)
    async with flowing(fresh) as flow:
        for _ in range(20 * ROUNDS):
            await kill_one(sql, "workerqueue %")
            await flow.goes_on(AFTER_A_SESSION)
    await sql.close()
    assert max(most_lines_a_second(caplog).values(), default=0) <= 1
    assert all(flow.runs[n] >= 1 for n in flow.acknowledged)


@pytest.mark.timeout(120 * ROUNDS)
async def test_a_server_killed_and_started_again_loses_nothing(
    own_server: OwnServer, fresh: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An immediate stop, three times: what was acknowledged runs, and work goes on soon after each start."""
    caplog.set_level(logging.WARNING, "workerqueue")
    async with flowing(fresh) as flow:
        for _ in range(3 * ROUNDS):
            await asyncio.to_thread(own_server.stop, signal.SIGQUIT)
            await asyncio.to_thread(own_server.start)
            began = monotonic()
            await flow.goes_on(AFTER_A_SERVER)
            logging.getLogger("tests").info("working again after %.2f s", monotonic() - began)
    assert max(most_lines_a_second(caplog).values(), default=0) <= 1


async def test_results_are_kept_while_the_server_is_away(own_server: OwnServer, fresh: str) -> None:
    """Workers that end meanwhile are not run again: their results are written when it is back."""
    async with flowing(fresh) as flow:
        flow.gate.clear()
        before = set(flow.runs)

        async def all_slots_are_taken() -> bool:
            return flow.at_work == 100

        await eventually(all_slots_are_taken)
        await flow.inserter.insert(Step(n=0))  # a claim is durable with the next commit that is
        await asyncio.to_thread(own_server.stop, signal.SIGQUIT)
        flow.gate.set()
        held = set(flow.runs) - before

        async def some_ended() -> bool:
            return flow.at_work == 0

        await eventually(some_ended)
        await asyncio.to_thread(own_server.start)
        await flow.goes_on(AFTER_A_SERVER)
    assert held
    assert all(flow.runs[n] == 1 for n in held)
    sql = await asyncpg.connect(fresh)
    counts = await sql.fetch("select args, attempt from workerqueue.job_finalized where attempt > 1")
    await sql.close()
    assert not counts


async def test_nobody_is_judged_after_an_outage(own_server: OwnServer, fresh: str) -> None:
    """A server away for longer than a lease: whoever comes back first does not take the others for dead."""
    done: list[int] = []
    gate = asyncio.Event()

    def workers() -> Workers:
        made = Workers()

        @made.worker
        async def step(job: Job[Step]) -> None:
            await gate.wait()
            done.append(job.args.n)

        return made

    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                Client(fresh, workers=workers(), heartbeat_interval=0.2, lease_ttl=LEASE, id=f"c{n}")
            )
            for n in range(4)
        ]
        for client in clients:
            await client.start()
        await clients[0].insert_many([Step(n=n) for n in range(40)])
        sql = await asyncpg.connect(fresh)

        async def all_run() -> bool:
            count: int = await sql.fetchval("select count(*) from workerqueue.job where state = 'running'")
            return count == 40

        await eventually(all_run)
        # Claims may be lost in a crash, and their jobs run again; a durable commit keeps all that came before it.
        await sql.execute("select pg_logical_emit_message(true, 'test', 'flush')")
        await asyncio.to_thread(own_server.stop, signal.SIGQUIT)
        await asyncio.sleep(1.2 * LEASE)  # the outage itself: longer than a lease
        await asyncio.to_thread(own_server.start)
        sql = await asyncpg.connect(fresh)
        came_back = await sql.fetchval("select statement_timestamp()")

        async def all_beat() -> bool:
            count: int = await sql.fetchval(
                "select count(*) from workerqueue.client where heartbeat_at > $1", came_back
            )
            return count == len(clients)

        await eventually(all_beat)
        gate.set()

        async def all_ended() -> bool:
            count: int = await sql.fetchval("select count(*) from workerqueue.job")
            return count == 0

        await eventually(all_ended)
        assert await sql.fetchval("select count(*) from workerqueue.client where ended_as = 'lost'") == 0
        assert sorted(done) == list(range(40))
        await sql.close()


async def test_a_server_that_is_full_is_tried_until_there_is_room(
    own_server: OwnServer, fresh: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With every connection taken and its own ended, a client keeps trying, says so now and then, and recovers."""
    caplog.set_level(logging.WARNING, "workerqueue")
    sql = await asyncpg.connect(fresh)
    taken: list[Connection] = []
    async with flowing(fresh) as flow:

        async def was_refused() -> bool:
            taken.extend(await connections_until_full(fresh))  # what the last turn has freed, or who is back
            await sql.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'workerqueue %'"
            )
            return any("53300" in record.getMessage() for record in caplog.records)

        await eventually(was_refused)
        for connection in taken:
            await connection.close()
        await flow.goes_on(AFTER_A_SERVER)
    await sql.close()
    assert max(most_lines_a_second(caplog).values()) <= 1


async def test_an_application_that_exhausts_the_pool_starves_no_loop(make_client: MakeClient, sql: Connection) -> None:
    """Every connection of the client's pool taken for long: jobs are worked, beats go on, listening comes back."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None: ...

    client = make_client(workers, poll_interval=60, heartbeat_interval=0.2, lease_ttl=0.6, id="starved")
    await client.start()
    await client.insert(Work())
    await until_none_live(sql)
    release = anyio.Event()

    async def hold(began: anyio.Event) -> None:
        async with client.transaction():
            began.set()
            await release.wait()

    async with anyio.create_task_group() as holders:
        for _ in range(10):
            began = anyio.Event()
            holders.start_soon(hold, began)
            await began.wait()
        await sql.execute(  # all of its sessions but those that the application holds
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'workerqueue starved' and state = 'idle'"
        )
        await make_client().insert(Work())
        await until_none_live(sql)
        since = await sql.fetchval("select statement_timestamp()")

        async def beats() -> bool:
            beaten: bool = await sql.fetchval("select heartbeat_at > $1 from client where id = 'starved'", since)
            return beaten

        await eventually(beats)
        await make_client().insert(Work())  # a minute before the next poll
        await until_none_live(sql)
        release.set()
    assert await sql.fetchval("select count(*) from client where ended_as = 'lost'") == 0
