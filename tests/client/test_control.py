"""Jobs handled by hand: what each call does from each state, what it refuses, and who wins where two meet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Literal, cast
from uuid import uuid4

import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import until_none_live, until_state, within
from tests.waiting import eventually
from workerqueue import (
    ArgsError,
    Client,
    Config,
    ConfigError,
    ControlResult,
    Fixed,
    InsertOpts,
    Job,
    JobArgs,
    JobDiscard,
    JobPage,
    JobState,
    NotInTransactionError,
    OptionError,
    TaskConfig,
    Workers,
)
from workerqueue.database import Connection
from workerqueue.options import Payload

HOUR = timedelta(hours=1)
NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001 - the mistake to refuse


class Step(JobArgs):
    run: int = 0
    n: int = 0

    @classmethod
    def kind(cls) -> str:
        return "step"


class Sad(JobArgs):
    @classmethod
    def kind(cls) -> str:
        return "sad"


class Desk:
    """Works steps, each until it is let go."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.ended: list[int] = []
        self.cancelled: list[int] = []
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.workers = Workers()

        @self.workers.worker
        async def step(job: Job[Step]) -> None:
            self.started.append(job.id)
            self.begun.set()
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.cancelled.append(job.id)
                raise
            self.ended.append(job.id)

        @self.workers.worker
        async def sad(job: Job[Sad]) -> None:
            raise JobDiscard("sad")


def the_same(args: Step) -> str:
    """Give every step one dynamic queue."""
    del args
    return "q"


Result = ControlResult[Payload]


def said(result: Result) -> tuple[bool, str | None, str | None]:
    """Give what a call answered, without the job."""
    return result.ok, result.state, result.reason


STATES = ["available", "scheduled", "pending", "retryable", "waiting", "running", "completed", "cancelled", "discarded"]

CALLS: dict[str, Callable[[Client, int], Awaitable[Result]]] = {
    "cancel": lambda client, job: client.jobs.cancel(job),
    "request": lambda client, job: client.jobs.cancel(job, running="request"),
    "retry": lambda client, job: client.jobs.retry(job),
    "delete": lambda client, job: client.jobs.delete(job),
    "release": lambda client, job: client.jobs.release(job),
    "complete": lambda client, job: client.jobs.complete(job, {"by": "hand"}),
    "fail": lambda client, job: client.jobs.fail(job, "by hand"),
    "update": lambda client, job: client.jobs.update(job, priority=7),
    "tag": lambda client, job: client.jobs.update(job, tags=["x"]),
}

WAITING = {each: each for each in ("available", "scheduled", "pending", "retryable")} | {"waiting": "pending"}
ENDED = {"completed": "completed", "cancelled": "cancelled", "discarded": "discarded"}
RUNNING = {"running": "running"}

# What the state is after each call, by the state before; what is missing is refused with that state.
AFTER: dict[str, dict[str, str]] = {
    "cancel": dict.fromkeys(WAITING, "cancelled"),
    "request": dict.fromkeys(WAITING, "cancelled") | RUNNING,
    "retry": dict.fromkeys([*WAITING, *ENDED], "available") | {"waiting": "pending"},
    "delete": dict.fromkeys([*WAITING, *ENDED], "gone"),
    "release": {"pending": "available"},
    "complete": dict.fromkeys([*WAITING, *RUNNING], "completed"),
    "fail": dict.fromkeys([*WAITING, *RUNNING], "retryable"),
    "update": WAITING,
    "tag": WAITING | RUNNING,
}


