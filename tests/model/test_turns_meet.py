"""Statements that meet in one dynamic queue, step by step: no job of it is stranded, and never do two run.

Two or three of them, from every start that the queue may be in, in each way that they can meet. Some of all these
meetings are tried, by `WORKERQUEUE_TEST_SEED`; all of two and many of three with `WORKERQUEUE_TEST_DEPTH=nightly`.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

import pytest

from tests.claiming import claim_jobs
from tests.model.machine import New
from tests.model.meeting import connections, until_done_or_blocked
from tests.model.side_by_side import NIGHTLY, SEED
from tests.model.tables import KINDS, SILENCE, STRICT, to_insert
from tests.waiting import PATIENCE
from workerqueue import JobState
from workerqueue.database import AsyncpgRunner, Claimant, Claimed, Connection, Database, Finished
from workerqueue.database.jobs import JobTable
from workerqueue.database.statements import statement
from workerqueue.errors import DatabaseError
from workerqueue.outcome import COMPLETED, INTERRUPTED, Outcome

NAME: Final = "runs"
LIVING, SILENT, THIRD = 1, 2, 3
LEASE: Final = 7
RUN: Final = 10
"""The job that runs, or did so, by the silent client."""
NOW: Final = datetime.now(UTC)
FAILED: Final = Outcome("failed", JobState.RETRYABLE, error='{"attempt": 1, "type": "ValueError"}')

EMPTY: Final = """
    delete from job; delete from job_finalized; delete from dynamic_queue; delete from client;
    insert into client (number, id, host, pid, pools, kinds, heartbeat_at) overriding system value
    select number, 'c' || number, 'h', 1, '{default}', '{plain,ordered}', now() - ago
    from (values (1, interval '0'), (2, interval '2 hours'), (3, interval '0')) as start (number, ago);
"""
JOB: Final = """
    insert into job (id, kind, queue, state, lease, client, attempt, scheduled_at) overriding system value
    values ({id}, 'plain', 'runs', '{state}', {lease}, {client}, {attempt}, now() - interval '{ago} hours');
