"""The tables of the coming days: made ahead, by any number of clients, and in nobody's way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import partial

import asyncpg
import pytest

from tests.client.proxy import proxy
from tests.conftest import MakeClient
from tests.engine.jobs import Work
from tests.waiting import PATIENCE, eventually
from workerqueue import Job, Workers
from workerqueue.database import Claimed, Connection, Database, Finished
from workerqueue.maintenance import partitioner
from workerqueue.maintenance.partitioner import AHEAD, make_partitions
from workerqueue.outcome import COMPLETED

DAY = timedelta(days=1)


class Clock:
    """The clock of the partitioners, which the test moves."""

    def __init__(self, now: datetime) -> None:
        self.time = now

    def now(self, zone: tzinfo | None = None) -> datetime:
        """Stand for `datetime.now`."""
        return self.time if zone is None else self.time.astimezone(zone)

    @property
    def today(self) -> date:
        """The day it is, in UTC."""
        return self.time.astimezone(UTC).date()


@pytest.fixture
async def clock(sql: Connection, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that is right, and partitioners that look all the time."""
    made = Clock(await sql.fetchval("select now()"))
    monkeypatch.setattr(partitioner, "datetime", made)
    monkeypatch.setattr(partitioner, "PAUSE", 0.01)
    return made


@asynccontextmanager
async def running(*databases: Database) -> AsyncGenerator[None]:
    """Run a partitioner for each of some clients."""
    tasks = [asyncio.create_task(make_partitions(database)) for database in databases]
    yield
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended


async def tables(sql: Connection) -> list[str]:
    """Name the days that have a table."""
    rows = await sql.fetch(
        "select relname from pg_inherits join pg_class on oid = inhrelid"
        " where inhparent = 'job_finalized'::regclass order by relname"
    )
    return [row["relname"].removeprefix("job_finalized_") for row in rows if row["relname"] != "job_finalized_default"]


def names(first: date, count: int = AHEAD + 1) -> list[str]:
    """Name so many days from one on."""
    return [f"{first + n * DAY:%Y%m%d}" for n in range(count)]


async def until_there(sql: Connection, days: list[str]) -> None:
    """Wait until exactly these days have a table."""

    async def look() -> bool:
        return await tables(sql) == days

    await eventually(look)


async def finish(sql: Connection, door: Database, job_id: int) -> str:
    """Have a job completed now, and say which day's table it is in."""
    await sql.execute(
        "insert into job (id, kind, state, lease) overriding system value values ($1, 'k', 'running', 1)", job_id
    )
    now = datetime.now(UTC)
    job = Claimed(job_id, "k", "{}", "default", "default", 1, 1, 3, 60.0, now, now, now, None, "c1", 1)
    assert await door.jobs.record_outcomes(sql, [Finished(job, COMPLETED)]) == {job_id}
    name: str = await sql.fetchval("select tableoid::regclass::text from job_finalized where id = $1", job_id)
    return name.removeprefix("job_finalized_")


async def test_today_and_the_coming_days_have_a_table(sql: Connection, door: Database, clock: Clock) -> None:
    """Far enough ahead for a weekend without any client; what is finished today is in today's."""
    async with running(door):
        await until_there(sql, names(clock.today))
    assert await finish(sql, door, 1) == f"{clock.today:%Y%m%d}"


async def test_a_days_table_is_made_while_the_client_runs(sql: Connection, door: Database, clock: Clock) -> None:
    """With each midnight that passes, one more day is there; the days behind stay."""
    first = clock.today
    async with running(door):
        await until_there(sql, names(first))
        for passed in range(1, 4):
            clock.time += DAY
            await until_there(sql, names(first, AHEAD + 1 + passed))
    assert await tables(sql) == names(first, AHEAD + 4)


