"""A client's life: opening, starting, closing, whose pool it is, where its database is, and when that is away."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.client.kinds import Note
from tests.client.proxy import proxy
from tests.conftest import MakeClient
from tests.database.observer import sessions
from tests.reconnect.flow import most_lines_a_second
from tests.waiting import PATIENCE, eventually, succeeds
from workerqueue import (
    Client,
    Config,
    ConfigError,
    DatabaseUnavailableError,
    Job,
    JobNotFoundError,
    JobState,
    JobWaitTimeout,
    QueueConfig,
    TaskConfig,
    UnknownQueueError,
    Workers,
    current_client,
    migrate,
)
from workerqueue.database import Connection, Pool


def noting() -> Workers:
    """Make workers that work notes."""
    workers = Workers()

    @workers.worker
    async def note(job: Job[Note]) -> int:
        return job.args.n

    return workers


def application(client: Client) -> str:
    """What a client's sessions call themselves."""
    return f"workerqueue {client.id}"[:63]


# Whose pool


@pytest.mark.req("A12", "C15", "C29")
async def test_a_callers_pool_is_used_and_not_closed(make_client: MakeClient, pool: Pool, sql: Connection) -> None:
    """A client on an application's pool makes one more, to say that it lives; the pool stays as it was."""
    client = make_client(noting(), database=pool)
    async with client:
        await client.start()
        result = await client.insert(Note(n=1))
        assert (await client.jobs.wait(result.job.id, PATIENCE)).output == 1
        assert await sessions(sql, application(client)) <= 1
    assert await sessions(sql, application(client)) == 0
    assert not pool.is_closing()
    assert await pool.fetchval("select 1") == 1
    assert pool.get_idle_size() == pool.get_size()


@pytest.mark.parametrize("size", [1, 4])
async def test_a_pool_too_small_for_a_working_client_is_refused_at_start(
    make_client: MakeClient, database_url: str, size: int
) -> None:
    """The error says how many connections are needed; inserting through it still works."""
    async with asyncpg.create_pool(database_url, min_size=0, max_size=size) as small:
        client = make_client(noting(), database=small)
        with pytest.raises(ConfigError, match=rf"max_size={size}; .* give it more than 4, or a URL"):
            await client.start()
        assert (await client.insert(Note())).job.id == 1


async def test_a_pool_just_large_enough_serves_a_working_client(make_client: MakeClient, database_url: str) -> None:
    """Five connections: four for the engine, one for everything else."""
    async with asyncpg.create_pool(database_url, min_size=0, max_size=5) as small:
        client = make_client(noting(), database=small)
        await client.start()
        results = await asyncio.gather(*(client.insert(Note(n=n)) for n in range(20)))
        for result in results:
            assert (await client.jobs.wait(result.job.id, PATIENCE)).state is JobState.COMPLETED
        await client.close()


# Starting and closing


async def test_a_client_without_workers_is_not_started(make_client: MakeClient) -> None:
    """`start` and `run` say what is missing."""
    for workers in (None, Workers()):
        client = make_client(workers)
        with pytest.raises(ConfigError, match=r"no workers to start: pass Client\(workers=…\)"):
            await client.start()
        with pytest.raises(ConfigError, match="no workers to start"):
            await client.run()


async def test_workers_may_be_registered_after_the_client_was_made(make_client: MakeClient) -> None:
    """The client keeps the very `Workers` it was given, also while that is empty."""
    workers = Workers()
    client = make_client(workers)
    assert client.workers is workers

    @workers.worker
    async def note(job: Job[Note]) -> str:
        return "late"

    await client.start()
    result = await client.insert(Note())
    assert (await client.jobs.wait(result.job.id, PATIENCE)).output == "late"


async def test_a_declared_class_makes_its_kind_known(make_client: MakeClient) -> None:
    """Workers that declare classes and work none are kept too."""
    workers = Workers()
    workers.declare(Note)
    result = await make_client(workers).insert_kind("note", {"n": 4})
    assert result.job.args == Note(n=4)