"""
TURN: Final = (
    "insert into dynamic_queue (name, jobs, most, waiting, strict) values ('runs', '{jobs}', 1, {waiting}, false);"
)
RUNNING: Final = JOB.format(id=RUN, state="running", lease=LEASE, client=SILENT, attempt=1, ago=5)
LAST_RUN: Final = JOB.format(id=RUN, state="running", lease=LEASE, client=SILENT, attempt=3, ago=5)


def _job(number: int, state: str, ago: int = 0) -> str:
    return JOB.format(id=number, state=state, lease="null", client="null", attempt=0, ago=ago or 40 - number)


def _turn(jobs: str, waiting: bool) -> str:
    return TURN.format(jobs=jobs, waiting=waiting)


DUE: Final = _job(13, "scheduled")
STARTS: Final = {
    "all are new": _job(11, "available") + _job(12, "available") + DUE,
    "one runs": RUNNING + _turn("{10}", False) + DUE,
    "one runs for the last time": LAST_RUN + _turn("{10}", False),
    "one runs, one is new": RUNNING + _job(12, "available") + _turn("{10}", False),
    "one runs, one waits": RUNNING + _job(11, "waiting") + _turn("{10}", True) + DUE,
    "one runs, one waits, one is new": RUNNING + _job(11, "waiting") + _job(12, "available") + _turn("{10}", True),
    "one runs, an earlier one waits, a late one is new": (
        RUNNING + _job(11, "waiting", 9) + _job(12, "available") + _turn("{10}", True)
    ),
    "nobody sees to them": _job(11, "waiting") + _job(12, "waiting") + _turn("{}", True) + DUE,
    "one had its turn": _job(11, "available") + _job(12, "waiting") + _turn("{}", True),
    "an earlier one is new": _job(11, "available") + _job(12, "waiting") + _job(14, "waiting") + _turn("{}", True),
    "the noted one was lost": _job(RUN, "available") + _job(11, "waiting") + _turn("{10}", True),
    "the noted one was lost, alone": _job(RUN, "available") + _turn("{10}", False),
    "the noted one was lost, an earlier one is new": (
        _job(RUN, "available", 5) + _job(11, "available", 9) + _turn("{10}", False)
    ),
    "the noted one is gone": _job(11, "waiting") + _job(12, "available") + _turn("{10}", True),
}
"""What the queue may be like."""
IN_ORDER: Final = {
    f"{name}, in order": start.replace("'plain'", f"'{STRICT[0]}'").replace("false);", "true);")
    for name, start in STARTS.items()
}
"""The same where a job keeps its turn until it is over."""
STILL: Final = ["nobody sees to them", "the noted one is gone"]
"""Where whoever had to see to it has died before; elsewhere, it is enough to do what the answers ask for."""


@dataclass(frozen=True)
class Answer:
    """What a statement asks for."""

    turns: Sequence[str] = ()


Call = Callable[[JobTable, Connection], Awaitable[Answer]]


async def claim(jobs: JobTable, sql: Connection, number: int, room: int) -> Answer:
    """Claim what is ready."""
    claimed = await claim_jobs(
        jobs,
        sql,
        lease=90 + number,
        client=f"c{number}",
        number=number,
        wanted={"default": room},
        kinds=KINDS,
        strict=STRICT,
    )
    return Answer([*claimed.turns])


async def end(
    jobs: JobTable, sql: Connection, outcome: Outcome, job: int = RUN, lease: int = LEASE, number: int | None = None
) -> Answer:
    """Write how a run ended; a client that is given runs the next one."""
    claimed = Claimed(job, "plain", "{}", NAME, "default", 1, 1, 3, 60.0, NOW, NOW, NOW, None, "c2", lease)
    taker = None if number is None else taking_over(number)
    return Answer((await jobs.record_turns(sql, [Finished(claimed, outcome)], taker, lease=70 + (number or 0))).turns)


def taking_over(number: int) -> Claimant:
    """Give a client that can run what has its turn."""
    return Claimant(f"c{number}", number, ["default"], KINDS, plain_pools=["default"], plain_kinds=KINDS)


async def hand_over(jobs: JobTable, sql: Connection, number: int | None) -> Answer:
    """See to the queue's next job: run it here, or let anybody."""
    taker = None if number is None else taking_over(number)
    return Answer((await jobs.hand_over(sql, [NAME], taker, lease=80 + (number or 0))).again)


async def insert(jobs: JobTable, sql: Connection, kind: str) -> Answer:
    """Insert a job that comes before all others."""
    await jobs.insert_jobs(AsyncpgRunner(sql), [to_insert(New("urgent", kind, queue=NAME, priority=0))], PATIENCE)
    return Answer()


async def rescue(jobs: JobTable, sql: Connection) -> Answer:
    """Declare the silent client dead."""
    return Answer((await jobs.rescue_jobs(sql, SILENCE)).turns)


async def release_claim(jobs: JobTable, sql: Connection) -> Answer:
    """Put back what the silent client has claimed."""
    return Answer((await jobs.release_claim(sql, LEASE))[1])


async def promote(jobs: JobTable, sql: Connection) -> Answer:
    """Make available what is due."""
    await jobs.promote_due_jobs(sql, 100)
    return Answer()


async def sweep(jobs: JobTable, sql: Connection) -> Answer:
    """See to what stands still."""
    return Answer((await jobs.hand_over(sql, await jobs.list_turns(sql, 10))).again)


