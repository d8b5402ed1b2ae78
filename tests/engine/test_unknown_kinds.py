"""Jobs of kinds that nobody here works, and dead entries, at the head of the ready index: they slow no claim."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from time import monotonic

import asyncpg
import pytest

from tests.claiming import claim_jobs
from tests.conftest import MakeClient
from tests.engine.jobs import Work, until_state
from tests.plans import Node, Prepared, prepare
from tests.waiting import PATIENCE, eventually
from workerqueue import InsertOpts, Job, JobState, Workers
from workerqueue.database import Claim, Claimant, Connection, Database, Mark
from workerqueue.database.jobs import JobTable
from workerqueue.engine import marks as module
from workerqueue.engine.marks import SHARE, Marks

PRIORITIES = [-5, 0, 1, 7]
MANY = 20_000
"""Jobs of kinds that nobody works: enough to be seen by the pages that a claim touches, few enough to insert."""

_leases = itertools.count(1)


async def fill(sql: Connection, kind: str, jobs: int, priorities: Sequence[int] = PRIORITIES) -> None:
    """Insert jobs that have been due for an hour, at several priorities."""
    await sql.execute(
        """
        insert into job (kind, priority, scheduled_at)
        select $1, priority, statement_timestamp() - interval '1 hour' + n * interval '1 ms'
        from generate_series(1, $2 / cardinality($3::integer[])) as n, unnest($3::integer[]) as priority
        """,
        kind,
        jobs,
        priorities,
    )


async def add(sql: Connection, priority: int, age: str = "0 s", kind: str = "work") -> int:
    """Insert one job by plain SQL, which tells nobody, and give its id."""
    added: int = await sql.fetchval(
        """
        insert into job (kind, priority, scheduled_at)
        values ($1, $2, statement_timestamp() - $3::text::interval) returning id
        """,
        kind,
        priority,
        age,
    )
    return added


class Looks:
    """Looks at the pool `default` as the producer does, one at a time."""

    def __init__(self, connection: Connection, jobs: JobTable) -> None:
        self.marks = Marks(3600)
        self._connection = connection
        self._jobs = jobs

    async def look(self, wanted: int = 100) -> list[int]:
        """Claim, and learn from it; give the ids."""
        began = monotonic()
        claimed = (
            await claim_jobs(
                self._jobs,
                self._connection,
                lease=next(_leases),
                client="c1",
                number=1,
                wanted={"default": wanted},
                kinds=["work"],
                marks=self.marks.current(),
            )
        ).jobs
        if self.marks.note({"default": wanted}, {"default": claimed}, began):
            asked = monotonic()
            walked = await self._jobs.find_marks(self._connection, pools=["default"], seen_ago=self.marks.seen_ago())
            self.marks.found(walked, asked)
        return [job.id for job in claimed]

    async def until_marked(self) -> None:
        """Look, with nothing to claim, until there are marks: they are not searched for each time."""

        async def is_marked() -> bool:
            assert await self.look() == []
            return set(PRIORITIES) <= {mark.priority for mark in self.marks.current()["default"]}

        await eventually(is_marked)

    async def pages(self, *, with_marks: bool = True, wanted: int = 100) -> int:
        """Count the pages that a claim touches, and claim nothing."""
        transaction = self._connection.transaction()
        await transaction.start()
        plan = await (await self._claim(with_marks, wanted)).run()
        await transaction.rollback()
        return plan.pages

    async def steps(self) -> Sequence[Node]:
        """Give the steps of a claim's plan."""
        return (await (await self._claim(True, 100)).explain()).nodes

    async def _claim(self, with_marks: bool, wanted: int) -> Prepared:
        return await prepare(
            self._connection,
            self._jobs,
            lambda jobs, connection: claim_jobs(
                jobs,
                connection,
                lease=1,
                client="c1",
                number=1,
                wanted={"default": wanted},
                kinds=["work"],
                marks=self.marks.current() if with_marks else None,
            ),
        )


@pytest.fixture
async def looks(door: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Looks]:
    """A connection as the producer has it, on which every look that claims too little counts as slow."""
    monkeypatch.setattr(module, "SLOW", 0.0)
    async with door.dedicated(durable=False) as connection:
        yield Looks(connection, door.jobs)


async def test_jobs_of_unknown_kinds_are_walked_once(looks: Looks, sql: Connection) -> None:
    """At the head of several priorities, with nothing known behind them: the next look touches next to nothing."""
    await fill(sql, "alien", MANY)
    assert await looks.look() == []
    assert await looks.pages() * 10 < await looks.pages(with_marks=False)


