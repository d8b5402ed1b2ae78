"""Model and database side by side: whatever happens to jobs and clients, the tables are what the model says."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Final

import asyncpg
import pytest
from hypothesis import Phase, settings

from tests.model.side_by_side import NIGHTLY, SCHEMA, SEED, SETTINGS, Server, run
from workerqueue import migrate
from workerqueue.database import Connection
from workerqueue.database.statements import statement
from workerqueue.errors import DatabaseError
from workerqueue.job import TRANSITIONS


@pytest.fixture
def machines_server(database_url: str) -> Generator[Server]:
    """A migrated schema, for tests that have no event loop of their own."""

    async def connect() -> Connection:
        connection: Connection = await asyncpg.connect(database_url, server_settings={"search_path": SCHEMA})
        await connection.execute(f"drop schema if exists {SCHEMA} cascade")
        await migrate(database_url, SCHEMA)
        return connection

    with asyncio.Runner() as runner:
        sql = runner.run(connect())
        yield Server(runner.run, sql)
        runner.run(sql.execute(f"drop schema {SCHEMA} cascade"))
        runner.run(sql.close())


@pytest.mark.timeout(0 if NIGHTLY else 60)
def test_the_tables_are_what_the_model_says(machines_server: Server) -> None:
    """Through random lives of jobs and clients, which come by every transition there is."""
    print(f"WORKERQUEUE_TEST_SEED={SEED}")  # pytest shows it where the test fails
    seen: set[tuple[str, str]] = set()
    run(machines_server, SETTINGS, seen)
    assert {(source, target) for _, source, target in TRANSITIONS if source} <= seen


BUGS: Final = {
    "a completion without its lease": ("record_outcomes", " and job.lease = outcome.lease", ""),
    "a snooze that counts": ("record_outcomes", "case when outcome.counts then 0 else 1 end", "0"),
    "a retry at once": ("record_outcomes", "make_interval(secs => outcome.delay)", "interval '0'"),
    "a follow-up of what was cancelled": ("record_outcomes", "ended.final_state = 'discarded'", "true"),
    "an error that is forgotten": ("record_outcomes", "|| outcome.entry", ""),
    "the dead claim": ("claim_jobs", " and ended_at is null", ""),
    "a claim in any order": ("claim_jobs", "order by job.priority, job.scheduled_at, job.id", "order by job.id"),
    "a claim of too much": ("claim_jobs", "limit wanted.room", "limit wanted.room + 1"),
    "a claim of unknown kinds": ("claim_jobs", "and job.kind = any ($5::text[])", "and $5::text[] is not null"),
    "a start that does not count": ("claim_jobs", "least(attempt, 32766) + 1", "attempt"),
    "a poison job for ever": ("rescue_jobs", "job.attempt >= job.max_attempts", "job.attempt > job.max_attempts"),
    "a crash that does not count": ("rescue_jobs", "set state = 'available',", "set state = 'available', attempt = 0,"),
    "runs of nobody": ("rescue_jobs", "or not exists (select from", "or false and not exists (select from"),
    "a rescue of the living": ("rescue_jobs", "job.client in (select number from dead)", "true"),
    "a rescue from a run of today": (
        "rescue_jobs",
        "where ended_at is null and heartbeat_at <",
        "where heartbeat_at <",
    ),
    "a beat of the dead": ("beat", "where number = $1 and ended_at is null", "where number = $1"),
    "a promotion before its time": ("promote_due_jobs", "and scheduled_at <= statement_timestamp()", ""),
    "a promotion of the newest": (
        "promote_due_jobs",
        "order by scheduled_at, id\n    limit",
        "order by id desc\n    limit",
    ),
    "a release of what runs": ("release_job", " and state = 'pending'", " and state <> 'running'"),
    "a lost answer that counts": ("release_claim", "attempt = attempt - 1", "attempt = attempt"),
}
"""Statement, what it says, and what it says instead."""


@pytest.mark.parametrize(("name", "right", "wrong"), BUGS.values(), ids=BUGS.keys())
def test_a_bug_is_found(
    machines_server: Server, monkeypatch: pytest.MonkeyPatch, name: str, right: str, wrong: str
) -> None:
    """Each of these, put into a statement, makes tables and model differ."""
    assert right in statement(name, SCHEMA)

    def with_bug(each: str, schema: str) -> str:
        text = statement(each, schema)
        return text.replace(right, wrong) if each == name else text

    monkeypatch.setattr("workerqueue.database.jobs.statement", with_bug)
    with pytest.raises((AssertionError, DatabaseError)):
        run(machines_server, settings(SETTINGS, phases=[Phase.generate], report_multiple_bugs=False), set())
