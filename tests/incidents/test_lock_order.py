"""Statements that lock the same rows in different orders: the nearest to hatchet#3864, #4364, #4139 that was found.

What those three were about is not known here. Of the same program #2190, #2201, #3776 and #4567 each gave an order to
one more pair of statements that users had seen in a deadlock.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from typing import Final, TypeVar
from uuid import UUID

import asyncpg
import pytest

from tests.claiming import claim_jobs, hand_over, record
from tests.conftest import MakeClient
from tests.engine.jobs import Work
from workerqueue import InsertOpts, JobState
from workerqueue.database import Claimed, ClientRow, Connection, Database, Finished
from workerqueue.database.statements import statement
from workerqueue.errors import DatabaseError
from workerqueue.outcome import COMPLETED, INTERRUPTED, Outcome

T = TypeVar("T")

ROUNDS: Final = 20
JOBS: Final = 160
LEASES: Final = 4
AT_ONCE: Final = 3
"""Sessions that do the same: the one whose answer was lost is still at it when the next one begins."""

LIVING: Final = 1
LOST: Final = 2
"""The number of a client that is declared dead while its runs end."""

NAMES: Final = ["a", "b", "c"]
"""Of dynamic queues."""

WAITS_FOR_NOBODY: Final = "for update skip locked"

OUTCOMES: Final = (
    COMPLETED,
    INTERRUPTED,
    Outcome("failed", JobState.RETRYABLE),
    Outcome("cancelled", JobState.CANCELLED),
)


class Crowd:
    """Sessions that do at once, over the same rows, all that clients do to jobs in hand."""

    def __init__(
        self, database: Database, sql: Connection, sessions: Sequence[Connection], chance: random.Random
    ) -> None:
        self._jobs = database.jobs
        self._sql = sql
        self._sessions = list(sessions)
        self._chance = chance

    async def meet_often(self, times: int, *, names: Sequence[str] = ()) -> None:
        """Do so again and again."""
        for _ in range(times):
            await self.meet(names)

    async def meet(self, names: Sequence[str]) -> None:
        """Have every job claimed; then end, release, rescue, promote, hand over and claim them, all at once."""
        await self._sql.execute("truncate job, job_finalized, dynamic_queue")
        await self._sql.execute(
            """
            insert into job (kind, queue)
            select 'work', ($2::text[])[n % nullif(cardinality($2::text[]), 0) + 1]
            from generate_series(1, $1::integer) as n
            """,
            JOBS,
            names,
        )
        await self._sql.execute("update client set heartbeat_at = now(), ended_at = null, ended_as = null")
        ended, dying, lost, released = [
            await self._claim(lease, number) for lease, number in enumerate((LIVING, LOST, LOST, LIVING), 1)
        ]
        await self._sql.execute("update client set heartbeat_at = now() - interval '1 day' where number > 1")
        runs = [Finished(job, OUTCOMES[job.id % len(OUTCOMES)]) for job in (*ended, *dying)]
        sessions = iter(self._chance.sample(self._sessions, len(self._sessions)))
        accepted: Counter[int] = Counter()
        async with asyncio.TaskGroup() as crowd:
            for _ in range(AT_ONCE):
                crowd.create_task(self._end(next(sessions), self._shuffled(runs), accepted))
                crowd.create_task(self._jobs.release_claim(next(sessions), released[0].lease))
                crowd.create_task(self._jobs.rescue_jobs(next(sessions), 3600.0))
                crowd.create_task(self._jobs.promote_due_jobs(next(sessions), JOBS))
                crowd.create_task(self._hand_over(next(sessions), self._shuffled(names)))
            crowd.create_task(self._claim(LEASES + 1, LIVING, next(sessions)))
        assert accepted <= Counter(run.job.id for run in runs)
        assert accepted >= Counter(job.id for job in ended)
        assert await self._sql.fetchval("select count(*) from job where lease = $1", lost[0].lease) == 0
        there = await self._sql.fetch("select id from job union all select id from job_finalized")
        assert len({row["id"] for row in there}) == len(there) == JOBS

    async def _claim(self, lease: int, number: int, session: Connection | None = None) -> list[Claimed]:
        claim = await claim_jobs(
            self._jobs,
            session or self._sql,
            lease=lease,
            client=f"c{number}",
            number=number,
            wanted={"default": JOBS // LEASES},
            kinds=["work"],
            limits={"work": JOBS},
        )
        return claim.jobs

    async def _end(self, session: Connection, runs: Sequence[Finished], accepted: Counter[int]) -> None:
        for begin in range(0, len(runs), 40):
            batch = runs[begin : begin + 40]
            recorded = await record(
                self._jobs,
                session,
                batch,
                lease=LEASES + 2,
                client=f"c{LIVING}",
                number=LIVING,
                pools=["default"],
                kinds=["work"],
            )
            accepted.update(recorded.accepted)

    async def _hand_over(self, session: Connection, names: Sequence[str]) -> None:
        await hand_over(
            self._jobs,
            session,
            names,
            lease=LEASES + 3,
            client=f"c{LIVING}",
            number=LIVING,
            pools=["default"],
            kinds=["work"],
        )

    def _shuffled(self, items: Sequence[T]) -> list[T]:
        return self._chance.sample(items, len(items))


@pytest.fixture
async def crowd(door: Database, database_url: str, schema: str, sql: Connection) -> AsyncGenerator[Crowd]:
    """Sessions enough for all, which see a deadlock at once; four of their clients are about to die."""
    for n in range(4):
        await door.jobs.register_client(sql, ClientRow(f"lost{n}", "h", 1, [], []))
    async with AsyncExitStack() as stack:
        settings = {"deadlock_timeout": "10ms"}
        sessions = [await asyncpg.connect(database_url, server_settings=settings) for _ in range(5 * AT_ONCE + 1)]
        for session in sessions:
            stack.push_async_callback(session.close)
        chance = random.Random(36)  # noqa: S311 - to be the same each time, not a secret
        yield Crowd(door, sql, sessions, chance)


async def test_hatchet_3864_what_is_done_at_once_to_the_same_jobs_never_deadlocks(crowd: Crowd) -> None:
    """Outcomes in any order, releases, rescues, promotions and claims: each is answered, and no job is lost."""
    await crowd.meet_often(ROUNDS)


async def test_what_is_done_at_once_to_the_same_dynamic_queues_never_deadlocks(crowd: Crowd) -> None:
    """The same, where each takes its turn by the rows of dynamic queues, too, and ends start others."""
    await crowd.meet_often(ROUNDS, names=NAMES)


async def test_a_lock_order_of_its_own_is_found(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rescue that waits for whoever holds a job, as they wait for it, is seen by the test above."""
    assert WAITS_FOR_NOBODY in statement("rescue_jobs", "s")

    def that_waits(name: str, schema: str) -> str:
        return statement(name, schema).replace(WAITS_FOR_NOBODY, "for update")

    monkeypatch.setattr("workerqueue.database.jobs.statement", that_waits)
    with pytest.raises(ExceptionGroup) as caught:
        await crowd.meet_often(10 * ROUNDS)
    assert caught.group_contains(DatabaseError, match="DeadlockDetected")


async def test_hatchet_4567_the_same_inserts_in_any_order_never_deadlock(
    make_client: MakeClient, sql: Connection
) -> None:
    """Each insert_id is locked until its job is committed; each job is there once."""
    chance = random.Random(36)  # noqa: S311 - to be the same each time, not a secret
    client = make_client()
    inserts = [(Work(n=n), InsertOpts(insert_id=UUID(int=n + 1))) for n in range(100)]
    for _ in range(ROUNDS):
        await sql.execute("truncate job, insert_key")
        await asyncio.gather(*(client.insert_many(chance.sample(inserts, len(inserts))) for _ in range(6)))
        assert await sql.fetchval("select count(*) from job") == len(inserts)
