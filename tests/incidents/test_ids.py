"""Incidents of numbers that ran out: 32 bits of a queue's ids, 53 bits of whoever reads them as floats."""

from __future__ import annotations

import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import Work
from workerqueue import InsertOpts, Job, JobState, Workers
from workerqueue.database import Connection


@pytest.mark.parametrize("first", [2**31 - 5, 2**53 - 5, 2**63 - 100])
async def test_graphile_619_ids_beyond_32_and_53_bits(make_client: MakeClient, sql: Connection, first: int) -> None:
    """Jobs across the border are inserted, claimed, completed, discarded with a follow-up, promoted and read."""
    await sql.execute(f"alter table job alter column id restart with {first}")
    seen: list[int] = []
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        seen.append(job.id)
        if job.args.n:
            raise ValueError

    client = make_client(workers)
    ids = [(await client.insert(Work())).job.id for _ in range(4)]
    ids += [result.job.id for result in await client.insert_many([Work()] * 4)]
    ids.append((await client.insert(Work(n=1), InsertOpts(max_attempts=1, on_discard=Work()))).job.id)
    ids.append((await client.insert(Work(), InsertOpts(scheduled_at=0.05))).job.id)
    assert ids == list(range(first, first + 10))
    await client.run(drain=True)
    assert sorted(seen) == list(range(first, first + 11))
    found = await client.jobs.get(ids[-1])
    assert found is not None
    assert (found.id, found.state) == (ids[-1], JobState.COMPLETED)