async def in_state(sql: Connection, state: str) -> int:
    """Make a job in some state, and give its id."""
    if state in ENDED:
        ended: int = await sql.fetchval(
            """
            insert into job_finalized (
                id, kind, pool, state, priority, attempt, max_attempts, timeout_seconds, created_at, scheduled_at, args
            )
            values (1000000, 'step', 'default', $1::text::job_state, 1, 3, 3, 60, now(), now(), '{}')
            returning id
            """,
            state,
        )
        return ended
    live: int = await sql.fetchval(
        """
        insert into job (kind, state, queue, lease, client, scheduled_at)
        values ('step', $1::text::job_state, $2, $3::bigint, $3::bigint::integer, now() + $4::interval)
        returning id
        """,
        state,
        "q" if state == "waiting" else None,
        7 if state == "running" else None,
        HOUR if state in {"scheduled", "retryable"} else timedelta(),
    )
    return live


async def rows(sql: Connection) -> list[str]:
    """Give all that is stored of jobs."""
    found = await sql.fetch("select job::text as row from job union all select job_finalized::text from job_finalized")
    return [row["row"] for row in found]


@pytest.mark.req("A13", "A27", "D11", "D12")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("state", STATES)
async def test_every_call_from_every_state(make_client: MakeClient, sql: Connection, call: str, state: str) -> None:
    """It does what it says, or answers with the state that forbids it and changes nothing."""
    client = make_client(Desk().workers)
    job = await in_state(sql, state)
    before = await rows(sql)
    result = await CALLS[call](client, job)
    shown = "pending" if state == "waiting" else state
    expected = AFTER[call].get(state)
    found = await client.jobs.get(job)
    if expected is None:
        assert said(result) == (False, shown, shown)
        assert await rows(sql) == before
    elif expected == "gone":
        assert said(result) == (True, shown, None)
        assert found is None
    else:
        assert said(result) == (True, expected, None)
        assert found is not None
        assert found.state == expected
        assert result.job == found
    assert (await client.stats()).total.live == (await sql.fetchval("select count(*) from job"))


@pytest.mark.req("A27")
@pytest.mark.parametrize("call", CALLS)
async def test_what_is_not_there_is_said(make_client: MakeClient, call: str) -> None:
    """By an id that there is none of, one that no job can have, and a key that nobody has."""
    client = make_client()
    for job in (404, 2**70):
        assert said(await CALLS[call](client, job)) == (False, None, "not_found")
    assert said(await client.jobs.cancel("nobody's")) == (False, None, "not_found")


@pytest.mark.req("A25")
async def test_a_job_is_named_by_its_key_and_frees_it(make_client: MakeClient, sql: Connection) -> None:
    """ZodWorker's dequeue by key, in the caller's own transaction: undone with it."""
    client = make_client()
    opts = InsertOpts(job_key="k", scheduled_at=HOUR)
    first = await client.insert(Step(), opts)
    with suppress(LookupError):
        async with client.transaction() as tx:
            assert (await client.jobs.cancel("k", tx=tx)).ok
            raise LookupError
    assert (await client.insert(Step(), opts)).job.id == first.job.id
    async with client.transaction() as tx:
        result = await client.jobs.cancel("k", tx=tx)
    assert said(result) == (True, "cancelled", None)
    second = await client.insert(Step(), opts)
    assert not second.duplicate
    assert (await client.jobs.cancel(second.job)).ok
    async with client._database.acquire() as connection:  # pyright: ignore[reportPrivateUsage] - without a transaction
        with pytest.raises(NotInTransactionError):
            await client.jobs.cancel("k", tx=connection)


@pytest.mark.req("A27")
async def test_a_run_that_is_asked_to_stop_is_cancelled_in_any_process(
    make_client: MakeClient, sql: Connection
) -> None:
    """Within a moment, by a client that does not run it; its own writes are done with."""
    desk = Desk()
    working, asking = make_client(desk.workers), make_client()
    await working.start()
    result = await working.insert(Step())
    await within(desk.begun)
    assert said(await asking.jobs.cancel(result.job.id)) == (False, "running", "running")
    assert said(await asking.jobs.cancel(result.job.id, running="request")) == (True, "running", None)
    job = await until_state(asking, result.job.id, JobState.CANCELLED)
    assert desk.cancelled == [job.id]
    assert (job.attempt, job.errors) == (1, [])


