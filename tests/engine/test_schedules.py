"""Schedules: fired once for each of their times by any number of clients, whatever was missed, failed or changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import cast

import pytest
from pydantic import SecretStr

from tests.conftest import MakeClient
from tests.engine.jobs import until_state
from tests.waiting import eventually
from workerqueue import (
    Client,
    Config,
    ConfigError,
    InsertOpts,
    Job,
    JobArgs,
    JobState,
    OptionError,
    Schedule,
    UniqueOpts,
    UnknownQueueError,
    UnknownScheduleError,
    WorkerError,
    Workers,
)
from workerqueue.database import Connection
from workerqueue.schedule_config import LATE, MOST_MISSED, ScheduleConfig

HOUR = timedelta(hours=1)


class Digest(JobArgs):
    day: date | None = None
    to: str = "all"

    @classmethod
    def kind(cls) -> str:
        return "digest"


def working(built: Callable[[datetime], Digest] | None = None, cron: str = "0 * * * *") -> Workers:
    """Works digests; with a schedule in the code if a function is given."""
    workers = Workers()

    @workers.worker
    async def digest(job: Job[Digest]) -> None:
        pass

    if built is not None:
        workers.schedule(cron, name="built", timezone="Europe/Berlin")(built)
    return workers


def of_day(at: datetime) -> Digest:
    """Make the digest of a day."""
    return Digest(day=at.date())


async def make_due(sql: Connection, ago: timedelta = timedelta(), name: str | None = None) -> datetime:
    """Put a schedule's next time into the past, and give it."""
    at: datetime = await sql.fetchval("select date_trunc('minute', now()) - $1::interval", ago)
    await sql.execute("update schedule set next_at = $1 where name = coalesce($2, name)", at, name)
    return at


async def jobs_of(client: Client) -> list[Job[object]]:
    """Give the digests, the oldest first."""
    return [*reversed((await client.jobs.list(kinds=["digest"], limit=1_000)).jobs)]


async def until_moved_on(sql: Connection, over: datetime) -> None:
    """Wait until the schedules whose time was over are fired."""

    async def look() -> bool:
        left: int = await sql.fetchval("select count(*) from schedule where next_at <= $1", over)
        return left == 0

    await eventually(look)


@pytest.mark.req("B34", "B35")
@pytest.mark.parametrize("clients", [1, 5])
async def test_a_time_is_fired_once_by_any_number_of_clients(
    make_client: MakeClient, sql: Connection, clients: int
) -> None:
    """With the args made for it, at its priority and due then; the job carries the schedule and the time."""
    made = [make_client(working(of_day), id=f"c{n}") for n in range(clients)]
    async with make_client() as first:
        await first.schedules.set("stored", "@hourly", Digest(to="ops"), opts=InsertOpts(priority=5, tags=["cron"]))
    await sql.execute("update schedule set next_at = date_trunc('minute', now())")
    over = await make_due(sql)
    for client in made:
        await client.start()

    async def registered() -> bool:
        count: int = await sql.fetchval("select count(*) from schedule")
        return count == 2

    await eventually(registered)
    over = await make_due(sql, name="built")
    await sql.execute("select pg_notify($1, e'\\tschedules')", made[0]._database.channel)  # pyright: ignore[reportPrivateUsage]
    await until_moved_on(sql, over)
    jobs = await jobs_of(made[0])
    assert len(jobs) == 2
    by_name = {str(job.metadata["schedule"]): job for job in jobs}
    stored, built = by_name["stored"], by_name["built"]
    assert (stored.args, stored.priority, stored.tags) == (Digest(to="ops"), 5, ["cron"])
    assert built.args == Digest(day=over.date())
    assert built.scheduled_at == over
    assert datetime.fromisoformat(str(built.metadata["occurrence"])) == over
    schedule = await made[0].schedules.get("built")
    assert (schedule.last_at, schedule.last_error, schedule.args) == (over, None, None)
    assert schedule.next_at is not None
    assert timedelta() < schedule.next_at - datetime.now(UTC) <= HOUR


