"""One leads: the lead taken, kept, lost, resigned, left by the dead, and believed by two."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from tests.client.proxy import proxy
from tests.conftest import MakeClient
from tests.engine.jobs import Work
from tests.waiting import PATIENCE, eventually, lateness
from workerqueue import Client, InsertOpts, Job, Workers
from workerqueue.database import RESIGNED, ClientRow, Connection, Database, Election
from workerqueue.maintenance import leader as leader_module
from workerqueue.maintenance import scheduler
from workerqueue.maintenance.leader import TERM, Leader

TIMEOUT = 40.0

Elect = Callable[[int], Awaitable[Election]]


@pytest.fixture
def elect(door: Database, sql: Connection) -> Elect:
    """Have the client of a number stand for election once."""
    return lambda number: door.chores.elect_leader(sql, number, TERM, timeout=TIMEOUT)


async def a_client(door: Database, sql: Connection, name: str = "c2") -> int:
    """Register one more."""
    return await door.jobs.register_client(sql, ClientRow(name, "h", 1, [], []))


async def pass_term(sql: Connection) -> None:
    """Let the term run out, as it does while its leader is stopped or cut off."""
    await sql.execute("update leader set until = now() - interval '1 s'")


async def leader_of(sql: Connection) -> tuple[int, int]:
    """Give the leader's number and the term."""
    row = await sql.fetchrow("select client, term from leader")
    return (0, 0) if row is None else (row["client"], row["term"])


# The statement


async def test_the_first_who_asks_leads_and_keeps_the_lead_in_one_term(
    door: Database, sql: Connection, elect: Elect
) -> None:
    """Others are told how long the term still takes, and change nothing; renewing raises nothing."""
    other = await a_client(door, sql)
    assert await elect(1) == (1, None)
    term, free_in = await elect(other)
    assert term is None
    assert free_in is not None
    assert 0 < free_in <= TERM
    assert (await elect(1)).term == 1
    assert await leader_of(sql) == (1, 1)


async def test_what_nobody_renews_is_taken_in_a_new_term(door: Database, sql: Connection, elect: Elect) -> None:
    """A leader past its term is one no more: who was frozen and wakes finds another, in the next term."""
    other = await a_client(door, sql)
    await elect(1)
    await pass_term(sql)
    assert (await elect(other)).term == 2
    assert (await elect(1)).term is None
    assert await leader_of(sql) == (other, 2)


async def test_who_was_late_and_found_nobody_leads_on(sql: Connection, elect: Elect) -> None:
    """No hands have changed, and so no term."""
    await elect(1)
    await pass_term(sql)
    assert (await elect(1)).term == 1


@pytest.mark.parametrize("ended_as", ["stopped", "lost"])
async def test_the_lead_of_who_has_ended_is_free_at_once(
    door: Database, sql: Connection, elect: Elect, ended_as: str
) -> None:
    """A client that has stopped or was declared dead leads no more, whatever time was left to it; nor can it."""
    other = await a_client(door, sql)
    await elect(1)
    await sql.execute("update client set ended_at = now(), ended_as = $1 where number = 1", ended_as)
    assert (await elect(other)).term == 2
    await pass_term(sql)
    assert (await elect(1)).term is None


async def test_who_has_no_row_cannot_lead(sql: Connection, elect: Elect) -> None:
    """Its row may have been pruned."""
    assert (await elect(77)).term is None
    assert await leader_of(sql) == (0, 0)


async def test_of_many_who_ask_at_once_one_leads(door: Database, sql: Connection, database_url: str) -> None:
    """However often the term runs out, each has one leader."""
    numbers = [await a_client(door, sql, f"n{n}") for n in range(8)]

    async def one(number: int) -> Election:
        async with door.acquire() as connection:
            return await door.chores.elect_leader(connection, number, TERM, timeout=TIMEOUT)

    for term in range(1, 11):
        elections = await asyncio.gather(*map(one, numbers))
        assert [each.term for each in elections if each.term is not None] == [term]
        assert (await leader_of(sql))[1] == term
        await sql.execute("update leader set until = now() - interval '1 s', client = 0")