STATEMENTS: Final[dict[str, Call]] = {
    "claim one": lambda jobs, sql: claim(jobs, sql, LIVING, 1),
    "claim all": lambda jobs, sql: claim(jobs, sql, THIRD, 100),
    "complete": lambda jobs, sql: end(jobs, sql, COMPLETED),
    "complete and go on": lambda jobs, sql: end(jobs, sql, COMPLETED, number=LIVING),
    "fail": lambda jobs, sql: end(jobs, sql, FAILED),
    "fail and go on": lambda jobs, sql: end(jobs, sql, FAILED, number=LIVING),
    "interrupt": lambda jobs, sql: end(jobs, sql, INTERRUPTED),
    "rescue": rescue,
    "release claim": release_claim,
    "hand over here": lambda jobs, sql: hand_over(jobs, sql, LIVING),
    "hand over there": lambda jobs, sql: hand_over(jobs, sql, THIRD),
    "hand over": lambda jobs, sql: hand_over(jobs, sql, None),
    "insert": lambda jobs, sql: insert(jobs, sql, "plain"),
    "insert in order": lambda jobs, sql: insert(jobs, sql, STRICT[0]),
    "promote": promote,
}

GATES: Final = {
    "the queue is held": "select from dynamic_queue where name = 'runs' for update",
    "the queue is claimed": """
        insert into dynamic_queue (name, jobs, most, waiting) values ('runs', '{}', 1, true) on conflict do nothing
    """,
    "the run is held": "select from job where id = 10 for update",
}
"""What keeps all statements waiting that come to it, each with what it has seen until then."""
WAYS: Final = ["the first commits", "the first is taken back", *GATES]


PASSED: Final = """
    select held.id
    from dynamic_queue
    join job as held on held.id = any (dynamic_queue.jobs) and held.state <> 'running'
    join job as other on other.queue = dynamic_queue.name and other.state = 'running'
    where dynamic_queue.strict
"""
"""What should have held up a run in strict order."""


class Meeting(NamedTuple):
    """Which statements meet, and how."""

    start: str
    way: str
    names: tuple[str, ...]


@dataclass
class Stage:
    """The connections of one test."""

    jobs: JobTable
    watch: Connection
    gate: Connection
    each: list[Connection]

    async def meet(self, meeting: Meeting) -> None:
        """Let statements meet, and see all jobs of the queue run afterwards, one after the other."""
        await self.watch.execute(EMPTY + (STARTS | IN_ORDER)[meeting.start])
        running = await self._let_meet(meeting)
        async with asyncio.timeout(PATIENCE):
            answers = await asyncio.gather(*running)
        await self._runs_at_most_one()
        turns = {name for answer in answers for name in answer.turns}
        await self._see_to(turns)
        if meeting.start.removesuffix(", in order") in STILL:
            await self._see_to(await self.jobs.list_turns(self.watch, 10))
        await self._drain()

    async def _let_meet(self, meeting: Meeting) -> list[asyncio.Future[Answer]]:
        calls = [STATEMENTS[name] for name in meeting.names]
        gate, began = self.gate.transaction(), list[asyncio.Future[Answer]]()
        await gate.start()
        if meeting.way in GATES:
            await self.gate.execute(GATES[meeting.way])
        else:
            first = asyncio.get_running_loop().create_future()
            first.set_result(await calls.pop(0)(self.jobs, self.gate))
            began += [first] if meeting.way == "the first commits" else []
        for call, connection in zip(calls, self.each, strict=False):
            began.append(asyncio.ensure_future(call(self.jobs, connection)))
            await until_done_or_blocked(began[-1], connection, self.watch)
        await (gate.commit() if meeting.way == "the first commits" else gate.rollback())
        return began

    async def _drain(self) -> None:
        """Run what is there until nothing is left, going by the answers alone."""
        await promote(self.jobs, self.watch)
        for _ in range(20):
            await self._see_to((await claim(self.jobs, self.watch, LIVING, 100)).turns, taking_over(LIVING))
            run = await self._runs_at_most_one()
            if run is None:
                break
            await self._see_to((await end(self.jobs, self.watch, COMPLETED, *run)).turns)
        left = await self.watch.fetch("select id, state from job")
        assert not left, f"stranded: {left}"
        assert not await self.watch.fetch("select from dynamic_queue"), "an empty queue has no row"

    async def _see_to(self, names: Iterable[str], taker: Claimant | None = None) -> None:
        if names := [*names]:
            again = (await self.jobs.hand_over(self.watch, names, taker, lease=60)).again
            assert not again, "nothing runs beside"
        await self._runs_at_most_one()

    async def _runs_at_most_one(self) -> tuple[int, int] | None:
        runs = await self.watch.fetch("select id, lease from job where state = 'running'")
        assert len(runs) <= 1, f"at once: {runs}"
        passed = await self.watch.fetch(PASSED)
        assert not passed, f"held up by {passed}"
        return (runs[0]["id"], runs[0]["lease"]) if runs else None