@pytest.mark.parametrize(("missed", "fired"), [("skip", 0), ("one", 1), ("all", 3)])
async def test_missed_times_are_made_up_for_as_the_schedule_says(
    make_client: MakeClient, sql: Connection, missed: str, fired: int
) -> None:
    """Three times passed while nobody worked; the latest is the one."""
    config = Config(
        schedules={"s": ScheduleConfig.model_validate({"kind": "digest", "cron": "30 * * * *", "missed": missed})}
    )
    client = make_client(working(), config=config)
    await client.start()

    async def registered() -> bool:
        count: int = await sql.fetchval("select count(*) from schedule")
        return count == 1

    await eventually(registered)
    await client.stop()
    first = await sql.fetchval("select date_trunc('hour', now() - interval '32 min') - interval '1 h 30 min'")
    await sql.execute("update schedule set next_at = $1", first)
    await client.start()
    await until_moved_on(sql, await sql.fetchval("select now()"))
    times = [datetime.fromisoformat(str(job.metadata["occurrence"])) for job in await jobs_of(client)]
    expected = [each for each in (first, first + HOUR, first + 2 * HOUR) if each < datetime.now(UTC) - LATE]
    assert len(expected) == 3
    assert times == expected[3 - fired :]


async def test_a_graphile_tick_after_an_outage_is_not_missed(make_client: MakeClient, sql: Connection) -> None:
    """graphile-worker 0.17: after ten minutes away the next tick of a schedule was missed."""
    client = make_client(working())
    await client.schedules.set("s", "* * * * *", Digest(), missed="one")
    await make_due(sql, timedelta(minutes=10))
    await client.start()
    await until_moved_on(sql, await sql.fetchval("select date_trunc('minute', now())"))
    schedule = await client.schedules.get("s")
    assert schedule.next_at is not None
    assert schedule.next_at - schedule.now <= timedelta(minutes=1)
    assert len(await jobs_of(client)) == 1


def test_no_minute_of_a_week_is_skipped() -> None:
    """oban-py#17: 2–3 % of them were. 10,000 virtual minutes fire 10,000 times, however late one looks."""
    config = ScheduleConfig(kind="digest", cron="* * * * *", missed="all")
    due = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)
    fired: list[datetime] = []
    for n in range(10_000):
        now = due + timedelta(seconds=n * 7 % 59)
        fired += config.due(due, now)
        following = config.when.next_after(now)
        assert following is not None
        due = following
    assert fired == [fired[0] + timedelta(minutes=n) for n in range(10_000)]


def test_what_was_missed_is_bounded() -> None:
    """Every second of a year: the latest of them, at most so many, and found in a moment."""
    every_second = ScheduleConfig(kind="digest", cron="* * * * * *", missed="all")
    now = datetime(2026, 3, 1, tzinfo=UTC)
    times = every_second.due(now - timedelta(days=365), now)
    assert 0 < len(times) <= MOST_MISSED
    assert all(now - LATE < each <= now for each in times)
    hourly = ScheduleConfig(kind="digest", cron="0 * * * *", missed="all")
    assert hourly.due(now - timedelta(days=30), now)[-1] == now
    assert len(hourly.due(now - timedelta(days=30), now)) == MOST_MISSED


async def test_a_paused_schedule_fires_nothing_and_makes_up_for_nothing(
    make_client: MakeClient, sql: Connection
) -> None:
    """It goes on with its next time when it is resumed; its times are shown meanwhile."""
    client = make_client(working())
    await client.start()
    await client.schedules.set("s", "* * * * *", Digest(), missed="all")
    other = await client.schedules.set("other", "* * * * *", Digest(to="other"))
    assert other.next_at is not None
    paused = await client.schedules.pause("s")
    assert (paused.paused, paused.next_at, len(paused.times(3))) == (True, None, 3)
    over = await make_due(sql, timedelta(minutes=5))
    await client.schedules.set("other", "*/2 * * * *", Digest(to="other"))  # changed, so that it is looked at
    over = await make_due(sql, timedelta(minutes=5))
    await sql.execute("select pg_notify($1, e'\\tschedules')", client._database.channel)  # pyright: ignore[reportPrivateUsage]

    async def other_fired() -> bool:
        return bool(await jobs_of(client))

    await eventually(other_fired)
    resumed = await client.schedules.resume("s")
    assert resumed.next_at is not None
    assert resumed.next_at > over
    assert all(job.metadata["schedule"] == "other" for job in await jobs_of(client))


async def test_a_schedule_is_run_now_beside_its_times(make_client: MakeClient, sql: Connection) -> None:
    """Its next time stays; what a function makes needs a client that has it."""
    client = make_client(working(of_day))
    await client.start()

    async def registered() -> list[Schedule]:
        return await client.schedules.list()

    (before,) = await eventually(registered)
    result = await client.schedules.run("built")
    job = await until_state(client, result.job.id, JobState.COMPLETED)
    assert job.metadata["schedule"] == "built"
    assert (await client.schedules.get("built")).next_at == before.next_at
    with pytest.raises(ConfigError, match="does not know how to make a 'digest'"):
        await make_client(working()).schedules.run("built")


