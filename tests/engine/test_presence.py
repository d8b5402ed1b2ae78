"""Who is alive: clients' rows and heartbeats, the rescue of the dead's jobs, and a client that comes back."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator
from typing import Any, TypedDict

import asyncpg
import pytest

from tests.claiming import claim_jobs
from tests.conftest import MakeClient
from tests.waiting import PATIENCE, eventually
from workerqueue import Client, InsertOpts, Job, JobArgs, JobState, Workers
from workerqueue.config import Config
from workerqueue.database import Claimed, ClientRow, Connection, Database, Finished
from workerqueue.outcome import COMPLETED, INTERRUPTED

LIMIT = 600.0
"""Seconds without a beat, in rescues that a test calls for."""


class Work(JobArgs):
    n: int = 0

    @classmethod
    def kind(cls) -> str:
        return "work"


class Sorry(JobArgs):
    @classmethod
    def kind(cls) -> str:
        return "sorry"


@pytest.fixture
async def door(database_url: str, schema: str) -> AsyncGenerator[Database]:
    """The database of the test's schema."""
    made = Database(database_url, schema)
    yield made
    await made.close()


@pytest.fixture
async def client(database_url: str, schema: str) -> AsyncGenerator[Client]:
    """A client that inserts."""
    async with Client(database_url, schema=schema, config=Config(), strict=False) as made:
        yield made


class Pace(TypedDict):
    """How a client beats."""

    heartbeat_interval: float
    lease_ttl: float


QUICK: Pace = {"heartbeat_interval": 0.1, "lease_ttl": 1.0}
"""Beats and deaths in tenths of seconds."""


async def a_client(door: Database, sql: Connection, name: str = "gone", *, silent_for: float = 3600) -> int:
    """Make the row of a client that has not beaten for so many seconds."""
    number = await door.jobs.register_client(sql, ClientRow(name, "h", 1, ["default"], ["work"]))
    await sql.execute(
        "update client set heartbeat_at = now() - make_interval(secs => $2) where number = $1", number, silent_for
    )
    return number


async def claim(door: Database, sql: Connection, number: int, lease: int = 1, count: int = 100) -> list[Claimed]:
    """Claim as the client of this number."""
    wanted = {"default": count}
    return (
        await claim_jobs(door.jobs, sql, lease=lease, client="c", number=number, wanted=wanted, kinds=["work"])
    ).jobs


async def states(sql: Connection) -> dict[int, str]:
    """Read every job's state."""
    return {row["id"]: row["state"] for row in await sql.fetch("select id, state from job_all")}


# Rows and beats


async def test_a_working_client_has_a_row(make_client: MakeClient, sql: Connection) -> None:
    """With its id, process, pools and kinds from its start on; ended as stopped by its stop; a start is a row."""
    workers = working()
    client = make_client(workers, id="me")
    for turn in (1, 2):
        await client.start()

        async def registered(turn: int = turn) -> bool:
            return bool(await sql.fetchval("select count(*) = $1 from client", turn))

        await eventually(registered)
        row = await sql.fetchrow("select * from client order by number desc limit 1")
        assert row is not None
        assert (row["id"], row["pools"], row["kinds"], row["ended_at"]) == ("me", ["default"], ["work"], None)
        await client.stop()
    ends = await sql.fetch("select ended_as, ended_at is not null as ended from client")
    assert [tuple(row) for row in ends] == [("stopped", True)] * 2


async def test_a_client_beats(make_client: MakeClient, sql: Connection) -> None:
    """Its row says again and again that it is alive."""
    await make_client(working(), **QUICK).start()
    await eventually(lambda: sql.fetchval("select count(*) from client"))
    for _ in range(3):
        began = await sql.fetchval("select now()")

        async def beaten(began: Any = began) -> bool:
            return bool(await sql.fetchval("select heartbeat_at > $1 from client", began))

        await eventually(beaten)
    assert await sql.fetchval("select count(*) from client where ended_at is null") == 1


async def test_working_clients_are_listed(make_client: MakeClient, client: Client) -> None:
    """Each with what it works and how many jobs it runs; those that have stopped are not."""
    holding, hold = asyncio.Event(), asyncio.Event()
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        holding.set()
        await hold.wait()

    assert await client.clients() == []
    one, two = make_client(workers, id="one", **QUICK), make_client(working(), id="two", **QUICK)
    await one.start()
    await client.insert(Work())
    await holding.wait()
    await two.start()

    async def both() -> bool:
        return len(await client.clients()) == 2

    await eventually(both)
    first, second = await client.clients()
    assert (first.id, first.queues, first.kinds, first.running) == ("one", ["default"], ["work"], 1)
    assert (second.id, second.running) == ("two", 0)
    assert first.started_at <= first.heartbeat_at
    hold.set()
    await one.stop()
    assert [each.id for each in await client.clients()] == ["two"]


