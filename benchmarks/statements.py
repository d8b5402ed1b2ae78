"""What the server says of the statements that ran: pg_stat_statements where it is loaded, else its transactions."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

import asyncpg

from benchmarks.connection import Connection, connect, statement

TRACKING = {"pg_stat_statements.track": "top", "compute_query_id": "on"}
"""Set for the role, so that sessions opened from then on are tracked, whoever opens them."""


class Claims(NamedTuple):
    """What claims cost."""

    milliseconds: float
    rows: int


@dataclass(frozen=True)
class Statements:
    """Counts statements; its own session is not tracked."""

    connection: Connection
    tracked: bool
    """Whether pg_stat_statements counts, or only transactions can be counted."""

    async def count(self) -> int:
        """Give how many statements have run in this database."""
        name = "count_tracked_statements" if self.tracked else "count_transactions"
        return int(await self.connection.fetchval(statement(name)))

    async def reset(self) -> None:
        """Forget what was tracked."""
        if self.tracked:
            await self.connection.execute("select pg_stat_statements_reset()")

    async def claims(self) -> Claims:
        """Give what the claims cost since the reset; only where it is tracked."""
        row = await self.connection.fetchrow(statement("read_claims"))
        if row is None:
            raise LookupError("pg_stat_statements knows no statement with SKIP LOCKED: how are jobs claimed?")
        return Claims(*row)


@asynccontextmanager
async def watched(url: str) -> AsyncGenerator[Statements]:
    """Track the statements of every session that is opened inside."""
    connection = await connect(url)
    try:
        tracked = await _track(connection)
        try:
            yield Statements(connection, tracked)
        finally:
            if tracked:
                for name in TRACKING:
                    await connection.execute(f"alter role current_user reset {name}")
    finally:
        await connection.close()


async def _track(connection: Connection) -> bool:
    """Switch tracking on, if this server can and this role may."""
    if "pg_stat_statements" not in str(await connection.fetchval("show shared_preload_libraries")):
        return False
    try:
        await connection.execute("create extension if not exists pg_stat_statements")
        for name, value in TRACKING.items():
            await connection.execute(f"alter role current_user set {name} = '{value}'")
    except asyncpg.PostgresError:
        return False
    return True
