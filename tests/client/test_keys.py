"""Keys: one live job has one at a time; whatever is inserted under it is that job, replaces it or follows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import uuid4

import pytest
from pydantic import Field

from tests.conftest import MakeClient
from tests.engine.jobs import until_none_live, until_state
from tests.maintenance.history import finalized
from tests.waiting import eventually
from workerqueue import (
    Client,
    Config,
    Debounce,
    InsertOpts,
    Job,
    JobArgs,
    JobState,
    OptionError,
    TaskConfig,
    UniqueOpts,
    Workers,
)
from workerqueue.database import Connection
from workerqueue.errors import ConfigError, JobNotFoundError
from workerqueue.maintenance.keys import prune_keys


class Mail(JobArgs):
    to: str
    n: int = 0
    parts: list[int] = Field(default_factory=list[int])

    @classmethod
    def kind(cls) -> str:
        return "mail"


class Other(JobArgs):
    @classmethod
    def kind(cls) -> str:
        return "other"


Mode = Literal["keep", "replace", "preserve_run_at", "unsafe_dedupe"]
LATER = timedelta(hours=1)


class Desk:
    """Works mails, each when it is let."""

    def __init__(self) -> None:
        self.seen: list[Mail] = []
        self.go = asyncio.Event()
        self.workers = Workers()

        @self.workers.worker
        async def mail(job: Job[Mail]) -> None:
            self.seen.append(job.args)
            await self.go.wait()

    async def works(self) -> None:
        """Wait until one is being worked."""

        async def look() -> bool:
            return bool(self.seen)

        await eventually(look)


async def state_of(client: Client, job: int | str) -> JobState | None:
    """Give a job's state, if there is one."""
    found = await client.jobs.get(job)
    return None if found is None else found.state


@pytest.mark.req("A20", "C23")
async def test_a_second_insert_under_a_key_is_the_job_that_is_there(make_client: MakeClient, sql: Connection) -> None:
    """Unchanged, of whatever kind; keys with colons and of digits alone are keys."""
    client = make_client()
    for key in ("a:b", "42", "ключ", "x" * 512):
        first = await client.insert(Mail(to="a"), InsertOpts(job_key=key))
        second = await client.insert(Mail(to="b"), InsertOpts(job_key=key, priority=9))
        other = await client.insert(Other(), InsertOpts(job_key=key))
        assert (first.duplicate, second.duplicate, other.duplicate) == (False, True, True)
        assert first.job.id == second.job.id == other.job.id
        assert (second.job.args, second.job.priority, other.job.kind) == (Mail(to="a"), 1, "mail")
        found = await client.jobs.get(key)
        assert found is not None
        assert found.id == first.job.id
    assert await sql.fetchval("select count(*) from job") == 4
    assert await client.jobs.get("nobody's") is None
    with pytest.raises(JobNotFoundError, match="nobody's"):
        await client.jobs.wait("nobody's", 1)


async def test_a_key_is_free_when_its_job_has_ended(make_client: MakeClient, sql: Connection) -> None:
    """The next insert has a job of its own; the key finds the live one, and the last one when none is."""
    desk = Desk()
    desk.go.set()
    client = make_client(desk.workers)
    await client.start()
    opts = InsertOpts(job_key="k")
    first = await client.insert(Mail(to="a"), opts)
    assert (await client.jobs.wait("k", 10)).id == first.job.id
    assert (await client.jobs.get("k")) is not None
    second = await client.insert(Mail(to="b"), opts)
    assert (second.duplicate, second.job.id != first.job.id) == (False, True)
    assert (await client.jobs.wait("k", 10)).id == second.job.id
    third = await client.insert(Mail(to="c"), InsertOpts(job_key="k", job_key_mode="unsafe_dedupe"))
    assert (third.duplicate, third.job.id, third.job.state) == (True, second.job.id, JobState.COMPLETED)


