"""Rates: never more starts than so many in any window, in all processes together; what waits costs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import until_none_live
from workerqueue import Config, Job, JobArgs, QueueConfig, TaskConfig, Workers
from workerqueue.database import Connection, QueueTable
from workerqueue.rate import Rate, read_rate


class Call(JobArgs):
    tenant: str
    n: int = 0

    @classmethod
    def kind(cls) -> str:
        return "call"


def working() -> Workers:
    """Make a worker that does nothing."""
    workers = Workers()

    @workers.worker
    async def call(job: Job[Call]) -> None:
        del job

    return workers


def most_in(starts: Sequence[datetime], window: float) -> int:
    """Count the most starts in any window of so many seconds."""
    starts = sorted(starts)
    length = timedelta(seconds=window)
    return max(sum(first <= each < first + length for each in starts) for first in starts)


async def starts(sql: Connection, tenant: str | None = None) -> list[datetime]:
    """Give when jobs were started, by the database's clock."""
    rows = await sql.fetch("select attempted_at, args ->> 'tenant' as tenant from job_finalized")
    return [row["attempted_at"] for row in rows if tenant in (None, row["tenant"])]


OF_ALL: Mapping[str, Config] = {
    "of a queue": Config(queues={"default": QueueConfig(rate="10/s")}),
    "of a kind": Config(tasks={"call": TaskConfig(rate="10/s")}),
}


@pytest.mark.parametrize("clients", [1, 3])
@pytest.mark.parametrize("table", OF_ALL.values(), ids=OF_ALL.keys())
async def test_a_rate_holds_in_any_window(
    make_client: MakeClient, sql: Connection, table: Config, clients: int
) -> None:
    """In all processes together; and it is used: 31 starts take a little over three seconds."""
    made = [make_client(config=table, workers=working()) for _ in range(clients)]
    await made[0].insert_many([Call(tenant="a", n=n) for n in range(31)])
    for client in made:
        await client.start()
    await until_none_live(sql)
    found = await starts(sql)
    assert most_in(found, 1.0) == 10
    assert timedelta(seconds=3) <= max(found) - min(found) < timedelta(seconds=8)


async def test_a_burst_spreads_the_starts_of_a_rate(make_client: MakeClient, sql: Connection) -> None:
    """Two at once at most, and the next one only when the rate makes up for it."""
    client = make_client(config=Config(queues={"default": QueueConfig(rate="20/s", burst=2)}), workers=working())
    await client.insert_many([Call(tenant="a", n=n) for n in range(30)])
    await client.run(drain=True)
    found = await starts(sql)
    assert most_in(found, 0.05) <= 3  # two at once, and one that the rate allows in that time
    assert most_in(found, 1.0) <= 20


async def test_a_rate_by_part_is_each_parts_own(make_client: MakeClient, sql: Connection) -> None:
    """One tenant's flood takes nothing from the others."""
    table = Config(tasks={"call": TaskConfig(partition_by="{tenant}", rate="5/s")})
    client = make_client(config=table, workers=working())
    await client.insert_many([Call(tenant="flood", n=n) for n in range(11)])
    await client.insert_many([Call(tenant=f"t{n % 4}", n=n) for n in range(20)])
    await client.run(drain=True)
    for tenant in ("flood", "t0", "t1", "t2", "t3"):
        assert most_in(await starts(sql, tenant), 1.0) == 5
    others = [at for n in range(4) for at in await starts(sql, f"t{n}")]
    assert max(others) - min(others) < timedelta(seconds=1)
    assert len(await starts(sql)) == 31


async def test_what_waits_for_its_rate_is_not_looked_at_again_and_again(
    make_client: MakeClient, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand jobs at a rate of one an hour: after the first, looks come at the poll interval and no faster."""
    looks = 0
    find_room = QueueTable.find_room

    async def counting(*args: object) -> object:
        nonlocal looks
        looks += 1
        return await find_room(*args)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(QueueTable, "find_room", counting)
    client = make_client(
        config=Config(queues={"default": QueueConfig(rate="1/h")}), workers=working(), poll_interval=0.2
    )
    await client.insert_many([Call(tenant="a", n=n) for n in range(1_000)])
    await client.run(drain=True, max_time=2)
    assert await sql.fetchval("select count(*) from job_finalized") == 1
    assert 2 <= looks <= 25


async def test_a_rate_outlives_its_clients(make_client: MakeClient, sql: Connection) -> None:
    """What one process has started counts for the next one."""
    table = Config(queues={"default": QueueConfig(rate="3/h")})
    first = make_client(config=table, workers=working())
    await first.insert_many([Call(tenant="a", n=n) for n in range(10)])
    await first.run(drain=True, max_time=1)
    await make_client(config=table, workers=working()).run(drain=True, max_time=1)
    assert await sql.fetchval("select count(*) from job_finalized") == 3


RATES: Mapping[str, Rate] = {
    "100/m": Rate(100, 60),
    "5/10s": Rate(5, 10),
    " 1 / d ": Rate(1, 86_400),
    "7/h": Rate(7, 3_600),
}


@pytest.mark.parametrize(("text", "rate"), RATES.items())
def test_a_rate_is_read_and_written(text: str, rate: Rate) -> None:
    """So many per second, minute, hour or day, or per several of them."""
    assert read_rate(text) == rate
    assert read_rate(str(rate)) == rate


@pytest.mark.parametrize("text", ["", "100", "100/", "/m", "-1/m", "0/m", "1.5/m", "100/w", "1/0s", "1/m!", None, 5])
def test_what_is_no_rate_is_refused(text: object) -> None:
    """With what one looks like."""
    with pytest.raises(ValueError, match=r"expected a rate such as '100/m'"):
        read_rate(text)