async def test_the_queues_of_a_start_are_the_ones_it_works(make_client: MakeClient, sql: Connection) -> None:
    """Only these, each with the workers asked for; an unknown one is refused with near matches."""
    most: list[int] = []
    running = 0
    workers = Workers()

    @workers.worker
    async def note(job: Job[Note]) -> None:
        nonlocal running
        running += 1
        most.append(running)
        await asyncio.sleep(0.01)
        running -= 1

    config = Config(queues={"email": QueueConfig(max_workers=9)}, tasks={"note": TaskConfig(queue="email")})
    client = make_client(workers, config=config)
    with pytest.raises(UnknownQueueError, match="no queue 'emial' is configured; did you mean 'email'"):
        await client.start(queues={"emial": None})
    await client.insert_many([Note()] * 20)
    await client.start(queues={"default": None})
    await client.stop()
    assert most == []
    await client.start(queues={"email": 2})

    async def done() -> bool:
        return not await sql.fetchval("select count(*) from job")

    await eventually(done)
    assert max(most) == 2


async def test_current_client_is_the_client_that_works(make_client: MakeClient) -> None:
    """Inside a worker it is that client, also in tasks and threads of the worker; outside there is none."""
    seen: list[Client] = []
    workers = Workers()

    @workers.worker
    async def note(job: Job[Note]) -> None:
        async def deeper() -> None:
            seen.append(current_client())

        seen.append(current_client())
        await asyncio.create_task(deeper())
        seen.append(await asyncio.to_thread(current_client))

    client = make_client(workers)
    await client.start()
    with pytest.raises(ConfigError, match=r"current_client\(\) works inside a worker"):
        current_client()
    result = await client.insert(Note())
    await client.jobs.wait(result.job.id, PATIENCE)
    assert seen == [client] * 3


async def test_nothing_is_left_after_closing(make_client: MakeClient, sql: Connection) -> None:
    """No task and no session, whether the client worked, inserted or only opened; closing may be repeated."""
    before = asyncio.all_tasks()
    client = make_client(noting())
    for use in ("open", "insert", "work"):
        async with client:
            if use == "insert":
                await client.insert(Note())
            if use == "work":
                result = await client.insert(Note())
                await client.start()
                await client.jobs.wait(result.job.id, PATIENCE)
        await client.close()
        assert asyncio.all_tasks() == before

        async def gone() -> bool:
            return await sessions(sql, application(client)) == 0

        await eventually(gone)