@pytest.mark.req("B15")
@pytest.mark.parametrize("mode", ["replace", "preserve_run_at"])
async def test_a_waiting_job_is_replaced(make_client: MakeClient, sql: Connection, mode: Mode) -> None:
    """Args, kind, queue and terms become the new ones, attempts and errors start again; its time as the mode says."""
    client = make_client()
    first = await client.insert(Mail(to="a"), InsertOpts(job_key="k", scheduled_at=LATER, tags=["old"]))
    await sql.execute("update job set attempt = 2, state = 'retryable', errors = '[]', attempted_at = now()")
    sooner = timedelta(minutes=1)
    second = await client.insert(
        Mail(to="b"),
        InsertOpts(job_key="k", job_key_mode=mode, priority=7, max_attempts=9, scheduled_at=sooner, tags=["new"]),
    )
    assert (second.duplicate, second.job.id) == (True, first.job.id)
    job = second.job
    assert (job.args, job.priority, job.max_attempts, job.tags) == (Mail(to="b"), 7, 9, ["new"])
    assert (job.attempt, job.errors, job.attempted_at, job.state) == (0, [], None, JobState.SCHEDULED)
    due = job.scheduled_at - datetime.now(UTC)
    assert (due > timedelta(minutes=30)) == (mode == "preserve_run_at")
    third = await client.insert(Other(), InsertOpts(job_key="k", job_key_mode="replace"))
    assert (third.job.id, third.job.kind, third.job.state) == (first.job.id, "other", JobState.AVAILABLE)


@pytest.mark.parametrize("mode", ["keep", "replace", "preserve_run_at", "unsafe_dedupe"])
async def test_a_running_job_is_kept_or_runs_on_without_its_key(
    make_client: MakeClient, sql: Connection, mode: Mode
) -> None:
    """What would replace it is inserted beside it, and has the key from then on."""
    desk = Desk()
    client = make_client(desk.workers)
    await client.start()
    first = await client.insert(Mail(to="a"), InsertOpts(job_key="k"))
    await desk.works()
    second = await client.insert(Mail(to="b"), InsertOpts(job_key="k", job_key_mode=mode, scheduled_at=LATER))
    assert second.duplicate == (mode in {"keep", "unsafe_dedupe"})
    desk.go.set()
    await until_state(client, first.job.id, JobState.COMPLETED)
    third = await client.insert(Mail(to="c"), InsertOpts(job_key="k", scheduled_at=LATER))
    assert third.duplicate == (mode in {"replace", "preserve_run_at"})
    if third.duplicate:
        assert third.job.id == second.job.id


async def test_a_replaced_job_that_waited_for_its_turn_lets_others_have_it(
    make_client: MakeClient, sql: Connection
) -> None:
    """It leaves its dynamic queue, and runs by its new terms."""
    desk = Desk()
    desk.go.set()
    client = make_client(desk.workers, config=Config(tasks={"mail": TaskConfig(dynamic_queue="to-{to}")}))
    jobs = [await client.insert(Mail(to="a", n=n), InsertOpts(job_key=str(n))) for n in range(5)]
    await client.insert(Mail(to="b", n=9), InsertOpts(job_key="2", job_key_mode="replace"))
    await client.start()
    await until_none_live(sql)
    assert sorted((mail.to, mail.n) for mail in desk.seen) == [("a", 0), ("a", 1), ("a", 3), ("a", 4), ("b", 9)]
    assert len({each.job.id for each in jobs}) == 5


UNIQUE: dict[str, tuple[UniqueOpts, Mail, Mail, bool]] = {
    "a kind": (UniqueOpts(), Mail(to="a"), Mail(to="b"), True),
    "equal args": (UniqueOpts(by_args=True), Mail(to="a", n=1), Mail(to="a", n=1), True),
    "other args": (UniqueOpts(by_args=True), Mail(to="a", n=1), Mail(to="a", n=2), False),
    "equal fields": (UniqueOpts(by_fields=("to",)), Mail(to="a", n=1), Mail(to="a", n=2), True),
    "other fields": (UniqueOpts(by_fields=("to",)), Mail(to="a"), Mail(to="b"), False),
    "a period": (UniqueOpts(by_period=timedelta(days=36_500)), Mail(to="a"), Mail(to="b"), True),
}


