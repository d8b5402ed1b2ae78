"""Two statements at once, step by step: the tables end as if one had come after the other.

The first statement holds its transaction open; the second either finishes at once or is seen to wait for the first;
then the first commits or rolls back, and the second finishes. Every pair of the path's statements is tried.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import pytest

from tests.claiming import claim_jobs
from tests.model.machine import New
from tests.model.meeting import connections, until_done_or_blocked
from tests.model.tables import HOUR, KINDS, SILENCE, Seen, read, to_insert
from tests.waiting import PATIENCE
from workerqueue import JobState
from workerqueue.database import AsyncpgRunner, Claimed, Connection, Database, Finished
from workerqueue.database.jobs import JobTable
from workerqueue.database.statements import statement
from workerqueue.outcome import COMPLETED, INTERRUPTED, Outcome

LIVING, SILENT, LEASE = 1, 2, 7
NOW: Final = datetime.now(UTC)

START: Final = (
    "delete from job",
    "delete from job_finalized",
    "delete from client",
    """insert into client (number, id, host, pid, pools, kinds, heartbeat_at) overriding system value
        values (1, 'c1', 'h', 1, '{}', '{}', now()),
               (2, 'c2', 'h', 2, '{}', '{}', now() - interval '2 hours')""",
    """insert into job (id, kind, args, state, lease, client, attempt, scheduled_at, on_discard)
        overriding system value
        select id, 'plain', jsonb_build_object('token', token), state::job_state, lease, client, attempt,
               now() - interval '2 hours', on_discard::jsonb
        from (values
            (1, 'ready', 'available', null, null, 0, null),
            (2, 'its last run', 'running', 7, 2, 3, '{"kind": "sorry", "args": {"token": "follow-up"},
                "pool": "default", "priority": 1, "max_attempts": 3, "timeout_seconds": 60, "delay_seconds": 0,
                "pending": false}'),
            (3, 'its first run', 'running', 7, 2, 1, null),
            (4, 'another run', 'running', 8, 1, 1, null),
            (5, 'due', 'scheduled', null, null, 0, null),
            (6, 'due again', 'retryable', null, null, 1, null),
            (7, 'parked', 'pending', null, null, 0, null)
        ) as start (id, token, state, lease, client, attempt, on_discard)""",
)
"""A start in which every statement has something to do, most of them with the same rows."""
RUNS: Final = (2, 3)
PARKED: Final = 7

Call = Callable[[JobTable, Connection], Awaitable[object]]


async def claim(jobs: JobTable, sql: Connection, number: int) -> object:
    """Claim all that is ready."""
    claimed = (
        await claim_jobs(
            jobs, sql, lease=90 + number, client=f"c{number}", number=number, wanted={"default": 100}, kinds=KINDS
        )
    ).jobs
    return sorted(job.args for job in claimed)


async def end(jobs: JobTable, sql: Connection, outcome: Outcome) -> object:
    """Write how both runs of the silent client ended."""
    runs = [
        Finished(
            Claimed(number, "plain", "{}", None, "default", 1, 1, 3, 60.0, NOW, NOW, NOW, None, "c2", LEASE), outcome
        )
        for number in RUNS
    ]
    return sorted(await jobs.record_outcomes(sql, runs))


async def rescue(jobs: JobTable, sql: Connection) -> object:
    """Declare the silent client dead."""
    return await jobs.rescue_jobs(sql, SILENCE)


async def promote(jobs: JobTable, sql: Connection) -> object:
    """Make available what is due."""
    return (await jobs.promote_due_jobs(sql, 100))[0]


async def insert(jobs: JobTable, sql: Connection, name: str) -> object:
    """Insert two jobs, one for later."""
    news = [to_insert(New(f"{name} now")), to_insert(New(f"{name} later", delay=HOUR))]
    return len((await jobs.insert_jobs(AsyncpgRunner(sql), news, PATIENCE)).ids)


async def beat(jobs: JobTable, sql: Connection) -> object:
    """Beat for the silent client; what it hears of others is a hint only."""
    return (await jobs.beat(sql, SILENT, SILENCE)).alive


FAILED: Final = Outcome("failed", JobState.RETRYABLE, timedelta(hours=1), error='{"attempt": 1, "type": "ValueError"}')
DISCARDED: Final = Outcome("discarded", JobState.DISCARDED, error='{"attempt": 1, "type": "JobDiscard"}')
STATEMENTS: Final[dict[str, Call]] = {
    "claim": lambda jobs, sql: claim(jobs, sql, LIVING),
    "claim of the silent": lambda jobs, sql: claim(jobs, sql, SILENT),
    "complete": lambda jobs, sql: end(jobs, sql, COMPLETED),
    "fail": lambda jobs, sql: end(jobs, sql, FAILED),
    "interrupt": lambda jobs, sql: end(jobs, sql, INTERRUPTED),
    "discard": lambda jobs, sql: end(jobs, sql, DISCARDED),
    "rescue": rescue,
    "release claim": lambda jobs, sql: jobs.release_claim(sql, LEASE),
    "release": lambda jobs, sql: jobs.release_job(sql, PARKED),
    "promote": promote,
    "insert": lambda jobs, sql: insert(jobs, sql, "inserted"),
    "insert more": lambda jobs, sql: insert(jobs, sql, "more"),
    "beat": beat,
    "stop": lambda jobs, sql: jobs.end_client(sql, SILENT),
}

HEALED: Final = [{"claim of the silent", "rescue"}, {"claim of the silent", "stop"}, {"stop", "rescue"}]
"""Pairs after which a run may be left to a client that is gone: it is freed by the next sweep, which is a rescue."""


PASSING: Final = frozenset(("claim", "claim of the silent", "promote", "rescue"))
"""What passes over rows that another holds: those it finds with its next look, if nothing became of that."""


class End(NamedTuple):
    """What two statements have come to."""

    answers: dict[str, object]
    jobs: dict[str, Seen]
    clients: dict[int, str]


@dataclass
class Stage:
    """The connections of one test."""

    schema: str
    jobs: JobTable
    first: Connection
    second: Connection
    watch: Connection
    began: datetime

    async def start(self) -> None:
        """Bring the tables to the start."""
        for each in START:
            await self.watch.execute(each)

    async def end(self, answers: dict[str, object], *, swept: bool) -> End:
        """Read the tables."""
        if swept:
            await self.jobs.rescue_jobs(self.watch, SILENCE)
        tables = await read(self.watch, self.began)
        return End({} if swept else answers, tables.jobs, tables.clients)

    async def serially(self, *names: str, swept: bool) -> End:
        """Run statements one after the other."""
        await self.start()
        answers = {f"{place}": await STATEMENTS[name](self.jobs, self.first) for place, name in _placed(names)}
        return await self.end(answers, swept=swept)

    async def at_once(self, one: str, other: str, *, commit: bool, swept: bool) -> End:
        """Run two, the first in a transaction that ends when the second has finished or waits.

        Where the first is rolled back, only the second counts.
        """
        await self.start()
        transaction = self.first.transaction()
        await transaction.start()
        answers = {"0": await STATEMENTS[one](self.jobs, self.first)}
        running = asyncio.ensure_future(STATEMENTS[other](self.jobs, self.second))
        await until_done_or_blocked(running, self.second, self.watch)
        await (transaction.commit() if commit else transaction.rollback())
        async with asyncio.timeout(PATIENCE):
            answers["1"] = await running
        return await self.end(answers if commit else {"0": answers["1"]}, swept=swept)

    async def look_again(self, name: str) -> End:
        """Run a statement once more; its answers, first and second, don't count."""
        await STATEMENTS[name](self.jobs, self.second)
        return await self.end({}, swept=False)


