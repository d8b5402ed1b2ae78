"""Incidents of other queues around unique jobs: lost or doubled by a rival, by a change of state, or in others' way."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import until_none_live, until_state
from workerqueue import (
    Client,
    Config,
    InsertOpts,
    Job,
    JobArgs,
    JobDiscard,
    JobSnooze,
    JobState,
    QueueConfig,
    UniqueOpts,
    WorkerQueueError,
    Workers,
)
from workerqueue.database import Connection
from workerqueue.database.statements import statement


class Task(JobArgs):
    key: str
    how: str = "complete"

    @classmethod
    def kind(cls) -> str:
        return "task"


def opts(key: str) -> InsertOpts:
    """Give the options of one key, by both ways to make one."""
    return InsertOpts(job_key=key, unique=UniqueOpts(by_fields=("key",)))


def workers() -> Workers:
    """Ends as it is told."""
    made = Workers()

    @made.worker
    async def task(job: Job[Task]) -> None:
        match job.args.how:
            case "fail" if job.attempt == 1:
                raise ValueError("once")
            case "snooze" if job.attempt == 1 and not job.attempted_by[1:]:
                raise JobSnooze(0.01)
            case "discard":
                raise JobDiscard("no")
            case _:
                pass

    return made


@pytest.mark.parametrize("how", ["complete", "fail", "snooze", "discard"])
async def test_a_unique_job_stays_the_only_one_through_every_change_of_state(
    make_client: MakeClient, sql: Connection, how: str
) -> None:
    """River 0.12.1: a unique job that changes its state, put back or retried, met another of its key and failed."""
    client = make_client(workers())
    first = await client.insert(Task(key="k", how=how), opts("k"))
    for state in ("scheduled", "retryable", "pending", "available"):
        await sql.execute("update job set state = $1::text::job_state", state)
        assert (await client.insert(Task(key="k"), opts("k"))).job.id == first.job.id
    await client.start()
    while (result := await client.insert(Task(key="k"), opts("k"))).duplicate is not False:
        assert result.job.id == first.job.id
    ended = await client.jobs.get(first.job.id)
    assert ended is not None
    assert ended.state is (JobState.DISCARDED if how == "discard" else JobState.COMPLETED)
    await until_none_live(sql)


async def test_random_rollbacks_leave_one_row_of_each_key(make_client: MakeClient, sql: Connection) -> None:
    """oban#1087 and #1093: rivals that roll back left two rows of a key, or none and no result."""
    await insert_with_rollbacks(make_client(), sql)


UNIQUE_SKIPPED = {
    "keys are not held": ("take_keys", "select distinct key from asked", "select key from asked where false"),
    "who has a key is not looked up": ("find_keys", "where key = asked.key", "where false"),
    "a key is not given": ("give_keys", "job = excluded.job, ", ""),
}


@pytest.mark.proof
@pytest.mark.parametrize(("name", "right", "wrong"), UNIQUE_SKIPPED.values(), ids=UNIQUE_SKIPPED.keys())
async def test_a_skipped_key_is_found(
    make_client: MakeClient, sql: Connection, monkeypatch: pytest.MonkeyPatch, name: str, right: str, wrong: str
) -> None:
    """Each step left out makes a second row of some key, or loses an answer."""
    assert right in statement(name, "any")

    def with_bug(each: str, schema: str) -> str:
        text = statement(each, schema)
        return text.replace(right, wrong) if each == name else text

    monkeypatch.setattr("workerqueue.database.keys.statement", with_bug)
    with pytest.raises((AssertionError, KeyError, WorkerQueueError)):
        await insert_with_rollbacks(make_client(), sql)


async def insert_with_rollbacks(client: Client, sql: Connection) -> None:
    """Insert under the same keys from many transactions, half of which roll back, and check what is left."""
    chance = random.Random(1)  # noqa: S311 - a test's choices

    async def insert(key: str, rolls_back: bool, pause: float) -> int | None:
        with suppress(LookupError):
            async with client.transaction() as tx:
                result = await client.insert_tx(tx, Task(key=key), opts(key))
                await tx.execute("select pg_sleep($1)", pause)
                if rolls_back:
                    raise LookupError
                return result.job.id
        return None

    for turn in range(10):
        keys = [f"{turn}-{n}" for n in range(4)]
        asked = [(key, chance.random() < 0.5, chance.random() * 0.01) for key in keys for _ in range(5)]
        asked += [(key, False, 0.0) for key in keys]  # so that one commits
        chance.shuffle(asked)
        found = await asyncio.gather(*[insert(*each) for each in asked])
        for key in keys:
            answers = {job for job, each in zip(found, asked, strict=True) if each[0] == key and job is not None}
            rows = [row["id"] for row in await sql.fetch("select id from job where args ->> 'key' = $1", key)]
            assert len(rows) == 1
            assert answers == set(rows)


async def test_a_unique_conflict_holds_up_no_other_queue(make_client: MakeClient, sql: Connection) -> None:
    """oban#1416: a conflict of one unique job failed the promotion of all that fell due with it."""
    config = Config(queues={"a": QueueConfig(), "b": QueueConfig()})
    client: Client = make_client(workers(), config=config)
    due = 0.2
    for queue in ("a", "b"):
        for n in range(20):
            mine = InsertOpts(queue=queue, scheduled_at=due, job_key=f"{queue}{n}")
            await client.insert(Task(key=f"{queue}{n}"), mine)
    # A rival holds the keys of one queue's jobs when they fall due.
    async with client.transaction() as tx:
        for n in range(20):
            held = await client.insert_tx(tx, Task(key=f"a{n}"), InsertOpts(queue="a", job_key=f"a{n}"))
            assert held.duplicate
        await client.start()
        last = await client.jobs.get("b19")
        assert last is not None
        await until_state(client, last.id, JobState.COMPLETED)
        await until_none_live(sql)