@pytest.mark.req("C23")
@pytest.mark.parametrize("case", UNIQUE)
@pytest.mark.parametrize("door", ["call", "table", "class"])
async def test_unique_options_make_jobs_the_same(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, case: str, door: str
) -> None:
    """Given in the call, by the task table or by the class, it is the same."""
    opts, one, two, is_same = UNIQUE[case]
    config = Config(tasks={"mail": TaskConfig(unique=opts)}) if door == "table" else None
    if door == "class":
        monkeypatch.setattr(Mail, "insert_opts", lambda: InsertOpts(unique=opts))
    client = make_client(config=config)
    given = InsertOpts(unique=opts) if door == "call" else None
    first, second = await client.insert(one, given), await client.insert(two, given)
    assert (first.duplicate, second.duplicate) == (False, is_same)
    assert (first.job.id == second.job.id) == is_same


async def test_scope_and_queue_tell_jobs_apart(make_client: MakeClient) -> None:
    """Jobs of other kinds are others unless the scope says otherwise; so are those of other queues, if asked."""
    client = make_client(strict=False)
    everywhere = UniqueOpts(scope="")
    assert not (await client.insert(Mail(to="a"), InsertOpts(unique=everywhere))).duplicate
    assert (await client.insert(Other(), InsertOpts(unique=everywhere))).duplicate
    assert not (await client.insert(Other(), InsertOpts(unique=UniqueOpts()))).duplicate
    by_queue = UniqueOpts(by_queue=True)
    found = [
        (await client.insert(Other(), InsertOpts(unique=by_queue, queue=queue, dynamic_queue=name))).duplicate
        for queue, name in [("a", None), ("b", None), ("a", None), ("a", "d-1"), ("a", "d-2"), ("a", "d-1")]
    ]
    assert found == [False, False, True, False, False, True]


async def test_jobs_of_another_period_do_not_block(make_client: MakeClient, sql: Connection) -> None:
    """The period is a part of the key, by the database's clock."""
    client = make_client()
    opts = InsertOpts(unique=UniqueOpts(by_period=3600))
    await client.insert(Mail(to="a"), opts)
    stored = await sql.fetchval("select key from job_key")
    hour = await sql.fetchval("select floor(extract(epoch from now()) / 3600)::bigint")
    assert stored.endswith(f"\x1f{hour}")
    await sql.execute("update job_key set key = $1", stored.replace(str(hour), str(hour - 1)))
    assert not (await client.insert(Mail(to="a"), opts)).duplicate


async def test_the_states_in_which_a_job_blocks_can_be_chosen(make_client: MakeClient, sql: Connection) -> None:
    """Finished ones too, or not those that run."""
    desk = Desk()
    client = make_client(desk.workers)
    await client.start()
    with_ended = InsertOpts(unique=UniqueOpts(by_state=["available", "running", "completed"]))
    but_running = InsertOpts(unique=UniqueOpts(by_fields=("to",), by_state=["available", "scheduled"]))
    first = await client.insert(Mail(to="a"), with_ended)
    await desk.works()
    second = await client.insert(Mail(to="b"), but_running)

    async def both_run() -> bool:
        return len(desk.seen) == 2

    await eventually(both_run)
    assert not (await client.insert(Mail(to="b"), but_running)).duplicate
    assert (await client.insert(Mail(to="c"), with_ended)).job.id == first.job.id
    desk.go.set()
    await until_state(client, second.job.id, JobState.COMPLETED)
    await until_none_live(sql)
    again = await client.insert(Mail(to="d"), with_ended)
    assert (again.duplicate, again.job.id, again.job.state) == (True, first.job.id, JobState.COMPLETED)


