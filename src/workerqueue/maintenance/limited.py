"""A transaction for a chore whose statements the server itself ends when they take too long."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from workerqueue.database import Connection, Database

ANSWER: Final = 5.0
"""Seconds that the server may take, besides, to say that it has ended one."""


@asynccontextmanager
async def limited(database: Database, seconds: float) -> AsyncGenerator[Connection]:
    """Take a connection and open a transaction on it in which no statement takes longer."""
    async with database.acquire() as connection, database.begin(connection, ANSWER):
        await database.chores.limit_time(connection, seconds, timeout=ANSWER)
        yield connection
