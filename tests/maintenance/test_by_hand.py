"""What `client.jobs` does of the chores by hand: `clean` and `rescue`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import pytest

from tests.maintenance.history import DAY, HOUR, finalized, left, make_days
from workerqueue import Client, Config, ConfigError, JobState
from workerqueue.database import ClientRow, Connection, Database


@pytest.fixture
async def client(database_url: str, schema: str) -> AsyncGenerator[Client]:
    """A client that does not work."""
    async with Client(database_url, schema=schema, config=Config()) as made:
        yield made


async def test_clean_deletes_what_is_older_and_counts_it_by_queue_and_state(client: Client, sql: Connection) -> None:
    """In every day's table, whatever is configured; a dynamic queue counts under its own name."""
    await make_days(sql, 3)
    for n in range(1, 4):
        await finalized(sql, 2, ago=n * DAY, pool="a")
        await finalized(sql, ago=n * DAY, pool="a", queue="a-1", state="discarded")
    young = await finalized(sql, 4, ago=HOUR, pool="a")
    assert await client.jobs.clean(older_than=2 * HOUR) == {
        "a": {JobState.COMPLETED: 6},
        "a-1": {JobState.DISCARDED: 3},
    }
    assert await left(sql) == young
    assert await client.jobs.clean(older_than=2 * HOUR) == {}


async def test_clean_keeps_to_the_states_and_queues_it_is_given(client: Client, sql: Connection) -> None:
    """Of other states and queues nothing goes; a configured queue's name takes its dynamic ones with it."""
    gone = [
        *await finalized(sql, ago=DAY, pool="a", state="cancelled"),
        *await finalized(sql, ago=DAY, pool="b", queue="b-1", state="cancelled"),
        *await finalized(sql, ago=DAY, pool="a", queue="a-1", state="cancelled"),
    ]
    kept = [
        *await finalized(sql, ago=DAY, pool="a"),
        *await finalized(sql, ago=DAY, pool="b", queue="b-2", state="cancelled"),
        *await finalized(sql, ago=DAY, pool="b", state="cancelled"),
    ]
    deleted = await client.jobs.clean(older_than=0, states=["cancelled"], queues=["a", "b-1"])
    assert deleted == {queue: {JobState.CANCELLED: 1} for queue in ("a", "a-1", "b-1")}
    assert len(gone) == 3
    assert await left(sql) == kept


@pytest.mark.parametrize("limit", [0, 1, 7, 100])
async def test_clean_deletes_at_most_so_many(client: Client, sql: Connection, limit: int) -> None:
    """Over all tables together."""
    await make_days(sql, 3)
    for n in range(1, 4):
        await finalized(sql, 5, ago=n * DAY)
    deleted = await client.jobs.clean(older_than=0, limit=limit)
    assert sum(deleted.get("default", {}).values()) == min(limit, 15)
    assert len(await left(sql)) == 15 - min(limit, 15)


async def test_clean_never_touches_live_jobs(client: Client, sql: Connection) -> None:
    """However old they are."""
    await sql.execute("insert into job (kind, created_at, scheduled_at) values ('k', '2020-01-01', '2020-01-01')")
    assert await client.jobs.clean(older_than=0) == {}
    assert await sql.fetchval("select count(*) from job") == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"older_than": -1}, "older_than"),
        ({"older_than": "a day"}, "older_than"),
        ({"older_than": 0, "states": ["running"]}, "'running' is not one of"),
        ({"older_than": 0, "states": "finished"}, "'finished' is not one of"),
        ({"older_than": 0, "limit": -1}, "limit"),
        ({"older_than": 0, "queues": "a"}, "queues"),
    ],
)
async def test_clean_refuses_what_cannot_be_meant(client: Client, given: dict[str, Any], said: str) -> None:
    """Before anything is deleted, and by name."""
    with pytest.raises(ConfigError, match=said):
        await client.jobs.clean(**given)


async def test_rescue_frees_the_jobs_of_the_dead(client: Client, door: Database, sql: Connection) -> None:
    """Of who has been silent for the client's `lease_ttl`, or as long as is said; the living keep theirs."""
    for name, silent in (("gone", timedelta(seconds=60)), ("slow", timedelta(seconds=5))):
        number = await door.jobs.register_client(sql, ClientRow(name, "h", 1, [], []))
        await sql.execute("update client set heartbeat_at = now() - $2::interval where number = $1", number, silent)
        await sql.execute(
            "insert into job (kind, state, lease, attempt, client, max_attempts)"
            " select 'k', 'running', 1, 1, $1, n from generate_series(1, 2) as n",
            number,
        )
    assert await client.jobs.rescue() == 2
    assert await client.jobs.rescue() == 0
    assert await client.jobs.rescue(older_than=timedelta(seconds=4)) == 2
    assert await sql.fetchval("select count(*) from job where state = 'available'") == 2
    with pytest.raises(ConfigError, match="older_than"):
        await client.jobs.rescue(older_than=0)