@pytest.mark.req("B6", "B26")
async def test_a_ttl_outlives_the_history_and_ends(make_client: MakeClient, sql: Connection) -> None:
    """Counted from the job's end, by the database's clock; without history the duplicate says what was asked for."""
    desk = Desk()
    desk.go.set()
    client = make_client(desk.workers)
    await client.start()
    opts = InsertOpts(unique=UniqueOpts(ttl=LATER))
    first = await client.insert(Mail(to="a"), opts)
    await until_state(client, first.job.id, JobState.COMPLETED)
    assert (await client.insert(Mail(to="b"), opts)).job.id == first.job.id
    await client.jobs.clean(older_than=0)
    assert await client.jobs.get(first.job.id) is None
    kept = await client.insert(Mail(to="b"), opts)
    assert (kept.duplicate, kept.job.id) == (True, first.job.id)
    database = client._database  # pyright: ignore[reportPrivateUsage] - a chore's own door
    await prune_keys(database)
    assert (await client.insert(Mail(to="b"), opts)).duplicate
    await sql.execute("update job_key set until = now() - interval '1 second'")
    assert not (await client.insert(Mail(to="b"), opts)).duplicate


async def test_keys_of_jobs_that_are_gone_are_forgotten(make_client: MakeClient, sql: Connection) -> None:
    """Not those whose job is live, or in the history, where its key still finds it."""
    client = make_client()
    await client.insert(Mail(to="a"), InsertOpts(job_key="live"))
    ended = (await finalized(sql, ago=timedelta(0)))[0]
    await sql.execute(
        "insert into job_key (key, job) select 'old-' || n, 1000000 + n from generate_series(1, 2500) as n"
    )
    await sql.execute("insert into job_key (key, job) values ('ended', $1), ('none', null)", ended)
    database = client._database  # pyright: ignore[reportPrivateUsage] - a chore's own door
    await prune_keys(database)
    left = [row["key"].rpartition("\x1f")[2] for row in await sql.fetch("select key from job_key order by key")]
    assert left == ["ended", "live"]


@pytest.mark.req("B33")
async def test_every_door_knows_keys(make_client: MakeClient, sql: Connection) -> None:
    """One by one and many, with the caller's transaction and without, and by the kind's name."""
    client = make_client(strict=False)
    opts = InsertOpts(job_key="k")
    first = await client.insert(Mail(to="a"), opts)
    async with client.transaction() as tx:
        assert (await client.insert_tx(tx, Mail(to="b"), opts)).job.id == first.job.id
        many = await client.insert_many_tx(tx, [(Mail(to="b"), opts), Mail(to="c")])
    assert [each.duplicate for each in many] == [True, False]
    many = await client.insert_many([Mail(to="d"), (Mail(to="b"), opts), (Mail(to="e"), InsertOpts(job_key="l"))])
    assert [each.duplicate for each in many] == [False, True, False]
    assert (await client.insert_kind("mail", {"to": "x"}, opts)).duplicate
    assert await sql.fetchval("select count(*) from job") == 4


async def test_one_call_may_have_a_key_twice(make_client: MakeClient, sql: Connection) -> None:
    """As if its jobs were inserted one after the other, each with its result."""
    client = make_client()
    keep, replace = InsertOpts(job_key="k"), InsertOpts(job_key="k", job_key_mode="replace", priority=5)
    results = await client.insert_many([(Mail(to="a"), keep), (Mail(to="b"), keep), (Mail(to="c"), replace)])
    assert [each.duplicate for each in results] == [False, True, True]
    assert len({each.job.id for each in results}) == 1
    row = await sql.fetchrow("select args ->> 'to' as to, priority from job")
    assert row is not None
    assert tuple(row) == ("c", 5)
    many = await client.insert_many([(Mail(to=str(n % 7)), InsertOpts(job_key=f"m{n % 7}")) for n in range(5_000)])
    assert sum(not each.duplicate for each in many) == 7


