"""A network that swallows, resets or delays: nothing hangs past its deadline, and a stop ends in time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from operator import attrgetter

import pytest

from tests.client.proxy import Proxy, proxy
from tests.engine.jobs import Work, until_none_live
from tests.reconnect.flow import flowing
from tests.waiting import PATIENCE, eventually, succeeds
from workerqueue import Client, Job, Workers
from workerqueue.database import Connection, Database, jobs, keepalive, listening
from workerqueue.engine.engine import SILENCE_GRACE
from workerqueue.errors import DatabaseUnavailableError

DEADLINE = 1.0


transport_of = attrgetter("_transport")  # the driver keeps it to itself


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give statements and checks a tenth of the time they have, so that a test need not wait as long."""
    monkeypatch.setattr(jobs, "CALL_TIMEOUT", DEADLINE)
    monkeypatch.setattr(listening, "CHECK_INTERVAL", DEADLINE / 2)
    monkeypatch.setattr(listening, "CHECK_TIMEOUT", DEADLINE / 2)


@pytest.fixture
async def network(database_url: str) -> AsyncGenerator[Proxy]:
    """A network before the server."""
    async with proxy(database_url) as made:
        yield made


@pytest.mark.usefixtures("hurried")
async def test_jobs_flow_again_after_every_connection_fell_silent(network: Proxy, schema: str) -> None:
    """Nothing that the loops wait for is waited for without end: each connects anew."""
    async with flowing(network.url, schema) as flow:
        network.hush()
        await flow.goes_on(PATIENCE)


@pytest.mark.usefixtures("hurried")
async def test_jobs_flow_again_after_every_connection_was_reset(network: Proxy, schema: str) -> None:
    """A reset is noticed at once."""
    async with flowing(network.url, schema) as flow:
        for _ in range(3):
            network.reset()
            await flow.goes_on(PATIENCE)


async def test_jobs_flow_through_a_slow_network(network: Proxy, schema: str) -> None:
    """A fifth of a second each way costs time and nothing else."""
    async with flowing(network.url, schema) as flow:
        network.delay = 0.1
        await flow.goes_on(PATIENCE)
    assert all(flow.runs[n] == 1 for n in flow.acknowledged)


async def test_an_insert_on_a_silent_connection_ends_within_its_timeout(network: Proxy, schema: str) -> None:
    """It raises, and the next one has a connection that works."""
    async with Client(network.url, schema=schema, strict=False, insert_timeout=3) as client:
        await eventually(lambda: succeeds(client.insert(Work())))
        network.hush()
        async with asyncio.timeout(PATIENCE):
            try:
                await client.insert(Work())
            except DatabaseUnavailableError:
                await client.insert(Work())


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "with a result to write"])
async def test_a_stop_ends_in_time_while_the_network_is_silent(
    network: Proxy, schema: str, sql: Connection, busy: bool
) -> None:
    """Soon after its grace, whatever each loop waits for; leases see to the rest."""
    started, release = asyncio.Event(), asyncio.Event()
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        started.set()
        await release.wait()

    client = Client(network.url, workers=workers, schema=schema, poll_interval=0.1, stop_timeout=1)
    await client.start()
    await client.insert(Work())
    await asyncio.wait_for(started.wait(), PATIENCE)
    if not busy:
        release.set()
        await until_none_live(sql)
    network.silent = True
    release.set()
    async with asyncio.timeout(1 + SILENCE_GRACE + 5):  # each loop that waits for itself takes longer
        await client.stop()
    network.silent = False
    await client.close()


async def test_the_kernel_is_asked_about_silence_on_every_connection(database_url: str, schema: str) -> None:
    """Sockets of the pool, of the loops and of single inserts are probed; a caller's are the caller's."""
    database = Database(database_url, schema)
    try:
        async with database.acquire() as pooled, database.dedicated() as own, database.inserting(5) as kept:
            for connection in (pooled, own, kept):
                opened = transport_of(connection).get_extra_info("socket")
                assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                if (option := getattr(socket, "TCP_USER_TIMEOUT", None)) is not None:
                    assert opened.getsockopt(socket.IPPROTO_TCP, option) == keepalive.SILENCE * 1000
    finally:
        await database.close()


def test_a_dead_listener_is_noticed_within_ten_seconds() -> None:
    """The longest time between two checks, and the time a check may take."""
    assert listening.CHECK_INTERVAL + listening.CHECK_TIMEOUT < 10
