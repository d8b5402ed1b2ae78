"""The history cleaned: by age, by number, by queue and by kind, and never of what is younger."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from datetime import timedelta

import asyncpg
import pytest

from tests.maintenance.history import DAY, HOUR, days, finalized, left, make_days
from tests.maintenance.leading import Always
from tests.waiting import eventually
from workerqueue import Config, QueueConfig, TaskConfig
from workerqueue.database import Connection, Database
from workerqueue.maintenance import cleaner as cleaner_module
from workerqueue.maintenance.batch import Batch
from workerqueue.maintenance.cleaner import Cleaner
from workerqueue.maintenance.retention import Retention

SECOND = timedelta(seconds=1)


def cleaner(door: Database, config: Config | None = None) -> Cleaner:
    """Make one that leads."""
    return Cleaner(door, Retention.of(config or Config()), Always(door))


@pytest.fixture
async def other(database_url: str, schema: str) -> AsyncGenerator[Connection]:
    """A second connection to the test's schema."""
    connection = await asyncpg.connect(database_url, server_settings={"search_path": schema})
    yield connection
    await connection.close()


# By age


@pytest.mark.parametrize(("state", "kept"), [("completed", DAY), ("cancelled", DAY), ("discarded", 7 * DAY)])
async def test_jobs_are_kept_as_long_as_nothing_else_is_said(
    door: Database, sql: Connection, state: str, kept: timedelta
) -> None:
    """Completed and cancelled ones for a day, discarded ones for seven; to the minute."""
    young = await finalized(sql, 3, ago=timedelta(), state=state, apart=kept / 4)
    at_the_edge = await finalized(sql, ago=kept - 60 * SECOND, state=state)
    await finalized(sql, 3, ago=kept + SECOND, state=state, apart=DAY)
    await cleaner(door).clean()
    assert await left(sql) == young + at_the_edge


async def test_a_kind_is_kept_as_it_says_before_its_queue_and_a_queue_before_the_rest(
    door: Database, sql: Connection
) -> None:
    """Longer or shorter; what a kind leaves out its queue says, and what that leaves out holds for all."""
    config = Config(
        queues={"short": QueueConfig(keep_completed=3600, keep_discarded=3600)},
        tasks={"long": TaskConfig(keep_completed=3 * DAY), "brief": TaskConfig(keep_completed=timedelta(minutes=1))},
    )
    kept = [
        *await finalized(sql, ago=2 * DAY, pool="short", kind="long"),
        *await finalized(sql, ago=2 * HOUR, pool="default", kind="k"),
        *await finalized(sql, ago=2 * HOUR, pool="short", kind="k", state="cancelled"),
        *await finalized(sql, ago=2 * DAY, pool="gone", state="discarded"),
        *await finalized(sql, ago=HOUR / 2, pool="short", kind="k", queue="short-1"),
    ]
    await finalized(sql, ago=4 * DAY, pool="short", kind="long")
    await finalized(sql, ago=2 * HOUR, pool="short", kind="long", state="discarded")
    await finalized(sql, ago=2 * HOUR, pool="short", kind="k", queue="short-1")
    await finalized(sql, ago=HOUR / 2, pool="default", kind="brief")
    await finalized(sql, ago=2 * DAY, pool="gone")
    await cleaner(door, config).clean()
    assert await left(sql) == sorted(kept)


async def test_zero_keeps_nothing(door: Database, sql: Connection) -> None:
    """Of the state that says so, and of no other."""
    await finalized(sql, 5, ago=timedelta())
    kept = await finalized(sql, ago=timedelta(), state="discarded")
    await cleaner(door, Config(queues={"default": QueueConfig(keep_completed=0)})).clean()
    assert await left(sql) == kept