async def test_an_insert_id_and_a_key_may_come_together(make_client: MakeClient, sql: Connection) -> None:
    """What was inserted under the id is the answer, even when its key is free again."""
    desk = Desk()
    desk.go.set()
    client = make_client(desk.workers)
    await client.start()
    opts = InsertOpts(job_key="k", insert_id=uuid4())
    first = await client.insert(Mail(to="a"), opts)
    await until_state(client, first.job.id, JobState.COMPLETED)
    again = await client.insert(Mail(to="a"), opts)
    assert (again.duplicate, again.job.id) == (True, first.job.id)
    both = await client.insert_many([(Mail(to="a"), opts), (Mail(to="b"), InsertOpts(job_key="k", insert_id=uuid4()))])
    assert [each.duplicate for each in both] == [True, False]


# Meetings


async def test_who_comes_while_the_holder_is_undecided_waits_for_its_end(
    make_client: MakeClient, sql: Connection
) -> None:
    """A rollback makes the one who waited insert (others lost such an insert); a commit makes it a duplicate."""
    client = make_client()
    opts = InsertOpts(job_key="k")

    async def behind(rolls_back: bool) -> tuple[int, bool, int]:
        inserted = asyncio.Event()
        let_go = asyncio.Event()

        async def first() -> int:
            ids: list[int] = []
            with suppress(LookupError):
                async with client.transaction() as tx:
                    ids.append((await client.insert_tx(tx, Mail(to="a"), opts)).job.id)
                    inserted.set()
                    await let_go.wait()
                    if rolls_back:
                        raise LookupError
            return ids[0]

        holding = asyncio.create_task(first())
        await inserted.wait()
        waiting = asyncio.create_task(client.insert(Mail(to="b"), opts))

        async def waits() -> bool:
            return bool(
                await sql.fetchval("select count(*) from pg_locks where not granted and locktype = 'transactionid'")
            )

        await eventually(waits)
        let_go.set()
        result = await waiting
        return await holding, result.duplicate, result.job.id

    first, duplicate, second = await behind(rolls_back=True)
    assert (duplicate, first != second) == (False, True)
    await sql.execute("delete from job")
    first, duplicate, second = await behind(rolls_back=False)
    assert (duplicate, first == second) == (True, True)


@pytest.mark.parametrize("mode", ["keep", "replace"])
async def test_a_hundred_callers_and_the_workers_never_have_two_live_jobs_of_a_key(
    make_client: MakeClient, sql: Connection, other: Connection, mode: Mode
) -> None:
    """Inserts race with claims and completions; each has a result, and what it names was there."""
    done: list[int] = []
    workers = Workers()

    @workers.worker
    async def mail(job: Job[Mail]) -> None:
        done.append(job.id)

    clients = [make_client(workers) for _ in range(2)]
    for client in clients:
        await client.start()
    over = asyncio.Event()
    seen: list[int] = []

    async def audit() -> None:
        while not over.is_set():
            live: int = await other.fetchval(
                "select coalesce(max(jobs), 0) from "
                "(select count(*) as jobs from job where state <> 'running' group by args ->> 'to') as by_key"
            )
            seen.append(live)

    auditing = asyncio.create_task(audit())

    async def call(n: int) -> list[tuple[int, bool]]:
        key = str(n % 5)
        results = [
            await clients[n % 2].insert(Mail(to=key, n=n), InsertOpts(job_key=key, job_key_mode=mode))
            for _ in range(10)
        ]
        return [(each.job.id, each.duplicate) for each in results]

    answers = [each for one in await asyncio.gather(*[call(n) for n in range(100)]) for each in one]
    await until_none_live(sql)
    over.set()
    await auditing
    assert max(seen) <= 1
    made = {job for job, duplicate in answers if not duplicate}
    assert len(made) == sum(not duplicate for _, duplicate in answers)
    assert {job for job, _ in answers} == made
    assert sorted(done) == sorted(made)