# Rescue


@pytest.mark.req("A8")
async def test_the_jobs_of_the_dead_are_run_by_the_living(
    make_client: MakeClient, door: Database, sql: Connection, client: Client
) -> None:
    """Any client finds them, whatever their number; the lost start counts and stands in the history."""
    results = await client.insert_many([Work(n=n) for n in range(50)])
    assert len(await claim(door, sql, await a_client(door, sql, silent_for=0))) == 50
    await sql.execute("update client set heartbeat_at = now() - interval '1 hour'")
    await make_client(working(), **QUICK).start()
    for result in results:
        job = await client.jobs.wait(result.job.id, PATIENCE)
        assert (job.state, job.attempt, job.attempted_by[0]) == (JobState.COMPLETED, 2, "gone")
        assert [(error.type, error.attempt, error.client) for error in job.errors] == [("ClientLost", 1, "gone")]
    assert await sql.fetchval("select ended_as from client where id = 'gone'") == "lost"


async def test_a_job_without_an_attempt_left_is_discarded(door: Database, sql: Connection, client: Client) -> None:
    """So a job that kills whoever runs it ends; its follow-up comes in the same commit, whoever knows its kind."""
    poison = await client.insert(Work(), InsertOpts(max_attempts=1, on_discard=Sorry(), metadata={"m": 1}))
    await claim(door, sql, number := await a_client(door, sql, silent_for=0))
    await sql.execute("update client set heartbeat_at = now() - interval '1 hour'")
    assert (await door.jobs.rescue_jobs(sql, LIMIT))[:3] == (["gone"], 0, 1)
    job = await client.jobs.get(poison.job.id)
    assert job is not None
    assert (job.state, job.attempt, job.metadata) == (JobState.DISCARDED, 1, {"m": 1})
    assert [error.type for error in job.errors] == ["ClientLost"]
    follow_up = await sql.fetchrow("select kind, state from job")
    assert follow_up is not None
    assert tuple(follow_up) == ("sorry", "available")
    assert await sql.fetchval("select ended_as from client where number = $1", number) == "lost"


async def test_the_newest_hundred_errors_are_kept(door: Database, sql: Connection, client: Client) -> None:
    """A rescue adds to the history as a failure does."""
    await client.insert_many([Work(), (Work(), InsertOpts(max_attempts=1))])
    await claim(door, sql, await a_client(door, sql))
    await sql.execute(
        """
        update job set errors = (
            select jsonb_agg(jsonb_build_object('at', now(), 'attempt', n, 'type', 'E', 'error', ''))
            from generate_series(1, 100) as n
        )
        """
    )
    await door.jobs.rescue_jobs(sql, LIMIT)
    for errors in await sql.fetch("select errors from job_all"):
        history = json.loads(errors["errors"])
        assert (len(history), history[0]["attempt"], history[-1]["type"]) == (100, 2, "ClientLost")


async def test_the_jobs_of_the_living_are_left_alone(door: Database, sql: Connection, client: Client) -> None:
    """A rescue takes from who has not beaten for the limit, and from nobody else."""
    await client.insert_many([Work()] * 3)
    for silent_for, lease in ((LIMIT / 2, 1), (LIMIT * 2, 2), (0, 3)):
        (_,) = await claim(
            door, sql, await a_client(door, sql, f"silent for {silent_for}", silent_for=silent_for), lease, 1
        )
    rescued = await door.jobs.rescue_jobs(sql, LIMIT)
    assert rescued[:3] == ([f"silent for {LIMIT * 2}"], 1, 0)
    assert sorted((await states(sql)).values()) == ["available", "running", "running"]


@pytest.mark.parametrize("how", ["no row", "ended", "no client at all"])
async def test_a_run_without_a_living_client_is_found(
    door: Database, sql: Connection, client: Client, how: str
) -> None:
    """Rows that were deleted, or clients that ended and left a run behind: the run is nobody's, and freed."""
    await client.insert(Work())
    number = await a_client(door, sql, silent_for=0)
    await claim(door, sql, number)
    change = {
        "no row": "delete from client",
        "ended": "update client set ended_at = now(), ended_as = 'stopped'",
        "no client at all": "update job set client = null",
    }
    await sql.execute(change[how])
    assert (await door.jobs.rescue_jobs(sql, LIMIT))[:3] == ([], 1, 0)


