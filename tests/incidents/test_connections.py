"""Incidents of connections that leaked or stayed away, and of heartbeats that came too late."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.client.proxy import proxy
from tests.conftest import MakeClient
from tests.database.observer import sessions, terminate
from tests.engine.jobs import Work, within
from tests.waiting import eventually
from workerqueue import ConfigError, Job, Workers
from workerqueue.database import Connection, Database
from workerqueue.engine.notifier import pass_on_hints


async def test_river_1147_failures_after_connecting_leave_no_connection(
    database_url: str, schema: str, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails between connecting and use is closed, a hundred times over."""

    async def fail(*_: object) -> None:
        raise RuntimeError("after connecting")

    monkeypatch.setattr("workerqueue.database.connector.change_settings", fail)
    database = Database(database_url, schema, "after connecting")
    for _ in range(100):
        with pytest.raises(RuntimeError):
            async with database.dedicated():
                pass
    await database.close()

    async def none_left() -> bool:
        return await sessions(sql, "after connecting") == 0

    await eventually(none_left)


async def test_oban_1499_a_listener_killed_a_hundred_times_listens(
    database_url: str, schema: str, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time it looks at everything, and in the end it hears, on one connection."""
    monkeypatch.setattr("workerqueue.database.reconnect.FIRST_PAUSE", 0.001)
    monkeypatch.setattr("workerqueue.database.reconnect.LONGEST_PAUSE", 0.001)
    database = Database(database_url, schema, "the ear")
    hints: list[str | None] = []
    listening = asyncio.create_task(pass_on_hints(database, hints.append))
    for killed in range(100):

        async def listens(times: int = killed + 1) -> bool:
            return hints.count(None) >= times

        await eventually(listens)
        await terminate(sql, "the ear")

    async def hears() -> bool:
        await sql.execute("select pg_notify($1, 'default')", database.channel)
        return "default" in hints

    await eventually(hears)

    async def one_left() -> bool:
        return await sessions(sql, "the ear") == 1

    await eventually(one_left)
    listening.cancel()
    await asyncio.wait([listening])
    await database.close()


@pytest.mark.parametrize(
    "pace",
    [
        {"heartbeat_interval": 4, "lease_ttl": 10},
        {"heartbeat_interval": 10, "lease_ttl": 10},
        {"heartbeat_interval": 60, "lease_ttl": 10},
    ],
)
async def test_pgqueuer_430_a_beat_slower_than_the_limit_is_refused(
    make_client: MakeClient, pace: dict[str, Any]
) -> None:
    """A client that would be declared dead in good health does not start."""
    with pytest.raises(ConfigError, match="heartbeat_interval"):
        await make_client(**pace).start()


async def test_procrastinate_1596_a_stop_ends_while_the_network_swallows_everything(
    make_client: MakeClient, database_url: str
) -> None:
    """With a job at work and nothing that answers: the database is waited for, but not for ever."""
    started = asyncio.Event()
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        started.set()
        await asyncio.sleep(60)

    async with proxy(database_url) as network:
        client = make_client(workers, database=network.url)
        await make_client().insert(Work())
        await client.start()
        await within(started)
        network.silent = True
        async with asyncio.timeout(30):
            await client.stop(timeout=0.1)
            await client.close()