@pytest.fixture
async def stage(database_url: str, schema: str) -> AsyncGenerator[Stage]:
    """Connections to the test's schema."""
    async with connections(database_url, schema, 5) as (watch, gate, *each):
        await watch.execute("alter table job alter column id restart with 1000")
        yield Stage(Database(database_url, schema).jobs, watch, gate, each)


def some(count: int, start: str, size: int) -> list[Meeting]:
    """Choose some meetings of so many statements."""
    every = [Meeting(start, way, names) for way in WAYS for names in itertools.product(STATEMENTS, repeat=size)]
    chosen = random.Random(f"{SEED} {start} {size}")  # noqa: S311
    return chosen.sample(every, min(count, len(every)))


@pytest.mark.timeout(0 if NIGHTLY else 60)
@pytest.mark.parametrize("start", STARTS | IN_ORDER)
async def test_no_job_is_stranded_and_never_do_two_run(stage: Stage, start: str) -> None:
    """Whichever statements meet, and whatever of them is taken back; a sweep is needed for what stood still before."""
    print(f"WORKERQUEUE_TEST_SEED={SEED}")  # pytest shows it where the test fails
    pairs, threes = (1_000, 2_000) if NIGHTLY else (20, 10)
    for meeting in [*some(pairs, start, 2), *some(threes, start, 3)]:
        try:
            await stage.meet(meeting)
        except AssertionError as error:
            raise AssertionError(f"{meeting}") from error


async def one_is_found(stage: Stage, starts: Iterable[str], names: Sequence[str]) -> None:
    """Let some statements meet in every way, in any order, and each with itself."""
    for start, way, some_of_them in itertools.product(starts, WAYS, itertools.product(names, repeat=len(names))):
        await stage.meet(Meeting(start, way, some_of_them))


RACES: Final = {
    "a look that trusts what it saw": ("hand_over", " and seen.place = held.place", "", ["hand over", "claim all"]),
    "a look that locks no queue": (
        "hand_over",
        "order by name\n    for update",
        "order by name",
        ["hand over here", "claim all"],
    ),
    "an end that trusts what it saw": (
        "record_turns",
        " and seen.place = turn.place",
        "",
        ["complete and go on", "insert", "claim all"],
    ),
    "an end that locks no queue": (
        "record_turns",
        "order by name  -- as claims do\n    for update",
        "",
        ["complete", "claim all"],
    ),
}
"""Statement, what it says, what it says instead, and which statements must meet so that it shows."""


@pytest.mark.parametrize(("name", "right", "wrong", "names"), RACES.values(), ids=RACES.keys())
async def test_a_race_is_found(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str, right: str, wrong: str, names: list[str]
) -> None:
    """Without a lock, or without a second look at what was locked, jobs are stranded or run at once."""
    assert right in statement(name, stage.jobs.schema)

    def with_race(each: str, schema: str) -> str:
        text = statement(each, schema)
        return text.replace(right, wrong) if each == name else text

    monkeypatch.setattr("workerqueue.database.jobs.statement", with_race)
    with pytest.raises((AssertionError, DatabaseError)):
        await one_is_found(stage, STARTS, names)
