"""Connections on which statements meet, none of which waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from tests.waiting import PATIENCE
from workerqueue.database import Connection


@asynccontextmanager
async def connections(database_url: str, schema: str, count: int) -> AsyncGenerator[list[Connection]]:
    """Open so many to a schema; a deadlock among them is found soon."""
    settings = {"search_path": schema, "lock_timeout": f"{PATIENCE}s", "deadlock_timeout": "100ms"}
    opened: list[Connection] = [await asyncpg.connect(database_url, server_settings=settings) for _ in range(count)]
    try:
        yield opened
    finally:
        for connection in opened:
            await connection.close()


async def until_done_or_blocked(running: asyncio.Future[Any], connection: Connection, watch: Connection) -> None:
    """Wait until what runs on a connection has finished, or waits for somebody else's lock."""
    pid = connection.get_server_pid()
    async with asyncio.timeout(PATIENCE):
        while not running.done():
            if await watch.fetchval("select pg_blocking_pids($1)", pid):
                return
            await asyncio.wait([running], timeout=0.001)
