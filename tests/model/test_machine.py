"""Model and database side by side: whatever happens to jobs and clients, the tables are what the model says."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Final

import asyncpg
import pytest
from hypothesis import Phase, settings

from tests.model.side_by_side import NIGHTLY, SCHEMA, SEED, SETTINGS, InQueues, Machine, Server, run
from workerqueue import migrate
from workerqueue.database import Connection
from workerqueue.database.statements import statement
from workerqueue.errors import DatabaseError
from workerqueue.job import BY_HAND, TRANSITIONS


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


@pytest.mark.timeout(0 if NIGHTLY else 180)
def test_the_tables_are_what_the_model_says(machines_server: Server) -> None:
    """Through random lives of jobs and clients, which come by every transition there is."""
    print(f"WORKERQUEUE_TEST_SEED={SEED}")  # pytest shows it where the test fails
    seen: set[tuple[str, str]] = set()
    run(machines_server, SETTINGS, seen)
    run(machines_server, SETTINGS, seen, InQueues)
    assert {(source, target) for _, source, target in TRANSITIONS if source} <= seen
    assert seen <= {(source, target) for _, source, target in (*TRANSITIONS, *BY_HAND) if source}


LONG: Final = settings(
    SETTINGS, max_examples=10 * SETTINGS.max_examples, phases=[Phase.generate], report_multiple_bugs=False
)
"""A bug ends it, mostly soon."""
BUGS: Final = {
    "a completion without its lease": ("record_outcomes", " and job.lease = outcome.lease", ""),
    "a snooze that counts": ("record_outcomes", "case when outcome.counts then 0 else 1 end", "0"),
    "a retry at once": ("record_outcomes", "make_interval(secs => outcome.delay)", "interval '0'"),
    "a follow-up of what was cancelled": ("record_outcomes", "ended.final_state = 'discarded'", "true"),
    "an error that is forgotten": ("record_outcomes", "|| outcome.entry", ""),
    "the dead claim": ("claim_jobs", " and ended_at is null", ""),
    "a claim in any order": ("claim_jobs", "order by job.priority, job.scheduled_at, job.id", "order by job.id"),
    "a claim of too much": ("claim_jobs", "limit wanted.room", "limit wanted.room + 1"),
    "a claim of unknown kinds": ("claim_jobs", "and job.kind = any ($3::text[])", "and $3::text[] is not null"),
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
    "a save without its lease": ("save_state", " and lease = $2::bigint", ""),
    "a lost answer that counts": ("release_claim", "attempt = attempt - 1", "attempt = attempt"),
}
"""Statement, what it says, and what it says instead."""


BUGS_IN_QUEUES: Final = {
    "a claim out of turn": ("claim_jobs", "next.ids[1] <> first.id", "false"),
    "a turn beside another": ("claim_jobs", "[1:greatest(excluded.most - cardinality(held.jobs), 0)]", ""),
    "two turns at once": ("claim_jobs", "else next.ids[1:next.most]", "else next.ids"),
    "a claim that forgets who waits": ("claim_jobs", "waiting = held.waiting or", "waiting ="),
    "a claim that forgets who is not first": ("claim_jobs", "held.waiting or excluded.waiting", "held.waiting"),
    "a claim that forgets who finds no room": (
        "claim_jobs",
        "cardinality(excluded.jobs) > excluded.most - cardinality(held.jobs)",
        "false",
    ),
    "a turn of kinds that are not looked for": (
        "claim_jobs",
        "and job.kind = any ($3::text[]) and job.pool",
        "and job.pool",
    ),
    "an end that forgets who waits": ("record_turns", " and not turn.waiting", ""),
    "an end that passes over what goes back": (
        "record_turns",
        "turn.name not in (select queue from turned where not is_over)",
        "true",
    ),
    "an end that hands over nothing": ("record_turns", "not turn.strict  --", "false  --"),
    "an end that keeps what is empty": (
        "record_turns",
        "using left_over\n    where",
        "using left_over\n    where false and",
    ),
    "an end that runs what is the client's to run elsewhere": (
        "record_turns",
        "job.pool = any (here.pools)",
        "here.pools is not null",
    ),
    "a rescue that forgets who waits": (
        "rescue_jobs",
        "select queue from returned where queue is not null",
        "select queue from returned where false",
    ),
    "a last rescue that forgets who waits": (
        "rescue_jobs",
        "select queue from ended where queue is not null",
        "select queue from ended where false",
    ),
    "a lost answer that forgets who waits": (
        "release_claim",
        "filter (where queue is not null)",
        "filter (where false)",
    ),
    "a turn of the last": (
        "hand_over",
        "order by job.priority, job.scheduled_at, job.id\n        limit",
        "order by job.id desc\n        limit",
    ),
    "a turn beside what runs": ("hand_over", "> current.most - cardinality(current.running)", "> 1"),
    "a turn of kinds that nobody knows": ("hand_over", "and job.kind = any ((select kinds from known)::text[])", ""),
    "a turn of pools that nobody works": ("hand_over", " and job.pool = any ((select pools from known)::text[])", ""),
    "a turn of kinds that the dead knew": ("hand_over", "client where ended_at is null", "client"),
    "a turn of what runs elsewhere": ("hand_over", "job.pool = any (here.pools)", "here.pools is not null"),
    "a turn of kinds that can't run here": ("hand_over", "job.kind = any (here.kinds)", "here.kinds is not null"),
    "a turn of the dead": ("hand_over", "from here) and ended_at is null", "from here)"),
    "a turn for nobody": ("hand_over", "where not next.here and was_waiting", "where false"),
    "a look that forgets who waits": ("hand_over", "job.queue = seen_to.name and job.state = 'waiting'", "false"),
    "a look that forgets what runs": ("hand_over", "max(running) || coalesce", "coalesce"),
    "a look that keeps what is empty": (
        "hand_over",
        "using left_over\n    where",
        "using left_over\n    where false and",
    ),
    "a claim in spite of its order": ("claim_jobs", "select next.strict or next.ids[1]", "select next.ids[1]"),
    "a claim in spite of the queue's order": (
        "claim_jobs",
        "case when held.strict then '{}'",
        "case when false then '{}'",
    ),
    "a claim that forgets the order": (
        "claim_jobs",
        "strict = held.strict or excluded.strict",
        "strict = excluded.strict",
    ),
    "a claim that does not say that it is strict": ("claim_jobs", "bool_or((", "bool_and(false and ("),
    "an end in spite of the order": ("record_turns", "and not turn.strict  --", "and true  --"),
    "an end that drops what is held up": (
        "record_turns",
        "and not turn.waiting and not turn.strict",
        "and not turn.waiting",
    ),
    "a look that lets others pass": ("hand_over", "(job.state = 'running' or held.strict)", "job.state = 'running'"),
    "a look that keeps no turn for others": (
        "hand_over",
        "case when bool_or(strict) then",
        "case when false then",
    ),
    "a look that forgets who comes again": (
        "hand_over",
        "where job.state in ('available', 'waiting') and current.name",
        "where false and current.name",
    ),
    "a sweep that finds none": ("list_turns", "cardinality(jobs) = 0", "false"),
    "a sweep that trusts what is noted": (
        "list_turns",
        "job.id = held.id and job.state = 'running'",
        "job.id = held.id",
    ),
    "a release of what waits for its turn": ("release_job", "state = 'pending'", "state in ('pending', 'waiting')"),
}
"""The same, of dynamic queues."""


@pytest.mark.parametrize(("name", "right", "wrong"), BUGS.values(), ids=BUGS.keys())
def test_a_bug_is_found(
    machines_server: Server, monkeypatch: pytest.MonkeyPatch, name: str, right: str, wrong: str
) -> None:
    """Each of these, put into a statement, makes tables and model differ."""
    finds(Machine, machines_server, monkeypatch, name, right, wrong)


@pytest.mark.proof
@pytest.mark.parametrize(("name", "right", "wrong"), BUGS_IN_QUEUES.values(), ids=BUGS_IN_QUEUES.keys())
def test_a_bug_of_dynamic_queues_is_found(
    machines_server: Server, monkeypatch: pytest.MonkeyPatch, name: str, right: str, wrong: str
) -> None:
    """Each of these does so too, where jobs of one queue meet."""
    finds(InQueues, machines_server, monkeypatch, name, right, wrong)


def finds(
    machine: type[Machine], server: Server, monkeypatch: pytest.MonkeyPatch, name: str, right: str, wrong: str
) -> None:
    """Put a bug into a statement, and see that a machine finds it."""
    assert right in statement(name, SCHEMA)

    def with_bug(each: str, schema: str) -> str:
        text = statement(each, schema)
        return text.replace(right, wrong) if each == name else text

    monkeypatch.setattr("workerqueue.database.jobs.statement", with_bug)
    with pytest.raises((AssertionError, DatabaseError)):
        run(server, LONG, set(), machine)