async def test_the_dead_claim_nothing(door: Database, sql: Connection, client: Client) -> None:
    """A client that sleeps through its own death gets no job before it knows."""
    await client.insert(Work())
    number = await a_client(door, sql)
    await door.jobs.rescue_jobs(sql, LIMIT)
    assert await claim(door, sql, number) == []
    assert not (await door.jobs.beat(sql, number, LIMIT)).alive


async def test_what_the_dead_still_write_is_refused(door: Database, sql: Connection, client: Client) -> None:
    """After the rescue, the outcome of the run before it changes nothing."""
    await client.insert(Work())
    (run,) = await claim(door, sql, await a_client(door, sql))
    await door.jobs.rescue_jobs(sql, LIMIT)
    assert await door.jobs.record_outcomes(sql, [Finished(run, COMPLETED)]) == set()
    assert set((await states(sql)).values()) == {"available"}


# Rescues against everything else (river#1302: a completion between the scan and the rescue)


async def blocked_on(sql: Connection, pid: int) -> bool:
    """Tell whether a session waits for another."""
    return bool(await sql.fetchval("select cardinality(pg_blocking_pids($1)) > 0", pid))


@pytest.mark.parametrize("commits", [True, False])
async def test_a_completion_under_way_is_no_loss(
    door: Database, sql: Connection, other: Connection, client: Client, commits: bool
) -> None:
    """A rescue passes over a job that another transaction holds; what that leaves behind is the next rescue's."""
    inserted = await client.insert(Work())
    (run,) = await claim(door, sql, await a_client(door, sql))
    completion = sql.transaction()
    await completion.start()
    assert await door.jobs.record_outcomes(sql, [Finished(run, COMPLETED)]) == {run.id}
    assert (await door.jobs.rescue_jobs(other, LIMIT))[:3] == (["gone"], 0, 0)
    await (completion.commit() if commits else completion.rollback())
    assert (await door.jobs.rescue_jobs(other, LIMIT))[:3] == ([], 0 if commits else 1, 0)
    assert await states(sql) == {inserted.job.id: "completed" if commits else "available"}


async def test_a_job_that_is_held_delays_no_other(
    door: Database, sql: Connection, other: Connection, client: Client
) -> None:
    """A client that froze in a transaction of its own keeps the job in it and nothing else, and stops no heartbeat."""
    held, free = (result.job.id for result in await client.insert_many([Work(), Work()]))
    await claim(door, sql, await a_client(door, sql))
    async with sql.transaction():
        await sql.execute("select from job where id = $1 for update", held)
        assert (await door.jobs.rescue_jobs(other, LIMIT))[:3] == (["gone"], 1, 0)
    assert await states(sql) == {held: "running", free: "available"}


async def test_a_run_claimed_anew_meanwhile_is_not_taken(
    door: Database, sql: Connection, other: Connection, client: Client, database_url: str
) -> None:
    """While a rescue waits, the job goes back and to a new client, unknown to the rescue: its run is left alone."""
    inserted = await client.insert(Work())
    (run,) = await claim(door, sql, await a_client(door, sql))
    holder = await asyncpg.connect(database_url, server_settings={"search_path": door.schema})
    async with holder.transaction():
        await holder.execute("select from client where id = 'gone' for update")
        rescue = asyncio.create_task(door.jobs.rescue_jobs(other, LIMIT))
        await eventually(lambda: blocked_on(sql, other.get_server_pid()))
        await door.jobs.record_outcomes(sql, [Finished(run, INTERRUPTED)])
        (anew,) = await claim(door, sql, await a_client(door, sql, "new", silent_for=0), lease=2)
    await holder.close()
    assert (await rescue)[:3] == (["gone"], 0, 0)
    row = await sql.fetchrow("select state, lease from job where id = $1", inserted.job.id)
    assert row is not None
    assert tuple(row) == ("running", anew.lease)


async def test_a_job_that_was_held_during_the_rescue_is_freed_soon(
    make_client: MakeClient, door: Database, sql: Connection, client: Client
) -> None:
    """A row that another transaction held when its client died is looked at again, long before the next sweep."""
    inserted = await client.insert(Work())
    number = await a_client(door, sql, silent_for=0)
    await claim(door, sql, number)
    async with sql.transaction():
        await sql.execute("select from job for update")
        await make_client(working(), **QUICK).start()
        await eventually(lambda: sql.fetchval("select ended_as = 'lost' from client where number = $1", number))
    assert (await client.jobs.wait(inserted.job.id, PATIENCE)).attempt == 2


