"""Incidents of other queues around pages of jobs: what was inserted at one moment is skipped, or shown twice."""

from __future__ import annotations

import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import Work
from workerqueue import InsertOpts
from workerqueue.database import Connection


@pytest.mark.parametrize("limit", [1, 7, 50])
async def test_good_job_pages_with_ties_skip_nothing(make_client: MakeClient, sql: Connection, limit: int) -> None:
    """Jobs of one moment are each on one page, also while some of them end between two pages."""
    client = make_client()
    inserted = await client.insert_many([(Work(n=n), InsertOpts(pending=True)) for n in range(50)])
    assert await sql.fetchval("select count(distinct created_at) from job") == 1
    seen: list[int] = []
    cursor: str | None = None
    while True:
        page = await client.jobs.list(limit=limit, cursor=cursor)
        seen += [job.id for job in page.jobs]
        cursor = page.next_cursor
        if cursor is None:
            break
        await client.jobs.complete(min(seen))  # one that was shown goes to the history
        await client.jobs.complete(min(seen) - 1)  # and one that was not
        await client.insert(Work())  # newer ones do not come in between
    assert seen == sorted((each.job.id for each in inserted), reverse=True)
