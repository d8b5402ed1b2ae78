"""Incidents in which a claim took too much, took what it could not work, or was forgotten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from tests.claiming import claim_jobs
from tests.conftest import MakeClient
from tests.engine.jobs import Other, Work, until_none_live
from tests.waiting import eventually
from workerqueue import Config, InsertOpts, Job, JobArgs, TaskConfig, Workers
from workerqueue.database import Claimant, Connection, Database
from workerqueue.database.jobs import JobTable
from workerqueue.engine.idleness import Idleness
from workerqueue.engine.marks import Marks
from workerqueue.errors import DatabaseUnavailableError


class Unknown(JobArgs):
    @classmethod
    def kind(cls) -> str:
        return "unknown"


async def test_river_1105_clients_of_disjoint_kinds_share_a_queue(make_client: MakeClient, sql: Connection) -> None:
    """Each works its own kind; what nobody knows waits, and has lost no attempt."""
    one, other = Workers(), Workers()

    @one.worker
    async def work(job: Job[Work]) -> None: ...

    @other.worker
    async def work_other(job: Job[Other]) -> None: ...

    clients = [make_client(one, id="one"), make_client(other, id="other")]
    await clients[0].insert_many([Work(), Other(), Work(), Other()] * 10)
    for client in clients:
        await client.start()
    await until_none_live(sql)
    inserted = await make_client(strict=False).insert(Unknown())
    await clients[0].insert_many([Work(), Other()])

    async def rest() -> bool:
        return bool(await sql.fetchval("select count(*) = 42 from job_finalized"))

    await eventually(rest)
    done = await sql.fetch("select distinct kind, state, attempted_by, attempt from job_all where kind <> 'unknown'")
    assert {(row["kind"], row["state"], *row["attempted_by"], row["attempt"]) for row in done} == {
        ("work", "completed", "one", 1),
        ("other", "completed", "other", 1),
    }
    row = await sql.fetchrow("select state, attempt from job where id = $1", inserted.job.id)
    assert row is not None
    assert tuple(row) == ("available", 0)


@pytest.mark.parametrize("analysed", ["while empty", "while full", "never"])
async def test_obans_planner_a_claim_takes_no_more_than_its_limit(
    door: Database, sql: Connection, analysed: str
) -> None:
    """Whatever the statistics say, and whether the plan is made for the values or kept for all."""
    fill = "insert into job (kind) select 'work' from generate_series(1, 3000)"
    await sql.execute("alter table job set (autovacuum_enabled = off)")
    if analysed == "while full":
        await sql.execute(fill)
        await sql.execute("analyze job")
        await sql.execute("delete from job where id > 50")
    elif analysed == "while empty":
        await sql.execute("analyze job")
    await sql.execute(fill)
    for mode in ("force_custom_plan", "force_generic_plan", "auto"):
        await sql.execute(f"set plan_cache_mode = {mode}")
        for lease, count in enumerate([1, 7, 100]):
            claimed = (
                await claim_jobs(
                    door.jobs, sql, lease=lease, client="c1", number=1, wanted={"default": count}, kinds=["work"]
                )
            ).jobs
            assert len(claimed) == count


async def test_kestra_15073_a_claim_is_committed_before_its_run(
    make_client: MakeClient, pool: Any, schema: str
) -> None:
    """What a worker's first line sees from elsewhere is its own job, running and counted."""
    seen: list[tuple[str, int]] = []
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        row = await pool.fetchrow(f'select state, attempt from "{schema}".job where id = $1', job.id)  # noqa: S608
        seen.append((row["state"], row["attempt"]))

    client = make_client(workers)
    await client.insert_many([Work()] * 20)
    await client.run(drain=True)
    assert seen == [("running", 1)] * 20