async def test_many_in_another_order_do_not_deadlock(make_client: MakeClient, sql: Connection) -> None:
    """Two callers insert the same keys, one from either end."""
    clients = [make_client() for _ in range(2)]
    keys = [f"k{n}" for n in range(3_000)]

    async def insert(client: Client, order: list[str]) -> list[int]:
        results = await client.insert_many([(Mail(to=key), InsertOpts(job_key=key)) for key in order])
        return [each.job.id for each in results]

    for _ in range(3):
        one, two = await asyncio.gather(insert(clients[0], keys), insert(clients[1], keys[::-1]))
        assert one == two[::-1]
    assert await sql.fetchval("select count(*) from job") == 3_000


# Debounce


@pytest.mark.req("A5")
async def test_a_debounced_job_runs_once_with_all_that_was_gathered(make_client: MakeClient, sql: Connection) -> None:
    """Once nothing has come for the window; without `gather` with the newest args alone."""
    desk = Desk()
    desk.go.set()
    client = make_client(desk.workers)
    gather = InsertOpts(job_key="g", debounce=Debounce(0.3, gather="parts"))
    newest = InsertOpts(job_key="n", debounce=Debounce(0.3))
    for n in range(10):
        await client.insert(Mail(to="g", parts=[n]), gather)
        await client.insert(Mail(to="n", parts=[n]), newest)
    assert await sql.fetchval("select count(*) from job") == 2
    await client.start()
    await until_none_live(sql)
    assert {mail.to: mail.parts for mail in desk.seen} == {"g": list(range(10)), "n": [9]}


@pytest.mark.req("A5")
async def test_each_insert_puts_the_job_off_but_not_beyond_its_longest_wait(
    make_client: MakeClient, sql: Connection
) -> None:
    """The window counts from the last insert, the longest wait from the first."""
    client = make_client()
    opts = InsertOpts(job_key="k", debounce=Debounce(60, max_wait=90))
    first = await client.insert(Mail(to="a"), opts)
    assert first.job.state is JobState.SCHEDULED

    async def due_in() -> float:
        return float(await sql.fetchval("select extract(epoch from scheduled_at - created_at) from job"))

    assert 59 < await due_in() < 61
    await sql.execute(
        "update job set created_at = created_at - interval '20 s', scheduled_at = scheduled_at - interval '20 s'"
    )
    await client.insert(Mail(to="b"), opts)
    assert 79 < await due_in() < 81
    await sql.execute(
        "update job set created_at = created_at - interval '20 s', scheduled_at = scheduled_at - interval '20 s'"
    )
    await client.insert(Mail(to="c"), opts)
    assert 89.9 < await due_in() < 90.1


async def test_nothing_is_lost_that_comes_while_the_gathered_job_runs(make_client: MakeClient, sql: Connection) -> None:
    """It makes the next job; every part is worked once, in order."""
    desk = Desk()
    desk.go.set()
    client = make_client(desk.workers)
    await client.start()
    opts = InsertOpts(job_key="k", debounce=Debounce(0.005, max_wait=0.02, gather="parts"))
    for n in range(200):
        await client.insert(Mail(to="a", parts=[n]), opts)
    await until_none_live(sql)
    assert [part for mail in desk.seen for part in mail.parts] == list(range(200))


async def test_what_is_too_much_for_one_job_is_gathered_by_the_next(make_client: MakeClient, sql: Connection) -> None:
    """The full one is due at once; between calls, and within one."""
    client = make_client()
    opts = InsertOpts(job_key="k", debounce=Debounce(60, gather="parts"))
    big = [10**17] * 30_000  # some 600 kB
    await client.insert(Mail(to="a", parts=big), opts)
    second = await client.insert(Mail(to="b", parts=big), opts)
    assert not second.duplicate
    assert [row["state"] for row in await sql.fetch("select state::text from job order by id")] == [
        "available",
        "scheduled",
    ]
    found = await client.jobs.get("k")
    assert found is not None
    assert found.id == second.job.id
    many = await client.insert_many(
        [(Mail(to=key, parts=big), InsertOpts(job_key="m", debounce=Debounce(60, gather="parts"))) for key in "ab"]
    )
    assert [each.duplicate for each in many] == [False, False]