async def test_known_jobs_among_unknown_ones_are_claimed_and_the_rest_is_walked_once(
    looks: Looks, sql: Connection
) -> None:
    """Before, between and behind them; looks that got all they wanted move the marks as far as they came."""
    known = [await add(sql, priority, "2 hours") for priority in (1, -9)]
    await fill(sql, "alien", MANY)
    known += [await add(sql, priority) for priority in (0, 3, 9)]
    claimed = [await looks.look(1) for _ in known]
    assert claimed == [[known[1]], [known[2]], [known[0]], [known[3]], [known[4]]]
    await looks.until_marked()
    assert await looks.pages() * 10 < await looks.pages(with_marks=False)


async def test_jobs_that_come_later_are_claimed_in_order(looks: Looks, sql: Connection) -> None:
    """Behind the unknown ones of their priority, between them, and first of all what is more urgent."""
    await fill(sql, "alien", MANY)
    await looks.look()
    came = {priority: await add(sql, priority) for priority in (1, 30, -20, 0, 3)}
    assert await looks.look(3) == [came[-20], came[0], came[1]]
    assert await looks.look() == [came[3], came[30]]


async def test_a_filled_pool_begins_no_further_segment(looks: Looks, sql: Connection) -> None:
    """What lies behind the last job that was wanted is not even looked at."""
    await looks.look()
    await fill(sql, "work", 200, [1])
    assert await looks.look(100) != []
    await fill(sql, "alien", MANY, [5, 6])
    assert await looks.pages(wanted=50) * 2 < await looks.pages(wanted=200)


@pytest.mark.parametrize("jobs", [0, 20, 100, 300, 500, 1000, 3000])
async def test_a_claim_is_planned_to_walk_the_index_however_few_jobs_there_are(
    looks: Looks, sql: Connection, jobs: int
) -> None:
    """Sorting a few jobs may be cheaper, but the plan is kept, and then there are a million."""
    await sql.execute(
        """
        insert into job (kind, pool, priority, state, scheduled_at)
        select 'k' || n % 20, case n % 5 when 0 then 'default' else 'p' || n % 5 end, n % 3,
               case when n % 10 = 0 then 'available' else 'scheduled' end::job_state,
               statement_timestamp() - n * interval '1 s'
        from generate_series(1, $1::integer) as n
        """,
        jobs,
    )
    await sql.execute("analyze job")
    assert {step.type for step in await looks.steps() if "job_ready" in step.indexes} == {"Index Scan"}
    assert {"Bitmap Heap Scan", "Seq Scan"}.isdisjoint(
        step.type for step in await looks.steps() if step.table == "job" and "job_pkey" not in step.indexes
    )


async def test_a_job_that_appears_before_a_mark_is_passed_over_until_a_look_is_asked_for(
    looks: Looks, sql: Connection
) -> None:
    """That is what marks are; so there are rounds."""
    await fill(sql, "alien", MANY)
    await looks.look()
    early = await add(sql, 0, "30 minutes")
    assert await looks.look() == []
    looks.marks.clear()
    assert await looks.look() == [early]


async def test_dead_entries_under_a_held_snapshot_are_walked_once(
    looks: Looks, sql: Connection, database_url: str
) -> None:
    """What was claimed and finished stays in the index while a transaction is open: marks are there for it."""
    async with HeldSnapshot(database_url):
        await fill(sql, "work", MANY)
        while ids := await looks.look(1000):
            await sql.execute("delete from job where id = any($1::bigint[])", ids)
        assert await looks.pages() * 10 < await looks.pages(with_marks=False)
        later = await add(sql, 1)
        assert await looks.look() == [later]


async def test_dead_entries_are_found_by_who_did_not_make_them(
    looks: Looks, sql: Connection, database_url: str
) -> None:
    """A process that starts under a held snapshot finds no live job where they are, only what ANALYZE remembers."""
    async with HeldSnapshot(database_url):
        await fill(sql, "work", MANY)
        await sql.execute("analyze job")
        await sql.execute("delete from job")
        assert await looks.look() == []
        assert await looks.pages() * 10 < await looks.pages(with_marks=False)


