"""Finalized jobs as a test wants them, and what is left of them."""

from __future__ import annotations

from datetime import timedelta

from workerqueue.database import Connection

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


async def finalized(
    sql: Connection,
    count: int = 1,
    *,
    ago: timedelta,
    state: str = "completed",
    kind: str = "k",
    pool: str = "default",
    queue: str | None = None,
    apart: timedelta = timedelta(),
) -> list[int]:
    """Add jobs that were finalized so long ago, each one `apart` before the one before it; give their ids."""
    rows = await sql.fetch(
        """
        insert into job_finalized (
            id, kind, queue, pool, state, priority, attempt, max_attempts, timeout_seconds, created_at, scheduled_at,
            args, finalized_at
        )
        select (select coalesce(max(id), 0) from job_finalized) + n, $3, $5, $4, $2::text::job_state, 1, 1, 3, 60,
               now(), now(), '{}', now() - $6::interval - (n - 1) * $7::interval
        from generate_series(1, $1::integer) as n
        returning id
        """,
        count,
        state,
        kind,
        pool,
        queue,
        ago,
        apart,
    )
    return [row["id"] for row in rows]


async def left(sql: Connection) -> list[int]:
    """Give the ids of the finalized jobs that are there."""
    return [row["id"] for row in await sql.fetch("select id from job_finalized order by id")]


async def make_days(sql: Connection, count: int) -> list[str]:
    """Make the tables of yesterday and the days before, and give their names, the latest first."""
    names: list[str] = []
    for n in range(1, count + 1):
        day = await sql.fetchval("select (now() at time zone 'UTC')::date - $1::integer", n)
        names.append(f"job_finalized_{day:%Y%m%d}")
        await sql.execute(
            f"create table {names[-1]} partition of job_finalized"
            f" for values from ('{day} 00:00+00') to ('{day + DAY} 00:00+00')"
        )
    return names


async def days(sql: Connection) -> list[str]:
    """Name the days' tables, the latest first."""
    rows = await sql.fetch(
        "select relname from pg_inherits join pg_class on oid = inhrelid"
        " where inhparent = 'job_finalized'::regclass and relname <> 'job_finalized_default' order by relname desc"
    )
    return [row["relname"] for row in rows]