async def test_a_client_that_no_notification_reaches_is_asked_by_its_beat(
    make_client: MakeClient, sql: Connection
) -> None:
    """The flag on the job's row is enough."""
    desk = Desk()
    client = make_client(desk.workers, heartbeat_interval=0.05)
    await client.start()
    result = await client.insert(Step())
    await within(desk.begun)
    await sql.execute("update job set cancel_requested_at = now()")
    await until_state(client, result.job.id, JobState.CANCELLED)
    assert desk.cancelled == [result.job.id]


@pytest.mark.req("A26")
async def test_a_job_is_either_cancelled_or_run(make_client: MakeClient, sql: Connection) -> None:
    """A hundred races of the cancel against the claim: exactly one side wins each, and says so."""
    desk = Desk()
    desk.go.set()
    clients = [make_client(desk.workers) for _ in range(2)]
    for client in clients:
        await client.start()

    async def race(n: int) -> tuple[int, bool]:
        result = await clients[n % 2].insert(Step(n=n))
        if n % 3:
            await asyncio.sleep(0)
        answer = await clients[(n + 1) % 2].jobs.cancel(result.job.id)
        assert answer.reason in {None, "running", "completed"}
        return result.job.id, answer.ok

    answers = await asyncio.gather(*[race(n) for n in range(100)])
    await until_none_live(sql)
    cancelled = {job for job, ok in answers if ok}
    assert set(desk.started) == {job for job, ok in answers if not ok}
    assert {row["id"] for row in await sql.fetch("select id from job_finalized where state = 'cancelled'")} == cancelled


@pytest.mark.req("D11")
@pytest.mark.parametrize("call", ["complete", "fail"])
async def test_a_run_under_way_is_stale_when_its_job_was_ended_by_hand(
    make_client: MakeClient, sql: Connection, call: str
) -> None:
    """What its worker makes of it later is refused by its lease."""
    desk = Desk()
    client = make_client(desk.workers)
    stale = asyncio.Event()
    client.events.add(lambda event: stale.set() if event.type == "stale" else None)
    await client.start()
    result = await client.insert(Step(), InsertOpts(max_attempts=1))
    await within(desk.begun)
    answer = await CALLS[call](client, result.job.id)
    desk.go.set()
    await within(stale)
    job = await client.jobs.get(result.job.id)
    assert job is not None
    assert job.state is (JobState.COMPLETED if call == "complete" else JobState.DISCARDED)
    assert answer.state is job.state
    assert job.output == ({"by": "hand"} if call == "complete" else None)


@pytest.mark.req("D12")
async def test_a_failure_by_hand_goes_by_the_jobs_own_rules(make_client: MakeClient, sql: Connection) -> None:
    """Its policy says when it comes again, the last one discards it, and its follow-up is inserted with that."""
    client = make_client(Desk().workers)
    result = await client.insert(Step(), InsertOpts(max_attempts=2, retry=Fixed(600), on_discard=Step(n=99)))
    first = await client.jobs.fail(result.job.id, ValueError("first"))
    assert first.job is not None
    assert (first.job.attempt, first.state) == (1, JobState.RETRYABLE)
    due = first.job.scheduled_at - datetime.now(UTC)
    assert timedelta(seconds=590) < due < timedelta(seconds=610)
    last = await client.jobs.fail(result.job.id, "last")
    assert last.job is not None
    assert (last.state, [(each.attempt, each.type, each.error) for each in last.job.errors]) == (
        JobState.DISCARDED,
        [(1, "ValueError", "first"), (2, "FailedByHandError", "last")],
    )
    assert await sql.fetchval("select args ->> 'n' from job") == "99"


