"""Listening: hints arrive, and a listener knows whether they do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from tests.client.proxy import proxy
from tests.waiting import PATIENCE, eventually
from workerqueue.database import Connection, Database, listening
from workerqueue.errors import DatabaseUnavailableError


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check many times a second what is checked some times a minute."""
    monkeypatch.setattr(listening, "CHECK_INTERVAL", 0.05)
    monkeypatch.setattr(listening, "CHECK_TIMEOUT", 0.5)


@asynccontextmanager
async def heard(database: Database, hints: list[str | None]) -> AsyncGenerator[asyncio.Task[None]]:
    """Listen, from when it is proven that something is heard."""
    task = asyncio.create_task(database.listen(hints.append))

    async def hears() -> bool:
        return database.hears

    await eventually(hears)
    yield task
    task.cancel()
    await asyncio.wait([task])
    await database.close()


async def test_hints_arrive_and_checks_are_not_among_them(sql: Connection, database_url: str, schema: str) -> None:
    """The first says that anything may have been missed; then come pools, whatever checks go on beside them."""
    database = Database(database_url, schema)
    hints: list[str | None] = []
    async with heard(database, hints) as task:
        for pool in ("a", "b"):
            await sql.execute("select pg_notify($1, $2)", database.channel, pool)

        async def all_are_here() -> bool:
            return len(hints) >= 3

        await eventually(all_are_here)
        assert hints == [None, "a", "b"]
        assert not task.done()
    assert not database.hears


async def test_a_connection_that_died_without_an_error_is_noticed(database_url: str, schema: str) -> None:
    """The network drops what is sent and closes nothing: listening ends with an error instead of waiting for ever."""
    async with proxy(database_url) as network:
        database = Database(network.url, schema)
        async with heard(database, []) as task:
            network.hush()
            with pytest.raises(DatabaseUnavailableError, match="lost"):
                await asyncio.wait_for(asyncio.shield(task), PATIENCE)
            assert not database.hears


async def test_a_check_needs_no_connection_of_the_application(sql: Connection, database_url: str, schema: str) -> None:
    """An application that has taken every connection of its pool does not make its listener deaf, nor blind to that."""
    name = {"application_name": f"listener of {schema}"}
    async with asyncpg.create_pool(database_url, min_size=0, max_size=2, server_settings=name) as pool:
        database = Database(pool, schema)
        async with heard(database, []) as task, pool.acquire():
            checks: set[object] = set()

            async def were_made() -> bool:
                checks.update(
                    await sql.fetch(
                        "select query_start from pg_stat_activity where application_name = $1 and query = 'select'",
                        name["application_name"],
                    )
                )
                return len(checks) >= 3

            await eventually(were_made)
            assert database.hears
            assert not task.done()