async def test_two_rescues_at_once_free_a_job_once(
    door: Database, sql: Connection, other: Connection, client: Client
) -> None:
    """One entry in the history, one attempt: who comes second finds nothing left to do."""
    await client.insert_many([Work()] * 20)
    await claim(door, sql, await a_client(door, sql))
    both = await asyncio.gather(door.jobs.rescue_jobs(sql, LIMIT), door.jobs.rescue_jobs(other, LIMIT))
    assert sum(rescued.returned for rescued in both) == 20
    assert await sql.fetchval("select max(jsonb_array_length(errors)) from job") == 1


async def test_twenty_thousand_long_runs_and_one_dead_client(door: Database, sql: Connection, client: Client) -> None:
    """The dead one's few jobs are found among those of the living, at once (river PR#1318)."""
    alive = await a_client(door, sql, "alive", silent_for=0)
    await sql.execute(
        "insert into job (kind, state, lease, attempt, client) select 'work', 'running', n, 1, $1"
        " from generate_series(1, 20000) as n",
        alive,
    )
    await client.insert_many([Work()] * 5)
    await claim(door, sql, await a_client(door, sql), lease=77)
    assert (await door.jobs.rescue_jobs(sql, LIMIT))[:3] == (["gone"], 5, 0)


async def test_the_many_runs_of_a_dead_client_are_freed_at_once(door: Database, sql: Connection) -> None:
    """Thousands of them, each of a claim of its own."""
    gone = await a_client(door, sql)
    await sql.execute(
        "insert into job (kind, state, lease, attempt, client) select 'work', 'running', n, 1, $1"
        " from generate_series(1, 5000) as n",
        gone,
    )
    assert (await door.jobs.rescue_jobs(sql, LIMIT))[:3] == (["gone"], 5000, 0)


# A client that was declared dead


async def test_a_client_declared_dead_cancels_its_runs_and_works_on(make_client: MakeClient, sql: Connection) -> None:
    """It drops what others have by now, registers anew, and its next runs count."""
    workers, started, cancelled = Workers(), asyncio.Event(), asyncio.Event()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        started.set()
        if job.attempt == 1 and job.args.n == 0:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

    client = make_client(workers, **QUICK)
    heard: list[str] = []
    client.events.add(lambda event: heard.append(event.type))
    await client.start()
    inserted = await client.insert(Work())
    await started.wait()
    first = await sql.fetchval("select max(number) from client")
    await sql.execute("update client set ended_at = now(), ended_as = 'lost'")
    await cancelled.wait()
    await sql.execute("update job set state = 'available', lease = null")  # as a rescuer does
    job = await client.jobs.wait(inserted.job.id, PATIENCE)
    assert (job.state, job.attempt) == (JobState.COMPLETED, 2)
    assert await sql.fetchval("select max(number) from client") > first
    assert "stale" in heard


HOLD_BEATS = """
create function hold_beats() returns trigger language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(hashtext(current_setting('application_name')));
    return null;
end $$;
create trigger hold_beats before update on client for each statement execute function hold_beats();
"""
"""Every change to a client's row waits for whoever holds a lock of the changing client's name."""


async def test_a_stall_of_the_database_is_nobodys_death(make_client: MakeClient, sql: Connection) -> None:
    """Beats that all waited for longer than a lease, on connections that held: who is through first judges nobody."""
    pace: Pace = {"heartbeat_interval": 0.1, "lease_ttl": 2.0}
    names = ["first", "second", "third"]
    for name in names:
        await make_client(working(), id=name, **pace).start()
    await eventually(lambda: sql.fetchval("select count(*) = 3 from client"))

    async def beat_again(names: list[str]) -> None:
        since = await sql.fetchval("select now()")
        sees = "select min(heartbeat_at) > $2 from client where id = any ($1)"
        await eventually(lambda: sql.fetchval(sees, names, since))

    await sql.execute(HOLD_BEATS)
    for name in names:
        await sql.execute("select pg_advisory_lock(hashtext('workerqueue ' || $1))", name)
    await asyncio.sleep(1.5 * pace["lease_ttl"])  # the stall itself
    for name in names:
        await sql.execute("select pg_advisory_unlock(hashtext('workerqueue ' || $1))", name)
        await beat_again([name])
    await beat_again(names)
    assert await sql.fetchval("select count(*) from client where ended_at is not null") == 0