async def test_registering_what_is_there_changes_nothing(make_client: MakeClient, sql: Connection) -> None:
    """A start keeps a next time that is due, so that it is not missed; a change begins anew; a deletion is one."""
    client = make_client()
    first = await client.schedules.set("s", "0 0 1 1 *", Digest())
    over = await make_due(sql)
    assert (await client.schedules.set("s", "0 0 1 1 *", Digest())).next_at == over
    changed = await client.schedules.set("s", "0 0 2 1 *", Digest())
    assert first.next_at is not None
    assert changed.next_at is not None
    assert [(each.month, each.day) for each in (first.next_at, changed.next_at)] == [(1, 1), (1, 2)]
    assert [await client.schedules.delete("s"), await client.schedules.delete("s")] == [True, False]
    assert await client.schedules.list() == []


async def test_one_that_fails_stops_no_other(make_client: MakeClient, sql: Connection) -> None:
    """Its error is shown, it moves on to its next time, and the others fire."""

    def broken(at: datetime) -> Digest:
        raise LookupError(f"no digest of {at.year}")

    client = make_client(working(broken))
    await client.schedules.set("good", "@hourly", Digest())
    await client.start()

    async def registered() -> bool:
        return len(await client.schedules.list()) == 2

    await eventually(registered)
    over = await make_due(sql)
    await sql.execute("select pg_notify($1, e'\\tschedules')", client._database.channel)  # pyright: ignore[reportPrivateUsage]
    await until_moved_on(sql, over)
    assert [job.metadata["schedule"] for job in await jobs_of(client)] == ["good"]
    failed = await client.schedules.get("built")
    assert failed.last_error == f"LookupError: no digest of {over.year}"
    assert failed.last_at == over


async def test_who_cant_make_its_jobs_leaves_it_to_who_can(make_client: MakeClient, sql: Connection) -> None:
    """A process without the function, or that does not know the kind, fires nothing; it waits for one that does."""
    other = Workers()

    class Else(JobArgs):
        @classmethod
        def kind(cls) -> str:
            return "else"

    @other.worker
    async def other_kind(job: Job[Else]) -> None:
        pass

    knows = make_client(working(of_day))
    await knows.start()

    async def registered() -> bool:
        return len(await knows.schedules.list()) == 1

    await eventually(registered)
    await knows.stop()
    over = await make_due(sql)
    stranger = make_client(other)
    await stranger.schedules.set("mine", "@hourly", Else())
    await sql.execute("update schedule set next_at = $1", over)
    await stranger.start()

    async def fired_its_own() -> bool:
        return (await stranger.schedules.get("mine")).last_at == over

    await eventually(fired_its_own)
    assert (await stranger.schedules.get("built")).next_at == over
    await knows.start()
    await until_moved_on(sql, over)
    assert len(await jobs_of(knows)) == 1


async def test_a_client_that_dies_between_its_jobs_and_its_commit_fires_nothing(
    make_client: MakeClient, sql: Connection, other: Connection
) -> None:
    """Whoever comes next fires it, once."""
    client = make_client(working())
    await client.schedules.set("s", "@hourly", Digest())
    over = await make_due(sql)
    dying = other.transaction()
    await dying.start()
    await other.execute("update schedule set next_at = now() + interval '1 h' where name = 's'")
    await other.execute("insert into job (kind) values ('digest')")
    await client.start()
    await asyncio.wait_for(_waits(sql), 10)
    await dying.rollback()
    await until_moved_on(sql, over)
    assert len(await jobs_of(client)) == 1


async def _waits(sql: Connection) -> None:
    async def look() -> bool:
        return bool(await sql.fetchval("select count(*) from pg_locks where not granted"))

    await eventually(look)


async def test_many_schedules_are_fired_in_a_turn(make_client: MakeClient, sql: Connection) -> None:
    """A thousand that are due at once, each once."""
    client = make_client(working())
    config = ScheduleConfig(kind="digest", cron="0 0 1 1 *").model_dump_json(exclude_none=True)
    await sql.execute(
        "insert into schedule (name, definition, next_at) "
        "select 's' || n, $1::text::jsonb, now() from generate_series(1, 1000) as n",
        config,
    )
    await client.start()
    await until_moved_on(sql, datetime.now(UTC))
    assert len({str(job.metadata["schedule"]) for job in await jobs_of(client)}) == 1_000


