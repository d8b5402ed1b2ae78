"""Fair shares and ageing: whose jobs come next in a pool, whatever floods it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import MakeClient
from workerqueue import Config, InsertOpts, Job, JobArgs, JobState, QueueConfig, Workers
from workerqueue.database import Connection
from workerqueue.errors import ConfigError


class Call(JobArgs):
    tenant: str
    n: int = 0

    @classmethod
    def kind(cls) -> str:
        return "call"


class Nobodys(JobArgs):
    @classmethod
    def kind(cls) -> str:
        return "nobodys"


class Noted:
    """Works calls one after the other, and notes whose they were."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.workers = Workers()
        self.workers.worker(self._call)
        self.workers.worker(self._nobodys)

    async def _call(self, job: Job[Call]) -> None:
        self.order.append(job.args.tenant)

    async def _nobodys(self, job: Job[Nobodys]) -> None:
        del job
        self.order.append("-")


FAIR = Config(queues={"default": QueueConfig(max_workers=1, fair_by="{tenant}")})


async def test_tenants_take_turns(make_client: MakeClient) -> None:
    """One job of each after the other, for as long as each has any; then the flood has all to itself."""
    noted = Noted()
    client = make_client(config=FAIR, workers=noted.workers)
    await client.insert_many([Call(tenant="flood", n=n) for n in range(60)])
    await client.insert_many([Call(tenant=tenant, n=n) for n in range(10) for tenant in ("b", "c")])
    await client.run(drain=True)
    assert Counter(noted.order[:30]) == {"flood": 10, "b": 10, "c": 10}
    assert set(noted.order[30:]) == {"flood"}


async def test_with_one_worker_nobody_is_served_twice_in_a_row(make_client: MakeClient) -> None:
    """Who was served last comes last, from one claim to the next."""
    noted = Noted()
    client = make_client(config=FAIR, workers=noted.workers, concurrency=1)
    await client.insert_many([Call(tenant="a", n=n) for n in range(20)])
    await client.insert_many([Call(tenant="b", n=n) for n in range(20)])
    await client.run(drain=True)
    assert sum(one == other for one, other in zip(noted.order, noted.order[1:], strict=False)) <= 1


async def test_priority_decides_within_a_share(make_client: MakeClient) -> None:
    """Not between shares: else whoever calls all of its jobs urgent would starve the others."""
    noted = Noted()
    client = make_client(config=FAIR, workers=noted.workers)
    await client.insert_many([(Call(tenant="loud", n=n), InsertOpts(priority=-100)) for n in range(30)])
    await client.insert_many([Call(tenant="quiet", n=n) for n in range(3)])
    await client.run(drain=True)
    assert noted.order.index("quiet") <= 2
    assert Counter(noted.order[:6])["quiet"] == 3


async def test_a_flood_delays_another_tenants_job_by_no_more_than_what_runs(make_client: MakeClient) -> None:
    """10,000 jobs of one tenant wait; another's comes and is done while nearly all of them still do."""
    noted = Noted()
    client = make_client(config=FAIR, workers=noted.workers)
    await client.insert_many([Call(tenant="flood", n=n) for n in range(10_000)])
    await client.start()
    other = await client.insert(Call(tenant="other"))
    assert (await client.jobs.wait(other.job.id, 30)).state is JobState.COMPLETED
    assert noted.order.index("other") < 9_000


async def test_args_without_the_field_are_nobodys_share(make_client: MakeClient, sql: Connection) -> None:
    """Kinds that have no tenant share one turn among them."""
    noted = Noted()
    client = make_client(config=FAIR, workers=noted.workers)
    await client.insert_many([Call(tenant="a", n=n) for n in range(20)])
    await client.insert_many([Nobodys() for _ in range(5)])
    await client.run(drain=True)
    assert Counter(noted.order[:10]) == {"a": 5, "-": 5}


async def test_with_ageing_a_job_of_low_priority_has_its_turn(make_client: MakeClient, sql: Connection) -> None:
    """A step of priority is made up for by so much waiting, no less."""
    noted = Noted()
    table = Config(queues={"default": QueueConfig(max_workers=1, ageing=10)})
    client = make_client(config=table, workers=noted.workers)
    now = datetime.now(UTC)
    waited = {"long": 60, "short": 30}
    for tenant, seconds in waited.items():
        opts = InsertOpts(priority=5, scheduled_at=now - timedelta(seconds=seconds))
        await client.insert(Call(tenant=tenant), opts)
        await sql.execute(
            "update job set scheduled_at = $1 where args ->> 'tenant' = $2", now - timedelta(seconds=seconds), tenant
        )
    await client.insert(Call(tenant="urgent"), InsertOpts(priority=1))
    await client.run(drain=True)
    # Four steps of priority are worth 40 seconds.
    assert noted.order == ["long", "urgent", "short"]


@pytest.mark.parametrize("setting", [{"fair_by": "tenant"}, {"fair_by": ""}, {"ageing": 0}, {"ageing": -1}])
def test_a_share_or_an_age_that_can_not_be_right_is_refused(setting: dict[str, object]) -> None:
    """When it is read."""
    with pytest.raises(ConfigError, match=r"fair_by|ageing"):
        QueueConfig.model_validate(setting)