async def test_closing_does_not_wait_for_ever_for_a_transaction_left_open(
    make_client: MakeClient, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is never given back is ended after a while, and its transaction with it."""
    monkeypatch.setattr("workerqueue.database.connection.CONNECT_TIMEOUT", 0.3)
    client = make_client()
    left_open = client.transaction()
    connection = await left_open.__aenter__()
    await client.insert_tx(connection, Note())
    async with asyncio.timeout(PATIENCE):
        await client.close()

    async def gone() -> bool:
        return await sessions(sql, application(client)) == 0

    await eventually(gone)
    assert await sql.fetchval("select count(*) from job") == 0
    del left_open


BAD_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "no room": ({"concurrency": 0}, "concurrency: expected at least 1, got 0"),
    "no poll": ({"poll_interval": 0}, "poll_interval: expected a duration longer than 0"),
    "a negative grace": ({"stop_timeout": -1}, "stop_timeout: expected a duration of 0 or longer"),
    "no time to insert": ({"insert_timeout": timedelta()}, "insert_timeout: expected a duration longer than 0"),
    "no duration": ({"poll_interval": "1s"}, "poll_interval: expected a timedelta or a number of seconds, got '1s'"),
    "no folder": ({"config": "/nowhere/at/all"}, "no configuration in '/nowhere/at/all'"),
}


@pytest.mark.parametrize(("settings", "text"), BAD_SETTINGS.values(), ids=BAD_SETTINGS.keys())
def test_a_setting_that_cannot_be_right_is_refused_when_the_client_is_made(settings: dict[str, Any], text: str) -> None:
    """The error names the setting."""
    with pytest.raises(ConfigError, match=text):
        Client("postgresql://nowhere/x", **settings)


# Looking at jobs


async def test_a_job_that_is_not_there_is_none_or_an_error(make_client: MakeClient) -> None:
    """`get` gives `None`, `wait` raises at once."""
    client = make_client()
    assert await client.jobs.get(4711) is None
    assert await client.jobs.get(2**63 - 1) is None
    assert await client.jobs.get(-1) is None
    with pytest.raises(JobNotFoundError, match="there is no job 4711"):
        await client.jobs.wait(4711, PATIENCE)


async def test_an_id_beyond_64_bits_is_no_job(make_client: MakeClient) -> None:
    """No id is that large."""
    assert await make_client().jobs.get(2**70) is None


async def test_waiting_ends_when_its_time_does(make_client: MakeClient) -> None:
    """The error is a `TimeoutError` too, and comes in time."""
    client = make_client()
    result = await client.insert(Note())
    for timeout in (0.1, timedelta(milliseconds=100)):
        began = time.monotonic()
        with pytest.raises(JobWaitTimeout, match=f"job {result.job.id} is not finalized after 0:00:00.1") as caught:
            await client.jobs.wait(result.job, timeout)
        assert isinstance(caught.value, TimeoutError)
        assert 0.1 <= time.monotonic() - began < PATIENCE


@pytest.mark.req("B5")
async def test_waiting_sees_a_job_of_another_client_end(make_client: MakeClient) -> None:
    """`wait` needs no engine here."""
    await make_client(noting()).start()
    client = make_client()
    result = await client.insert(Note(n=5))
    assert (await client.jobs.wait(result.job.id, PATIENCE)).output == 5


# The database away


async def test_an_insert_into_a_database_that_is_away_raises_after_its_deadline(
    make_client: MakeClient, closed_port: int
) -> None:
    """It tries until then, and not much longer."""
    client = make_client(database=f"postgresql://u:p@127.0.0.1:{closed_port}/x", insert_timeout=0.5)
    for insert in (lambda: client.insert(Note()), lambda: client.insert_many([Note()] * 6_000)):
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailableError):
            await insert()
        assert 0.25 <= time.monotonic() - began < PATIENCE


async def test_an_insert_waits_for_a_database_that_comes_back(make_client: MakeClient, database_url: str) -> None:
    """A restart shorter than the deadline costs an insert nothing but time."""
    async with proxy(database_url) as network:
        client = make_client(database=network.url, insert_timeout=PATIENCE)
        await network.go_away()
        insert = asyncio.create_task(client.insert(Note()))
        await asyncio.sleep(0.2)  # long enough to be refused more than once
        assert not insert.done()
        await network.come_back()
        assert (await insert).job.id == 1
        await client.close()


@pytest.mark.parametrize("many", [1, 6_000])
async def test_an_insert_into_a_silent_network_raises_after_its_deadline(
    make_client: MakeClient, database_url: str, many: int
) -> None:
    """With the connection open and no answer coming, it raises our error, and not much later."""
    async with proxy(database_url) as network:
        client = make_client(database=network.url, insert_timeout=0.5)
        await eventually(lambda: succeeds(client.insert(Note())))  # half a second may be short for a connecting
        network.silent = True
        began = time.monotonic()
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(DatabaseUnavailableError):
                await client.insert_many([Note()] * many)
        assert time.monotonic() - began >= 0.4
        await client.close()


async def has_said_something_again(caplog: pytest.LogCaptureFixture) -> bool:
    """Tell whether some loop has warned more than once."""
    loops = [record.getMessage().partition(":")[0] for record in caplog.records]
    return len(loops) > len(set(loops))


async def test_a_running_client_keeps_trying(
    make_client: MakeClient, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """While its network is down it says so now and then; when it is back, jobs are worked."""
    caplog.set_level(logging.WARNING, "workerqueue")
    async with proxy(database_url) as network:
        client = make_client(noting(), database=network.url)
        await client.start()
        result = await client.insert(Note())
        assert (await client.jobs.wait(result.job.id, PATIENCE)).state is JobState.COMPLETED
        await network.go_away()
        waiting = await make_client().insert(Note())
        await eventually(lambda: has_said_something_again(caplog))
        assert max(most_lines_a_second(caplog).values()) <= 1, caplog.text
        await network.come_back()
        assert (await make_client().jobs.wait(waiting.job.id, PATIENCE)).state is JobState.COMPLETED
        await client.close()


# Where the database is


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that names no database."""
    for name in list(os.environ):
        if name.startswith("PG") or name in {"WORKERQUEUE_DATABASE_URL", "DATABASE_URL"}:
            monkeypatch.delenv(name)
    return monkeypatch


NOWHERE = "postgresql://u:p@127.0.0.1:1/nowhere"


def parts(database_url: str) -> dict[str, str]:
    """Take a URL apart into the `PG*` variables."""
    url = urlsplit(database_url)
    return {
        "PGHOST": url.hostname or "",
        "PGPORT": str(url.port),
        "PGUSER": url.username or "",
        "PGPASSWORD": url.password or "",
        "PGDATABASE": url.path[1:],
    }


@pytest.mark.req("B20")
@pytest.mark.parametrize(
    "named",
    [
        ["given", "WORKERQUEUE_DATABASE_URL", "DATABASE_URL", "PG"],
        ["WORKERQUEUE_DATABASE_URL", "DATABASE_URL", "PG"],
        ["DATABASE_URL", "PG"],
        ["PG"],
    ],
    ids=lambda named: named[0],
)
async def test_the_database_is_looked_for_in_one_order(
    database_url: str, schema: str, environment: pytest.MonkeyPatch, named: list[str]
) -> None:
    """What is given, `WORKERQUEUE_DATABASE_URL`, `DATABASE_URL`, `PG*`: the first wins, the others lead nowhere."""
    right, *wrong = named
    for name in wrong:
        if name == "PG":
            environment.setenv("PGHOST", "127.0.0.1")
            environment.setenv("PGPORT", "1")
        else:
            environment.setenv(name, NOWHERE)
    if right == "PG":
        for name, value in parts(database_url).items():
            environment.setenv(name, value)
    elif right != "given":
        environment.setenv(right, database_url)
    async with Client(database_url if right == "given" else None, schema=schema, insert_timeout=PATIENCE) as client:
        assert (await client.insert(Note())).job.id == 1


def test_no_database_at_all_is_an_error_with_its_cure(environment: pytest.MonkeyPatch) -> None:
    """An empty variable counts as none."""
    environment.setenv("DATABASE_URL", "")
    with pytest.raises(ConfigError, match=r"no database given: .* WORKERQUEUE_DATABASE_URL, DATABASE_URL or PGHOST"):
        Client()


@pytest.mark.req("B20")
@pytest.mark.parametrize("variable", ["WORKERQUEUE_DATABASE_URL", "DATABASE_URL"])
async def test_a_bad_url_in_the_environment_is_an_error_and_not_a_fallback(
    database_url: str, schema: str, environment: pytest.MonkeyPatch, variable: str
) -> None:
    """Nothing else is tried, and the text does not repeat it."""
    environment.setenv(variable, "postgresql://hunter2:hunter2@[nowhere/x")
    for name, value in parts(database_url).items():
        environment.setenv(name, value)
    with pytest.raises(ConfigError, match="the database's URL can't be read") as caught:
        async with Client(schema=schema, insert_timeout=1) as client:
            await client.insert(Note())
    assert "hunter2" not in str(caught.value)


async def test_migrate_takes_a_url_with_options(database_url: str, empty_schema: str) -> None:
    """Server settings and a password that needs escaping survive the URL."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("drop role if exists odd")
    await connection.execute("create role odd superuser login password 'p@ss:w/rd ?#%'")
    try:
        host = database_url.rsplit("@", 1)[1]
        url = f"postgresql://odd:p%40ss%3Aw%2Frd%20%3F%23%25@{host}?timezone=Asia/Tokyo"
        await migrate(url, empty_schema)
        async with Client(url, schema=empty_schema) as client:
            assert (await client.insert(Note())).job.created_at.tzinfo is not None
        await connection.execute(f"drop schema {empty_schema} cascade")
    finally:
        await connection.execute("drop role odd")
        await connection.close()