REFUSED: dict[str, tuple[Callable[[Client], Awaitable[object]], type[Exception], str]] = {
    "no cron": (lambda client: client.schedules.set("s", "soon", Digest()), ConfigError, "cron: "),
    "never": (lambda client: client.schedules.set("s", "0 0 31 2 *", Digest()), ConfigError, "cron: bad day-of-month"),
    "no zone": (
        lambda client: client.schedules.set("s", "@daily", Digest(), timezone="Mars"),
        ConfigError,
        "time zone",
    ),
    "no name": (lambda client: client.schedules.set("", "@daily", Digest()), ConfigError, "name: expected"),
    "no queue": (
        lambda client: client.schedules.set("s", "@daily", Digest(), opts=InsertOpts(queue="none")),
        UnknownQueueError,
        "no queue 'none'",
    ),
    "a priority too far": (
        lambda client: client.schedules.set("s", "@daily", Digest(), opts=InsertOpts(priority=10**6)),
        OptionError,
        "priority: expected an integer",
    ),
    "a time of its own": (
        lambda client: client.schedules.set("s", "@daily", Digest(), opts=InsertOpts(scheduled_at=5)),
        ConfigError,
        "opts: a schedule takes",
    ),
    "unique": (
        lambda client: client.schedules.set("s", "@daily", Digest(), opts=InsertOpts(unique=UniqueOpts())),
        ConfigError,
        "opts: a schedule takes",
    ),
    "a pause of nothing": (lambda client: client.schedules.pause("s"), UnknownScheduleError, "no schedule 's'"),
    "a resume of nothing": (lambda client: client.schedules.resume("s"), UnknownScheduleError, "no schedule 's'"),
    "a run of nothing": (lambda client: client.schedules.run("s"), UnknownScheduleError, "no schedule 's'"),
    "a look at nothing": (lambda client: client.schedules.get("s"), UnknownScheduleError, "no schedule 's'"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_cant_be_a_schedule_is_refused(make_client: MakeClient, sql: Connection, case: str) -> None:
    """With the cure, and nothing is stored."""
    call, error, said = REFUSED[case]
    with pytest.raises(error, match=said):
        await call(make_client())
    assert await sql.fetchval("select count(*) from schedule") == 0


class Login(JobArgs):
    user: str
    password: SecretStr

    @classmethod
    def kind(cls) -> str:
        return "login"


async def test_secrets_of_a_schedule_are_masked_where_it_is_shown(make_client: MakeClient, sql: Connection) -> None:
    """Its jobs have them as they are; a reader has asterisks, also of args that no longer fit."""
    workers = Workers()
    seen: list[str] = []

    @workers.worker
    async def login(job: Job[Login]) -> None:
        seen.append(job.args.password.get_secret_value())

    client = make_client(workers)
    schedule = await client.schedules.set("s", "@daily", Login(user="ada", password=SecretStr("s3cret")))
    assert schedule.args == {"user": "ada", "password": "**********"}
    assert "s3cret" not in f"{schedule} {await client.schedules.list()}"
    await client.start()
    run = await client.schedules.run("s")
    await until_state(client, run.job.id, JobState.COMPLETED)
    assert seen == ["s3cret"]
    await sql.execute("update schedule set definition = jsonb_set(definition, '{args,user}', '[1]')")
    assert (await client.schedules.get("s")).args == {"user": "**********", "password": "**********"}


async def test_code_is_checked_where_it_is_read(make_client: MakeClient) -> None:
    """A name twice, a function without its class, and one that schedules.toml has too."""
    workers = working(of_day)
    with pytest.raises(ConfigError, match="one of that name already"):
        workers.schedule("@daily", name="built")(of_day)
    with pytest.raises(WorkerError, match="the args class that it returns"):
        workers.schedule("@daily")(lambda at: Digest(day=at.date()))
    with pytest.raises(ConfigError, match="cron: "):
        workers.schedule("now")(of_day)

    async def slow(at: datetime) -> Digest:
        return of_day(at)

    with pytest.raises(WorkerError, match="expected a plain function"):
        workers.schedule("@daily")(cast("Callable[[datetime], Digest]", slow))
    with pytest.raises(ConfigError, match="only code has functions that make args"):
        Config(schedules={"s": ScheduleConfig(kind="digest", cron="@daily", is_built=True)})
    config = Config(schedules={"built": ScheduleConfig(kind="digest", cron="@daily")})
    with pytest.raises(ConfigError, match=r"in schedules\.toml and in the code"):
        await make_client(working(of_day), config=config).start()