def _placed(names: tuple[str, ...]) -> list[tuple[int, str]]:
    return list(enumerate(names))


@pytest.fixture
async def stage(database_url: str, schema: str) -> AsyncGenerator[Stage]:
    """Three connections to the test's schema, none of which waits for ever."""
    async with connections(database_url, schema, 3) as (first, second, watch):
        await watch.execute("alter table job alter column id restart with 1000")
        began = await watch.fetchval("select now()")
        yield Stage(schema, Database(database_url, schema).jobs, first, second, watch, began)


@pytest.mark.parametrize("one", STATEMENTS)
async def test_two_statements_end_as_in_some_order(stage: Stage, one: str) -> None:
    """Both answers and both tables, whichever comes first; what was rolled back has not been."""
    await two_end_as_in_some_order(stage, one)


LOCK: Final = "for update skip locked"


async def test_a_claim_that_locks_nothing_is_found(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its lock, two claims get one job, and these pairs show it."""
    assert LOCK in statement("claim_jobs", stage.schema)

    def without_lock(name: str, schema: str) -> str:
        return statement(name, schema).replace(LOCK, "")

    monkeypatch.setattr("workerqueue.database.jobs.statement", without_lock)
    with pytest.raises(AssertionError):
        await two_end_as_in_some_order(stage, "claim")


async def two_end_as_in_some_order(stage: Stage, one: str) -> None:
    """Try one statement with every other, and after it."""
    for other in [each for each in STATEMENTS if not (one == each and each.startswith("insert"))]:
        swept = {one, other} in HEALED
        in_order = await stage.serially(one, other, swept=swept)
        reversed_ = await stage.serially(other, one, swept=swept)
        answers = {"0": reversed_.answers.get("1"), "1": reversed_.answers.get("0")} if not swept else {}
        either = (in_order, reversed_._replace(answers=answers))
        committed = await stage.at_once(one, other, commit=True, swept=swept)
        assert committed in either, f"{one}, {other}"
        alone = await stage.serially(other, swept=swept)
        taken_back = await stage.at_once(one, other, commit=False, swept=swept)
        if other in PASSING and taken_back != alone:
            taken_back, alone = await stage.look_again(other), alone._replace(answers={})
        assert taken_back == alone, f"{one} taken back, {other}"