async def test_a_long_history_goes_in_batches(door: Database, sql: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """No statement reads or deletes more than it may; in the end all is gone that should be, and nothing else."""
    monkeypatch.setattr(cleaner_module, "PAGES", 4)
    monkeypatch.setattr(cleaner_module, "BATCH", 100)
    steps: list[tuple[int, int]] = []
    delete = door.chores.delete_finalized

    async def watched(
        connection: Connection, table: str, pages: range, ages: str, limit: int, *, timeout: float
    ) -> object:
        deleted = await delete(connection, table, pages, ages, limit, timeout=timeout)
        steps.append((len(pages), sum(count for *_, count in deleted.jobs)))
        return deleted

    monkeypatch.setattr(door.chores, "delete_finalized", watched)
    old = await finalized(sql, 3_000, ago=2 * DAY)
    young = await finalized(sql, 500, ago=HOUR)
    await cleaner(door).clean()
    assert await left(sql) == young
    assert sum(deleted for _, deleted in steps) == len(old)
    assert max(pages for pages, _ in steps) <= 4
    assert max(deleted for _, deleted in steps) <= 100


async def test_what_is_not_due_is_not_read_again(
    door: Database, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table is read when something in it can be past its retention, and not in every round."""
    await finalized(sql, 100, ago=HOUR)
    made = cleaner(door)
    await made.clean()
    monkeypatch.delattr(door.chores.__class__, "delete_finalized")
    await made.clean()


async def test_nobody_cleans_who_leads_no_more(door: Database, sql: Connection) -> None:
    """A leader that lost its term in the middle stops."""
    old = await finalized(sql, 3, ago=2 * DAY)
    leader = Always(door)
    leader.believes = False
    config = Config(queues={"default": QueueConfig(keep_completed_count=0)})
    await Cleaner(door, Retention.of(config), leader).clean()
    assert await left(sql) == old


# By number


async def test_the_newest_are_kept(door: Database, sql: Connection) -> None:
    """So many of each queue and state; those of one batch, finalized at one moment, by their ids."""
    config = Config(queues={"few": QueueConfig(keep_completed_count=3), "none": QueueConfig(keep_discarded_count=0)})
    same = await finalized(sql, 5, ago=HOUR, pool="few")
    kept = [
        *same[2:],
        *await finalized(sql, 5, ago=HOUR, pool="few", state="cancelled"),
        *await finalized(sql, 5, ago=HOUR, pool="default"),
        *await finalized(sql, 5, ago=HOUR, pool="none"),
    ]
    await finalized(sql, 5, ago=2 * HOUR, pool="few", queue="few-1", apart=SECOND)
    await finalized(sql, 5, ago=HOUR, pool="none", state="discarded")
    await cleaner(door, config).clean()
    assert await left(sql) == sorted(kept)


async def test_a_kind_with_a_number_of_its_own_does_not_count_in_its_queue(door: Database, sql: Connection) -> None:
    """Neither pushes the other out."""
    config = Config(
        queues={"few": QueueConfig(keep_completed_count=2)}, tasks={"own": TaskConfig(keep_completed_count=4)}
    )
    own = await finalized(sql, 6, ago=HOUR, pool="few", kind="own", apart=SECOND)
    others = await finalized(sql, 6, ago=2 * HOUR, pool="few", apart=SECOND)
    await cleaner(door, config).clean()
    assert await left(sql) == own[:4] + others[:2]


async def test_a_number_is_no_age(door: Database, sql: Connection) -> None:
    """Who keeps a hundred keeps them for no longer than the age says, and no shorter."""
    config = Config(queues={"default": QueueConfig(keep_completed_count=100)})
    young = await finalized(sql, 10, ago=HOUR)
    await finalized(sql, 10, ago=2 * DAY)
    await cleaner(door, config).clean()
    assert await left(sql) == young


async def test_many_beyond_the_number_go_in_batches(
    door: Database, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many statements as it takes."""
    monkeypatch.setattr(cleaner_module, "BATCH", 50)
    ids = await finalized(sql, 1_000, ago=HOUR, apart=timedelta(milliseconds=1))
    await cleaner(door, Config(queues={"default": QueueConfig(keep_completed_count=7)})).clean()
    assert await left(sql) == ids[:7]


# Timeouts, and others at the same time


def test_a_batch_halves_and_grows_slowly() -> None:
    """Down to one, and up to its most."""
    batch = Batch(100, 100)
    assert batch.shrink()
    assert batch.size == 50
    batch.grow()
    assert batch.size == 56
    for _ in range(20):
        batch.grow()
    assert batch.size == 100
    while batch.shrink():
        pass
    assert batch.size == 1


async def test_what_takes_too_long_is_done_in_smaller_steps(
    door: Database, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that runs into its timeout is tried with half, until one comes through."""
    monkeypatch.setattr(cleaner_module, "PAGES", 16)
    monkeypatch.setattr(cleaner_module, "TIMEOUT", 0.5)
    await sql.execute(
        """
        create function slow() returns trigger language plpgsql as
        'begin perform pg_sleep(0.001); return old; end';
        create trigger slow before delete on job_finalized for each row execute function slow()
        """
    )
    await finalized(sql, 800, ago=2 * DAY)
    young = await finalized(sql, 10, ago=HOUR)
    made = cleaner(door)
    await made.clean()
    assert await left(sql) == young
    assert made.pages.size < 16


async def test_a_table_that_is_locked_is_left_for_the_next_round(
    door: Database, sql: Connection, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Smaller steps don't help: it is said, and done later."""
    monkeypatch.setattr(cleaner_module, "PAGES", 2)
    monkeypatch.setattr(cleaner_module, "TIMEOUT", 0.2)
    await finalized(sql, 10, ago=2 * DAY)
    made = cleaner(door)
    lock = other.transaction()
    await lock.start()
    await other.execute("lock table job_finalized_default in access exclusive mode")
    with pytest.raises(Exception, match="not available"):
        await made.clean()
    await lock.rollback()
    await made.clean()
    assert await left(sql) == []


async def test_rows_that_somebody_holds_are_left_and_nobody_waits(
    door: Database, sql: Connection, other: Connection
) -> None:
    """They go in the next round."""
    ids = await finalized(sql, 10, ago=2 * DAY)
    made = cleaner(door)
    holding = other.transaction()
    await holding.start()
    await other.execute("select from job_finalized where id = $1 for update", ids[4])
    await made.clean()
    assert await left(sql) == [ids[4]]
    await holding.rollback()
    await cleaner(door).clean()
    assert await left(sql) == []


async def test_eight_cleaners_at_once_oban_168(
    door: Database, sql: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """None waits for another, no deadlock surfaces, and all that is past its retention goes; nothing else does."""
    caplog.set_level(logging.WARNING)
    config = Config(queues={"few": QueueConfig(keep_completed_count=5)})
    for _ in range(5):
        names = await make_days(sql, 12)
        old = [await finalized(sql, 400, ago=n * DAY + HOUR, pool=f"p{n % 2}") for n in range(1, 12)]
        discarded = [await finalized(sql, 5, ago=n * DAY, state="discarded") for n in (2, 3, 4)]
        few = await finalized(sql, 200, ago=HOUR, pool="few", apart=SECOND)
        assert old
        await asyncio.gather(*(cleaner(door, config).clean() for _ in range(8)))
        # What one had locked when another looked is left to the next round.
        await cleaner(door, config).clean()
        assert await left(sql) == sorted([*(job for each in discarded for job in each), *few[:5]])
        await sql.execute("truncate job_finalized")
        await sql.execute("".join(f"drop table if exists {name};" for name in names))
    assert caplog.records == []


# Days


async def test_a_day_past_every_retention_is_dropped_unread(
    door: Database, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole, for a few milliseconds' work; the days in which something may be young stay."""
    names = await make_days(sql, 11)
    for n in (1, 2, 6, 7, 9, 10):
        await finalized(sql, ago=n * DAY, state="discarded")
    read: list[str] = []
    delete = door.chores.delete_finalized

    async def watched(connection: Connection, table: str, *rest: object, **more: object) -> object:
        read.append(table)
        return await delete(connection, table, *rest, **more)  # type: ignore[arg-type]  # passed on as they come

    monkeypatch.setattr(door.chores, "delete_finalized", watched)
    await cleaner(door).clean()
    # Of the eighth to last day, jobs may have been discarded less than seven days ago, and it is empty or not.
    assert names[8] not in await days(sql)
    assert set(names[8:]).isdisjoint(await days(sql))
    assert set(names[8:]).isdisjoint(read)
    assert {names[0], names[1], names[5]} <= set(await days(sql))


async def test_a_day_is_dropped_once_it_is_empty(door: Database, sql: Connection) -> None:
    """What it held went by a shorter retention; a day that is not over stays, and so do those to come."""
    names = await make_days(sql, 4)
    today = await sql.fetchval("select (now() at time zone 'UTC')::date")
    for n in range(2):
        await door.jobs.make_partition(sql, today + n * DAY)
    await finalized(sql, 10, ago=3 * DAY)
    await finalized(sql, ago=2 * DAY, state="discarded")
    await cleaner(door).clean()
    there = await days(sql)
    assert names[2] not in there
    assert names[1] in there
    assert {f"job_finalized_{today + n * DAY:%Y%m%d}" for n in range(2)} <= set(there)


async def test_a_long_read_holds_up_no_completion_and_the_day_goes_later(
    door: Database, sql: Connection, other: Connection
) -> None:
    """Dropping waits for a moment only, since completions wait behind it."""
    (*_, oldest) = await make_days(sql, 12)
    reading = other.transaction()
    await reading.start()
    await other.fetch("select * from job_finalized")
    made = cleaner(door)
    cleaning = asyncio.create_task(made.clean())
    while not cleaning.done():
        await sql.execute("set statement_timeout = '3s'")
        await finalized(sql, ago=timedelta())
    await cleaning
    assert oldest in await days(sql)
    await reading.rollback()
    await made.clean()
    assert oldest not in await days(sql)


async def test_jobs_finished_while_a_day_is_dropped_are_all_kept(door: Database, sql: Connection) -> None:
    """Writers and the one who drops take turns; none of them loses."""
    await make_days(sql, 30)
    cleaning = asyncio.create_task(cleaner(door).clean())
    kept: list[int] = []

    async def dropped() -> bool:
        kept.extend(await finalized(sql, ago=timedelta()))
        return cleaning.done()

    await eventually(dropped)
    await cleaning
    assert await left(sql) == kept
    assert len(await days(sql)) < 30
