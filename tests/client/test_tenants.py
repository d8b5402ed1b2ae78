"""Where the current context has a tenant, the jobs, keys and values of others are not there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.client.kinds import Note
from tests.conftest import MakeClient
from workerqueue import (
    Client,
    ConfigError,
    ContextError,
    ControlResult,
    InsertOpts,
    JobNotFoundError,
    UniqueOpts,
    context,
)
from workerqueue.database import Connection
from workerqueue.options import Payload


async def _of_two_tenants(client: Client) -> tuple[int, int, int]:
    ids: list[int] = []
    for tenant in ("t1", "t2", None):
        with context(tenant=tenant):
            ids.append((await client.insert(Note(), InsertOpts(pending=True))).job.id)
    return ids[0], ids[1], ids[2]


@pytest.mark.parametrize("call", ["cancel", "retry", "delete", "release", "complete", "fail", "update"])
async def test_a_job_of_another_tenant_is_not_yours(make_client: MakeClient, sql: Connection, call: str) -> None:
    """Every call by hand answers so and changes nothing; one without a tenant is nobody's of theirs."""
    client = make_client()
    mine, theirs, nobodys = await _of_two_tenants(client)
    calls: dict[str, Callable[[int], Awaitable[ControlResult[Payload]]]] = {
        "cancel": client.jobs.cancel,
        "retry": client.jobs.retry,
        "delete": client.jobs.delete,
        "release": client.jobs.release,
        "complete": client.jobs.complete,
        "fail": lambda job: client.jobs.fail(job, "no"),
        "update": lambda job: client.jobs.update(job, priority=7),
    }
    before = await sql.fetch("select job::text from job where id <> $1 order by id", mine)
    with context(tenant="t1"):
        for other in (theirs, nobodys):
            refused = await calls[call](other)
            assert (refused.ok, refused.state, refused.reason, refused.job) == (False, None, "not_yours", None)
        assert (await calls[call](mine)).ok
        assert (await calls[call](10**9)).reason == "not_found"
    assert await sql.fetch("select job::text from job where id <> $1 order by id", mine) == before
    assert (await calls[call](theirs)).ok  # without a tenant, all are there


async def test_only_ones_own_jobs_are_seen(make_client: MakeClient) -> None:
    """By get, list, wait and the bulk calls."""
    client = make_client()
    mine, theirs, nobodys = await _of_two_tenants(client)
    with context(tenant="t1"):
        assert await client.jobs.get(theirs) is None
        assert (await client.jobs.get(mine)) is not None
        assert [job.id for job in (await client.jobs.list()).jobs] == [mine]
        assert [job.id for job in (await client.jobs.list(tenant="t1")).jobs] == [mine]
        with pytest.raises(ConfigError, match="tenant: expected 't1'"):
            await client.jobs.list(tenant="t2")
        with pytest.raises(JobNotFoundError):
            await client.jobs.wait(theirs, 1)
        with pytest.raises(ContextError, match="all tenants"):
            await client.jobs.clean(older_than=0)
        with pytest.raises(ConfigError, match="nothing says which jobs are meant"):
            await client.jobs.delete_many()
        assert await client.jobs.delete_many(kinds=["note"]) == 1
    assert {job.id for job in (await client.jobs.list()).jobs} == {theirs, nobodys}
    assert [job.id for job in (await client.jobs.list(tenant="t2")).jobs] == [theirs]


@pytest.mark.req("A10")
async def test_keys_and_values_are_each_tenants_own(make_client: MakeClient) -> None:
    """The same key in two tenants is two jobs, two values and two locks."""
    client = make_client()
    jobs: dict[str, int] = {}
    for tenant in ("t1", "t2"):
        with context(tenant=tenant):
            first = await client.insert(Note(), InsertOpts(job_key="k", unique=UniqueOpts()))
            second = await client.insert(Note(), InsertOpts(job_key="k", unique=UniqueOpts()))
            assert (first.duplicate, second.duplicate, second.job.id) == (False, True, first.job.id)
            jobs[tenant] = first.job.id
            await client.kv.set("k", tenant)
    assert jobs["t1"] != jobs["t2"]
    for tenant, job_id in jobs.items():
        with context(tenant=tenant):
            found = await client.jobs.get("k")
            assert found is not None
            assert (found.id, await client.kv.get("k")) == (job_id, tenant)
    assert (await client.jobs.get("k"), await client.kv.get("k")) == (None, None)
    with context(tenant="t1"):
        async with client.lock("l", 30, wait=0):
            with context(tenant="t2", fresh=True):
                async with client.lock("l", 30, wait=0):
                    pass