@pytest.mark.parametrize("hours", [-12, 14])
async def test_days_begin_at_midnight_utc_wherever_the_client_runs(
    sql: Connection, door: Database, clock: Clock, hours: int
) -> None:
    """A client a day ahead of UTC, or a day behind, makes the same days as any other."""
    today = clock.today
    midnight = datetime.combine(today + DAY, datetime.min.time(), UTC)
    for before, days in ((timedelta(microseconds=1), names(today)), (timedelta(), names(today, AHEAD + 2))):
        clock.time = (midnight - before).astimezone(timezone(timedelta(hours=hours)))
        async with running(door):
            await until_there(sql, days)
        assert await tables(sql) == days


async def test_many_clients_may_make_the_same_days_at_once(
    sql: Connection, database_url: str, schema: str, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Each day is made once, and losing the race is not worth a line in the log."""
    doors = [Database(database_url, schema) for _ in range(8)]
    with caplog.at_level(logging.INFO, "workerqueue"):
        async with running(*doors):
            await until_there(sql, names(clock.today))
            clock.time += DAY
            await until_there(sql, names(clock.today - DAY, AHEAD + 2))
    for door in doors:
        await door.close()
    assert caplog.records == []


async def test_a_day_whose_jobs_are_in_the_default_table_stays_there(
    sql: Connection, door: Database, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Clients that came too late leave that day as it is, make the others, and every job is found as before."""
    assert await finish(sql, door, 1) == "default"
    with caplog.at_level(logging.INFO, "workerqueue"):
        async with running(door):
            await until_there(sql, names(clock.today)[1:])
    assert caplog.records == []
    assert await finish(sql, door, 2) == "default"
    assert [row["id"] for row in await sql.fetch("select id from job_all order by id")] == [1, 2]


async def test_nothing_is_locked_where_the_days_are_there(
    sql: Connection, door: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks go through while another writes to the history: making a table would have to wait for it."""
    async with running(door):
        await until_there(sql, names(clock.today))
    looks = 0
    find_partition = door.jobs.find_partition

    async def counting(connection: Connection, day: date) -> bool:
        nonlocal looks
        looks += 1
        return await find_partition(connection, day)

    async def looked_twice() -> bool:
        return looks > 2 * (AHEAD + 1)

    async def refuse(connection: Connection, day: date) -> None:
        raise AssertionError(f"{day} is there")

    monkeypatch.setattr(door.jobs, "find_partition", counting)
    monkeypatch.setattr(door.jobs, "make_partition", refuse)
    async with sql.transaction():
        await sql.execute("lock table job_finalized in row exclusive mode")
        async with running(door):
            await eventually(looked_twice)


async def test_a_long_read_of_the_history_holds_up_no_completion(
    sql: Connection, make_client: MakeClient, database_url: str, schema: str, door: Database, clock: Clock
) -> None:
    """A day's table can't be made beside it: jobs are finished all the same, and the day is made afterwards."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None: ...

    reader = await asyncpg.connect(database_url, server_settings={"search_path": schema})
    reading = reader.transaction()
    await reading.start()
    await reader.fetch("select count(*) from job_all")

    async with make_client(workers) as client:
        await client.start()
        for _ in range(3):  # while one look after the other finds no day's table
            inserted = await client.insert(Work())
            await client.jobs.wait(inserted.job.id, PATIENCE)
        assert await tables(sql) == []
        await reading.rollback()
        await reader.close()
        await until_there(sql, names(clock.today)[1:])


async def test_a_database_that_is_away_is_tried_again(
    sql: Connection,
    database_url: str,
    schema: str,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It says so, and the days are made when it is back."""

    async def told() -> bool:
        return any("partitioner" in record.getMessage() for record in caplog.records)

    async with proxy(database_url) as network:
        door = Database(network.url, schema)
        monkeypatch.setattr(door, "acquire", partial(door.acquire, 0.05))
        async with running(door):
            await until_there(sql, names(clock.today))
            await network.go_away()
            await eventually(told)
            clock.time += DAY
            await network.come_back()
            await until_there(sql, names(clock.today - DAY, AHEAD + 2))
        await door.close()
    assert await tables(sql) == names(clock.today - DAY, AHEAD + 2)