SIGNS = """
insert into client (id, host, pid, pools, kinds, started_at, heartbeat_at, ended_at, ended_as)
select 'came and went', 'h', 1, '{}', '{}', now() - make_interval(secs => ago + 1), now() - make_interval(secs => ago),
       now() - make_interval(secs => ago), 'stopped'
from generate_series(1, 60, 4) as ago
where ago not between $1 and $2
"""
"""Clients that have come and gone every few seconds, but for those of some time."""


@pytest.mark.parametrize(
    ("silent_from", "silent_to", "sure"),
    [(0, 0, True), (2, 14, False), (10, 20, False), (38, 43, True), (50, 60, True)],
)
async def test_signs_of_life_tell_a_death_from_an_outage(
    door: Database, sql: Connection, silent_from: int, silent_to: int, sure: bool
) -> None:
    """With signs at every time the overdue one is dead; where none was for half a limit, all may have been away."""
    await a_client(door, sql, "overdue", silent_for=25)
    await sql.execute(SIGNS, silent_from, silent_to)
    await a_client(door, sql, "new", silent_for=0)
    assert await door.jobs.was_there(sql, looking_back=30, outage=10) is sure


async def test_who_has_just_come_rescues_where_others_came_and_went(
    door: Database, make_client: MakeClient, client: Client, sql: Connection
) -> None:
    """Where processes are killed one after the other nobody is old; signs of life tell that the dead are dead."""
    inserted = await client.insert(Work())
    await claim(door, sql, await a_client(door, sql, "gone", silent_for=0))
    await sql.execute("update client set heartbeat_at = now() - make_interval(secs => $1)", 1.4 * PATIENCE)
    await sql.execute(SIGNS, 0, 0)
    await make_client(working(), heartbeat_interval=0.1, lease_ttl=PATIENCE).start()
    # Sooner than it would judge anybody without these signs.
    job = await client.jobs.wait(inserted.job.id, PATIENCE / 2)
    assert (job.state, job.attempt) == (JobState.COMPLETED, 2)


async def test_a_blocked_loop_is_no_death(
    make_client: MakeClient, sql: Connection, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that blocks everything for far longer than the limit is not rescued, and is told of with its stack."""
    workers = Workers()

    def block_the_loop() -> None:
        time.sleep(3)

    @workers.worker
    async def work(job: Job[Work]) -> None:
        block_the_loop()

    with caplog.at_level(logging.WARNING, "workerqueue.engine"):
        await make_client(workers, id="blocked", **QUICK).start()
        inserted = await client.insert(Work())
        job = await client.jobs.wait(inserted.job.id, PATIENCE)
    assert (job.attempt, job.errors) == (1, [])
    assert await sql.fetchval("select count(*) from client where ended_as = 'lost'") == 0
    told = [record.getMessage() for record in caplog.records]
    assert any("blocked" in message and "block_the_loop" in message for message in told)


async def test_a_heartbeat_survives_its_connection(make_client: MakeClient, sql: Connection) -> None:
    """Cut again and again, it connects again and beats on; the client is not lost."""
    client = make_client(working(), **QUICK)
    await client.start()
    await eventually(lambda: sql.fetchval("select count(*) from client"))
    for _ in range(3):
        began = await sql.fetchval("select now()")

        async def cut() -> bool:
            return bool(
                await sql.fetch(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where application_name = $1 and query like '%beat%'",
                    f"workerqueue {client.id}"[:63],
                )
            )

        await eventually(cut)  # there is nothing to cut before its first beat

        async def beaten(began: Any = began) -> bool:
            return bool(await sql.fetchval("select heartbeat_at > $1 and ended_at is null from client", began))

        await eventually(beaten)
    assert await sql.fetchval("select count(*) from client where ended_as = 'lost'") == 0


async def test_a_callers_pool_is_beaten_for_as_well(
    make_client: MakeClient, database_url: str, sql: Connection
) -> None:
    """The heartbeat connects as the caller's pool does, with a connection of its own."""
    async with asyncpg.create_pool(database_url, min_size=0, max_size=8) as pool:
        client = make_client(working(), database=pool, **QUICK)
        await client.start()
        await eventually(lambda: sql.fetchval("select count(*) from client where heartbeat_at > started_at"))
        await client.stop()
    assert await sql.fetchval("select ended_as from client") == "stopped"


def working() -> Workers:
    """Workers that do nothing."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        del job

    return workers