@pytest.mark.req("B52")
async def test_dead_letters_are_listed_and_put_back(make_client: MakeClient, sql: Connection) -> None:
    """One by one and many at once, with their history; each has one more attempt."""
    desk = Desk()
    client = make_client(desk.workers)
    await client.insert_many([Sad() for _ in range(1_200)])
    await client.start()
    await until_none_live(sql)
    await client.stop()
    page = await client.jobs.list(states=[JobState.DISCARDED], limit=1_000)
    assert (len(page.jobs), page.next_cursor is not None) == (1_000, True)
    assert page.jobs[0].errors[0].type == "JobDiscard"
    one = await client.jobs.retry(page.jobs[0].id)
    assert one.job is not None
    assert (one.job.attempt, one.job.max_attempts, len(one.job.errors)) == (1, 3, 1)
    assert await client.jobs.retry_many(states=["discarded"], kinds=["sad"]) == 1_199
    stats = await client.stats()
    assert (stats.total.available, stats.total.discarded) == (1_200, 0)
    assert await client.jobs.cancel_many(kinds=["sad"]) == 1_200
    assert await client.jobs.delete_many(states=["cancelled"]) == 1_200
    assert (await client.stats()).total.live + (await client.stats()).total.cancelled == 0


async def test_pages_hold_every_job_once_newest_first(make_client: MakeClient, sql: Connection) -> None:
    """Also where all were inserted at the same instant, live and finalized mixed; filters narrow it."""
    client = make_client(strict=False)
    made = await client.insert_many(
        [(Step(n=n), InsertOpts(tags=[f"t{n % 3}"], dynamic_queue=f"q{n % 2}")) for n in range(95)]
    )
    ids = [each.job.id for each in made]
    await client.jobs.cancel_many(ids=ids[10:30])
    seen: list[int] = []
    cursor: str | None = None
    while True:
        page: JobPage[Payload] = await client.jobs.list(limit=10, cursor=cursor)
        seen += [job.id for job in page.jobs]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == ids[::-1]

    async def found(**which: object) -> int:
        return len((await client.jobs.list(limit=1_000, **which)).jobs)  # type: ignore[arg-type]  # cases of a table

    assert await found(states=["cancelled"]) == 20
    assert await found(tags=["t0"]) == 32
    assert await found(queues=["q0"]) == 48
    assert await found(pools=["default"]) == 95
    assert await found(kinds=["none"]) == await found(ids=[]) == 0
    assert await found(created_after=datetime.now(UTC) + HOUR) == 0
    assert await found(created_before=datetime.now(UTC) + HOUR) == 95


async def test_a_change_is_checked_as_an_insert_is(make_client: MakeClient, sql: Connection) -> None:
    """And what it makes of the job is there for its worker."""
    client = make_client(Desk().workers)
    job = (await client.insert(Step(), InsertOpts(scheduled_at=HOUR))).job.id
    changed = await client.jobs.update(
        job,
        priority=9,
        max_attempts=7,
        timeout=5,
        tags=["a"],
        metadata={"b": 1},
        args=Step(run=4, n=5),
        scheduled_at=60,
    )
    found = changed.job
    assert found is not None
    assert (found.priority, found.max_attempts, found.timeout, found.tags) == (9, 7, timedelta(seconds=5), ["a"])
    assert (found.metadata, found.args, found.state) == ({"b": 1}, Step(run=4, n=5), JobState.SCHEDULED)
    now = await client.jobs.update(job, scheduled_at=0, args={"run": 6}, tags=[], metadata={})
    assert now.job is not None
    assert (now.state, now.job.args, now.job.tags, now.job.metadata) == (JobState.AVAILABLE, Step(run=6), [], {})
    later = await client.jobs.update(job, scheduled_at=datetime.now(UTC) + HOUR)
    assert later.state is JobState.SCHEDULED


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"priority": 40_000}, OptionError, "priority: expected an integer"),
        ({"max_attempts": 0}, OptionError, "max_attempts: expected an integer"),
        ({"timeout": 0}, OptionError, "timeout: expected a duration"),
        ({"scheduled_at": NAIVE}, OptionError, "aware datetime"),
        ({"tags": [""]}, ArgsError, "tags"),
        ({"metadata": {"a": "\0"}}, ArgsError, "metadata.a"),
        ({"args": Sad()}, ArgsError, "expected those of a 'step'"),
        ({"args": {"run": "x"}}, ArgsError, "args.run"),
    ],
)
async def test_a_change_that_cant_be_is_refused(
    make_client: MakeClient, changes: dict[str, object], error: type[Exception], said: str
) -> None:
    """With the option or the path; nothing changes."""
    client = make_client(Desk().workers)
    job = (await client.insert(Step())).job
    with pytest.raises(error, match=said):
        await client.jobs.update(job.id, **changes)  # type: ignore[arg-type]  # cases of a table
    assert await client.jobs.get(job.id) == job