REFUSED: dict[str, tuple[Callable[[], InsertOpts], type[Exception], str]] = {
    "an empty key": (lambda: InsertOpts(job_key=""), OptionError, "job_key: expected text of 1 to 512"),
    "a long key": (lambda: InsertOpts(job_key="x" * 513), OptionError, "job_key: expected text of 1 to 512"),
    "a NUL": (lambda: InsertOpts(job_key="a\0"), OptionError, "job_key: expected text"),
    "half a character": (lambda: InsertOpts(job_key="\ud800"), OptionError, "job_key: expected text"),
    "no such mode": (
        lambda: InsertOpts(job_key="k", job_key_mode="drop"),  # type: ignore[arg-type]  # the mistake to refuse
        OptionError,
        "job_key_mode: expected one of keep, replace",
    ),
    "a mode alone": (lambda: InsertOpts(job_key_mode="replace"), OptionError, "job_key_mode: expected a job_key"),
    "a debounce alone": (lambda: InsertOpts(debounce=Debounce(1)), OptionError, "debounce: expected a job_key"),
    "a debounce that keeps": (
        lambda: InsertOpts(job_key="k", job_key_mode="keep", debounce=Debounce(1)),
        OptionError,
        "a debounce replaces what waits",
    ),
    "a debounce with a time": (
        lambda: InsertOpts(job_key="k", scheduled_at=1, debounce=Debounce(1)),
        OptionError,
        "scheduled_at: expected none beside a debounce",
    ),
    "gathering no list": (
        lambda: InsertOpts(job_key="k", debounce=Debounce(1, gather="to")),
        OptionError,
        "debounce.gather: expected the name of a list",
    ),
    "no window": (lambda: InsertOpts(job_key="k", debounce=Debounce(0)), ConfigError, "window"),
    "a wait below the window": (
        lambda: InsertOpts(debounce=Debounce(2, max_wait=1)),
        ConfigError,
        "at least the window",
    ),
    "no such field": (
        lambda: InsertOpts(unique=UniqueOpts(by_fields=("too",))),
        OptionError,
        "unique.by_fields: the args have no 'too' in their JSON",
    ),
    "no field": (lambda: InsertOpts(unique=UniqueOpts(by_fields=())), ConfigError, "at least one field"),
    "fields and all": (
        lambda: InsertOpts(unique=UniqueOpts(by_args=True, by_fields=("to",))),
        ConfigError,
        "without by_args",
    ),
    "no such state": (lambda: InsertOpts(unique=UniqueOpts(by_state=["done"])), ConfigError, "no state 'done'"),
    "no state": (lambda: InsertOpts(unique=UniqueOpts(by_state=[])), ConfigError, "at least one state"),
    "no such scope": (lambda: InsertOpts(unique=UniqueOpts(scope="user")), ConfigError, "expected 'tenant,kind'"),
    "no period": (lambda: InsertOpts(unique=UniqueOpts(by_period=0)), ConfigError, "by_period"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_cant_be_a_key_is_refused(make_client: MakeClient, sql: Connection, case: str) -> None:
    """With the option's name and what was expected; nothing is inserted."""
    opts, error, said = REFUSED[case]
    with pytest.raises(error, match=said.replace("(", r"\(")):
        await make_client().insert(Mail(to="a"), opts())
    assert await sql.fetchval("select count(*) from job") == 0


async def test_a_key_of_the_class_is_refused(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would make all jobs of the kind one; `unique` says that more clearly."""
    monkeypatch.setattr(Mail, "insert_opts", lambda: InsertOpts(job_key="k"))
    with pytest.raises(OptionError, match="all its jobs would be one"):
        await make_client().insert(Mail(to="a"))