class HeldSnapshot:
    """A transaction that is left open: vacuum removes nothing that was alive when it began."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url

    async def __aenter__(self) -> None:
        self._connection = await asyncpg.connect(self._database_url)
        await self._connection.execute("begin isolation level repeatable read")
        await self._connection.execute("create temporary table held ()")  # a snapshot is taken by the first statement

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()


# A working client


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float, int]]:
    """The looks that clients take: when, how long, and how many marks they went by."""
    looks: list[tuple[float, float, int]] = []
    real = JobTable.claim_jobs

    async def watched(
        self: JobTable,
        connection: Connection,
        claimant: Claimant,
        *,
        lease: int,
        wanted: Mapping[str, int],
        marks: Mapping[str, Sequence[Mark]],
    ) -> Claim:
        began = monotonic()
        claimed = await real(self, connection, claimant, lease=lease, wanted=wanted, marks=marks)
        looks.append((began, monotonic() - began, len(marks.get("default", ()))))
        return claimed

    monkeypatch.setattr(JobTable, "claim_jobs", watched)
    monkeypatch.setattr(module, "SLOW", 0.0)
    return looks


def working(ran: Counter[int]) -> Workers:
    """Workers that know one kind."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        ran[job.id] += 1

    return workers


async def test_an_idle_client_walks_them_in_its_share_of_the_time(
    make_client: MakeClient, sql: Connection, seen: list[tuple[float, float, int]]
) -> None:
    """It polls fifty times a second, and walks the unknown jobs only after twenty times what that takes."""
    await fill(sql, "alien", MANY)
    async with make_client(working(Counter()), poll_interval=0.02) as client:
        await client.start()

        async def walked_four_times() -> bool:
            return sum(not marks for _, _, marks in seen) >= 4

        await eventually(
            walked_four_times, within=2 * PATIENCE
        )  # it rests for long after a walk that a stall made long
    walks = [(began, took) for began, took, marks in seen if not marks]
    # The first look of all had nothing to go by.
    for (began, took), (next_began, _) in itertools.pairwise(walks[1:]):
        assert next_began - began > SHARE / 2 * took
    assert len(seen) > 2 * len(walks)


async def test_known_jobs_start_behind_them(make_client: MakeClient, sql: Connection) -> None:
    """Whatever their priority, and whether or not anybody was told of them."""
    ran: Counter[int] = Counter()
    await fill(sql, "alien", MANY)
    async with make_client(working(ran), poll_interval=0.2) as client:
        await client.start()
        for priority in (*PRIORITIES, -20, 3, 50):
            told = await client.insert(Work(), InsertOpts(priority=priority))
            untold = await add(sql, priority)
            for job_id in (told.job.id, untold):
                await until_state(client, job_id, JobState.COMPLETED)
    assert len(ran) == 14
    assert await sql.fetchval("select count(*) from job where kind = 'alien' and attempt = 0") == MANY


async def test_a_job_committed_late_before_a_mark_is_found_by_polling(
    make_client: MakeClient, sql: Connection, pool: asyncpg.Pool, schema: str, seen: list[tuple[float, float, int]]
) -> None:
    """Its transaction began before the marks were made, and nobody is told of its end."""
    async with make_client(working(Counter()), poll_interval=0.2) as client:
        async with pool.acquire() as other, other.transaction():
            await other.execute(f'set local search_path to "{schema}"')
            late = await add(other, 0, "30 minutes")
            await fill(sql, "alien", MANY)
            await client.start()

            async def has_marks() -> bool:
                return bool(seen) and seen[-1][2] >= len(PRIORITIES)

            await eventually(has_marks)
        await until_state(client, late, JobState.COMPLETED)


async def test_a_hint_at_a_job_before_a_mark_finds_it_before_the_poll(
    make_client: MakeClient, sql: Connection, seen: list[tuple[float, float, int]]
) -> None:
    """A look that finds nothing of what was hinted at is followed by one before the marks."""
    ran: Counter[int] = Counter()
    await fill(sql, "alien", MANY)
    past = await sql.fetchval("select statement_timestamp() - interval '30 minutes'")
    async with make_client(working(ran), poll_interval=3600) as client:
        await client.start()

        async def is_idle() -> bool:
            told = await sql.fetchval("select count(*) from idle") == 1
            return told and bool(seen) and seen[-1][2] >= len(PRIORITIES)

        await eventually(is_idle)
        inserted = await client.insert(Work(), InsertOpts(priority=0, scheduled_at=past))
        await until_state(client, inserted.job.id, JobState.COMPLETED)