WRONG: dict[str, tuple[Callable[[Client], Awaitable[object]], str]] = {
    "no jobs": (lambda client: client.jobs.list(limit=0), "limit: expected 1 to 1000"),
    "too many": (lambda client: client.jobs.list(limit=1_001), "limit: expected 1 to 1000"),
    "a cursor of one's own": (lambda client: client.jobs.list(cursor="x"), "cursor: expected the next_cursor"),
    "no such state": (lambda client: client.jobs.list(states=["done"]), "states: no state 'done'"),
    "a name alone": (lambda client: client.jobs.list(kinds="step"), "kinds: expected a collection"),
    "a naive time": (lambda client: client.jobs.list(created_after=NAIVE), "aware datetime"),
    "cancel whatever": (lambda client: client.jobs.cancel_many(), "nothing says which jobs"),
    "delete whatever": (lambda client: client.jobs.delete_many(), "nothing says which jobs"),
    "another word": (
        lambda client: client.jobs.cancel(1, running=cast("Literal['refuse']", "kill")),
        "running: expected 'refuse' or 'request'",
    ),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_asked_wrongly_is_refused(make_client: MakeClient, case: str) -> None:
    """Before anything is looked at."""
    call, said = WRONG[case]
    with pytest.raises(ConfigError, match=said):
        await call(make_client())


@pytest.mark.parametrize("call", ["cancel", "delete", "complete", "fail"])
@pytest.mark.parametrize("order", ["relaxed", "strict"])
async def test_the_next_of_a_dynamic_queue_has_its_turn_when_one_is_handled_by_hand(
    make_client: MakeClient, sql: Connection, call: str, order: str
) -> None:
    """Whichever is taken away, those that wait in its queue are run, in order, and nothing is left of the name."""
    desk = Desk()
    task = TaskConfig(
        dynamic_queue=the_same, dynamic_order="strict" if order == "strict" else "relaxed", max_attempts=1
    )
    client = make_client(desk.workers, config=Config(tasks={"step": task}))
    jobs = [(await client.insert(Step(n=n))).job.id for n in range(5)]
    await client.start()
    await within(desk.begun)
    result = await CALLS[call](client, jobs[2])
    assert result.ok
    if call in {"complete", "fail"}:
        await CALLS[call](client, jobs[0])
    desk.go.set()
    await until_none_live(sql)
    assert desk.started == [jobs[0], jobs[1], jobs[3], jobs[4]]

    async def nothing_is_left() -> bool:
        left: int = await sql.fetchval("select count(*) from dynamic_queue")
        return left == 0

    await eventually(nothing_is_left)


async def test_a_job_put_back_beside_the_one_that_has_its_key_by_now(make_client: MakeClient, sql: Connection) -> None:
    """It runs without the key; the other one keeps it."""
    client = make_client(strict=False)
    opts = InsertOpts(job_key="k", insert_id=uuid4())
    first = await client.insert(Step(), opts)
    await client.jobs.cancel("k")
    second = await client.insert(Step(), InsertOpts(job_key="k"))
    assert (await client.jobs.retry(first.job.id)).ok
    found = await client.jobs.get("k")
    assert found is not None
    assert found.id == second.job.id