SITES = {
    "the claim": [(JobTable, "claim_jobs")],
    "the release of a claim": [(JobTable, "claim_jobs"), (JobTable, "release_claim")],
    "the registration": [(JobTable, "register_client")],
    "a note that it is busy": [(Idleness, "claimed")],
    "a note that it is idle": [(JobTable, "mark_idle")],
    "the search for marks": [(JobTable, "find_marks")],
    "the completion": [(JobTable, "record_outcomes")],
    "the completion that starts the next run": [(JobTable, "record_turns")],
    "the release of what a completion started": [(JobTable, "record_turns"), (JobTable, "release_claim")],
    "the hand-over": [(JobTable, "hand_over")],
    "the promotion": [(JobTable, "promote_due_jobs")],
}


@pytest.mark.parametrize("sites", SITES.values(), ids=SITES.keys())
async def test_dbos_742_a_committed_claim_is_run_or_released(
    make_client: MakeClient, sql: Connection, monkeypatch: pytest.MonkeyPatch, sites: list[tuple[type, str]]
) -> None:
    """The answer of each step of the path is lost three times: every job runs once, on its first attempt.

    A third of the jobs waits in dynamic queues, another in dynamic queues of strict order.
    """
    for owner, name in sites:
        lose_answers(monkeypatch, owner, name, 3)
    monkeypatch.setattr(Marks, "note", always)
    runs: Counter[int] = Counter()
    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None:
        runs[job.id] += 1

    @workers.worker
    async def in_order(job: Job[Other]) -> None:
        runs[job.id] += 1

    client = make_client(workers, config=Config(tasks={"other": TaskConfig(dynamic_order="strict")}))
    await client.insert_many([Work()] * 10)
    await client.insert_many([(Work(), InsertOpts(dynamic_queue=f"runs-{n % 3}")) for n in range(10)])
    await client.insert_many([(Other(), InsertOpts(dynamic_queue=f"steps-{n % 3}")) for n in range(10)])
    await client.start()
    await until_none_live(sql)
    assert runs == dict.fromkeys(runs, 1)
    done = await sql.fetch("select state, attempt, count(*) from job_all group by 1, 2")
    assert [tuple(row) for row in done] == [("completed", 1, 30)]


async def test_dbos_759_a_claim_that_commits_after_its_connection_was_lost_is_released(
    make_client: MakeClient, sql: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may still be at it when the client has connected anew and found nothing to release."""
    server = await asyncpg.connect(database_url)
    claiming = server.transaction()
    claim, release = JobTable.claim_jobs, JobTable.release_claim
    looks = 0

    async def claim_and_lose(jobs: JobTable, connection: Connection, claimant: Claimant, **named: Any) -> object:
        monkeypatch.setattr(JobTable, "claim_jobs", claim)
        await claiming.start()
        assert await claim(jobs, server, claimant, **named)
        raise DatabaseUnavailableError("the answer was lost")

    async def release_and_commit(jobs: JobTable, connection: Connection, lease: int) -> tuple[int, Sequence[str]]:
        nonlocal looks
        looks += 1
        released = await release(jobs, connection, lease)
        if looks == 1:
            assert released[0] == 0
            await claiming.commit()
        return released

    workers = Workers()

    @workers.worker
    async def work(job: Job[Work]) -> None: ...

    client = make_client(workers)
    await client.insert_many([Work()] * 3)
    monkeypatch.setattr(JobTable, "claim_jobs", claim_and_lose)
    monkeypatch.setattr(JobTable, "release_claim", release_and_commit)
    await client.start()
    await until_none_live(sql)
    assert looks == 2
    done = await sql.fetch("select state, attempt, count(*) from job_all group by 1, 2")
    assert [tuple(row) for row in done] == [("completed", 1, 3)]
    await server.close()


def always(*_: object) -> bool:
    """Say that every look took long."""
    return True


def lose_answers(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, times: int) -> None:
    """Let a method do its work, and fail the first few times all the same."""
    real = getattr(owner, name)
    left = times

    async def lose(*args: object, **named: object) -> object:
        nonlocal left
        answer = await real(*args, **named)
        if left:
            left -= 1
            raise DatabaseUnavailableError("the answer was lost")
        return answer

    monkeypatch.setattr(owner, name, lose)