async def test_only_the_leader_resigns(door: Database, sql: Connection, elect: Elect) -> None:
    """Another's resignation changes nothing; the leader's frees the lead, and others are told."""
    heard: asyncio.Queue[object] = asyncio.Queue()

    def hear(*notification: object) -> None:
        heard.put_nowait(notification[-1])

    await sql.add_listener(door.channel, hear)
    other = await a_client(door, sql)
    await elect(1)
    await door.chores.resign_leader(sql, other, timeout=TIMEOUT)
    assert (await elect(other)).term is None
    await door.chores.resign_leader(sql, 1, timeout=TIMEOUT)
    assert await asyncio.wait_for(heard.get(), TIMEOUT) == RESIGNED
    assert heard.empty()
    assert (await elect(other)).term == 2


# The loop


@asynccontextmanager
async def standing(leader: Leader) -> AsyncGenerator[None]:
    """Have it stand for election."""

    async def turn(connection: Connection) -> float:
        return 3600.0

    task = asyncio.create_task(leader.stand(turn))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_leader_stops_believing_when_its_term_is_over(
    door: Database, sql: Connection, database_url: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off from the database it does no chore any more, before anybody else can lead."""
    monkeypatch.setattr(leader_module, "TERM", 1.0)
    monkeypatch.setattr(leader_module, "PAUSE", 0.2)
    monkeypatch.setattr(leader_module, "ANSWER", 0.5)
    async with proxy(database_url) as network:
        cut_off = Database(network.url, schema)
        leader = Leader(cut_off, lambda: 1)
        async with standing(leader):
            await asyncio.wait_for(leader.wait(), TIMEOUT)
            network.silent = True

            async def is_free() -> bool:
                return bool(await sql.fetchval("select until <= clock_timestamp() from leader"))

            await eventually(is_free)
            assert not leader.is_leading
            network.silent = False
            await asyncio.wait_for(leader.wait(), TIMEOUT)
        await cut_off.close()


async def test_who_was_declared_dead_leads_no_more_and_comes_back_under_its_new_number(
    door: Database, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its old number's lead is free at once, to itself as to any other."""
    monkeypatch.setattr(leader_module, "PAUSE", 0.05)
    number = 1
    leader = Leader(door, lambda: number)
    async with standing(leader):
        await asyncio.wait_for(leader.wait(), TIMEOUT)
        await sql.execute("update client set ended_at = now(), ended_as = 'lost' where number = 1")

        async def doubts() -> bool:
            return not leader.is_leading

        await eventually(doubts)
        number = await a_client(door, sql)
        await asyncio.wait_for(leader.wait(), TIMEOUT)
        assert await leader_of(sql) == (number, 2)


async def test_a_chore_that_fails_is_done_again_and_harms_no_other(door: Database) -> None:
    """Whatever it raises, the loop goes on."""
    leader = Leader(door, lambda: 1)
    done: list[str] = []
    twice = asyncio.Event()

    async def chore() -> None:
        done.append("tried")
        if len(done) == 2:
            twice.set()
        raise ValueError("what nobody foresaw")

    async with standing(leader):
        repeating = asyncio.create_task(leader.repeat("chore", chore, 0.01))
        await asyncio.wait_for(twice.wait(), TIMEOUT)
        repeating.cancel()


# Clients


def doing_nothing() -> Workers:
    """Make workers that are done at once."""
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None: ...

    return workers


async def leads(sql: Connection, client: Client) -> int | None:
    """Give the term in which a client leads now, if it does."""
    term: int | None = await sql.fetchval(
        "select term from leader join client on number = client where until > clock_timestamp() and id = $1", client.id
    )
    return term


async def test_a_leader_that_stops_hands_over_at_once(
    make_client: MakeClient, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others hear of it, and don't wait for the term's end, nor for their next try."""
    first, second = make_client(doing_nothing()), make_client(doing_nothing())
    monkeypatch.setattr(leader_module, "TERM", 3600.0)
    await first.start()
    assert await eventually(lambda: leads(sql, first)) == 1
    monkeypatch.setattr(leader_module, "PAUSE", 3600.0)
    await second.start()

    async def listens() -> bool:
        pools = await sql.fetchval("select count(*) from idle where client = $1", second.id)
        return bool(pools)

    await eventually(listens)
    await first.stop()
    assert await eventually(lambda: leads(sql, second)) == 2


async def test_due_jobs_run_under_a_leader_that_does_nothing(
    make_client: MakeClient, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who doesn't lead looks for due jobs as well, rarely: a leader that hangs holds nothing up for good."""
    monkeypatch.setattr(scheduler, "LONGEST_PAUSE", 0.1)
    client = make_client(doing_nothing())
    await sql.execute("insert into client (id, host, pid, pools, kinds) values ('hung', 'h', 1, '{}', '{}')")
    await sql.execute("insert into leader (client, term, until) values (1, 7, now() + interval '1 hour')")
    await client.start()
    inserted = await client.insert(Work(n=1), InsertOpts(scheduled_at=0.2))
    await client.jobs.wait(inserted.job.id, PATIENCE)
    assert await leader_of(sql) == (1, 7)


async def test_two_who_believe_to_lead_run_each_due_job_once(
    make_client: MakeClient, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a moment there may be two: here all the time, with chores that never pause."""
    monkeypatch.setattr(Leader, "is_leading", property(lambda _: True))
    started: list[int] = []
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        started.append(job.args.n)

    clients = [make_client(workers) for _ in range(2)]
    for client in clients:
        await client.start()
    inserted = await clients[0].insert_many([(Work(n=n), InsertOpts(scheduled_at=n % 5 / 20)) for n in range(200)])
    for each in inserted:
        await clients[0].jobs.wait(each.job.id, PATIENCE)
    assert sorted(started) == list(range(200))


HOLD = """
import asyncio, sys
from workerqueue import Client, Job, JobArgs, Workers

class Work(JobArgs):
    @classmethod
    def kind(cls):
        return "work"

workers = Workers()

@workers.worker
async def work(job: Job[Work]) -> None: ...

async def main():
    client = Client(sys.argv[1], schema=sys.argv[2], workers=workers, id="killed")
    await client.start()
    await asyncio.sleep(3600)

asyncio.run(main())
"""


async def test_after_a_kill_another_leads_two_seconds_past_the_term_at_the_latest(
    make_client: MakeClient, sql: Connection, database_url: str, schema: str
) -> None:
    """Figure: failover ≤ term + 2 s after kill -9, by the database's clock, and in the next term."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLD, database_url, schema)
    try:

        async def it_leads() -> bool:
            return bool(await sql.fetchval("select count(*) from leader join client on number = client"))

        await eventually(it_leads)
        other = make_client(doing_nothing())
        await other.start()
        process.send_signal(signal.SIGKILL)
        killed_at = await sql.fetchval("select clock_timestamp()")
        async with lateness() as late:
            assert await eventually(lambda: leads(sql, other)) == 2
        taken_at = await sql.fetchval("select until - make_interval(secs => $1) from leader", TERM)
        assert (taken_at - killed_at).total_seconds() <= TERM + 2 + late()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_starved_pool_of_the_callers_costs_no_lead(
    make_client: MakeClient, database_url: str, sql: Connection
) -> None:
    """Where the application holds every connection of its pool, its client leads, and jobs due run."""
    async with asyncpg.create_pool(database_url, min_size=0, max_size=5) as pool:
        client = make_client(doing_nothing(), database=pool)
        await client.start()
        inserted = await client.insert(Work(n=1), InsertOpts(scheduled_at=2.0))
        async with pool.acquire():

            async def done() -> bool:
                return bool(await sql.fetchval("select count(*) from job_finalized where id = $1", inserted.job.id))

            await eventually(done)
            assert await leads(sql, client)
        await client.close()
