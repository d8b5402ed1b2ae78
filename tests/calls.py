"""The statements of a working client, each called by its method and with what a client under load gives it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from workerqueue import InsertOpts, JobArgs, JobState
from workerqueue.config import Config, QueueConfig, TaskConfig
from workerqueue.database import (
    AsyncpgRunner,
    Claimant,
    Claimed,
    ClientRow,
    Connection,
    ControlTable,
    EventTable,
    Finished,
    Happened,
    JobFilter,
    Mark,
    QueueTable,
)
from workerqueue.database.chores import ChoreTable
from workerqueue.database.jobs import JobTable
from workerqueue.database.keys import KeyTable
from workerqueue.database.schedules import ScheduleTable
from workerqueue.database.state import StateTable
from workerqueue.engine.rules import Rules
from workerqueue.options import Resolver
from workerqueue.outcome import COMPLETED, INTERRUPTED, Outcome
from workerqueue.unique import Key, Replacing

Call = Callable[[JobTable, Connection], Awaitable[object]]

INSERT_TIMEOUT: Final = 0.2
"""Seconds."""

NOW = datetime.now(UTC)
KINDS = [f"k{n}" for n in range(20)]
POOLS = [f"p{n}" for n in range(5)]
LEASE = 42
"""What every running job of the filled tables is leased by."""


class Note(JobArgs):
    @classmethod
    def kind(cls) -> str:
        return "k1"


NEW = [Resolver(Config(), strict=False).resolve(Note(), InsertOpts(queue=POOLS[n % 5])) for n in range(100)]
INSERT_IDS = [UUID(int=n) for n in range(100)]
KEYED = [job._replace(insert_id=insert_id) for job, insert_id in zip(NEW, INSERT_IDS, strict=True)]
KEYS = [Key(f"k{n}") for n in range(100)]
HELD = [key.text for key in KEYS]
OUTCOMES = [
    COMPLETED,
    INTERRUPTED,
    Outcome("failed", JobState.RETRYABLE, timedelta(minutes=1), error='{"type": "ValueError"}'),
    Outcome("discarded", JobState.DISCARDED, error='{"type": "ValueError"}'),
]


def running(job_id: int) -> Claimed:
    """Give a job as a claim gives it."""
    return Claimed(job_id, "k1", "{}", None, "p1", 1, 1, 3, 60.0, NOW, NOW, NOW, None, "c1", LEASE)


DYNAMIC = [f"q{n}" for n in range(100)]

CLAIMANT = Claimant("c1", 1, POOLS, KINDS, plain_pools=POOLS, plain_kinds=KINDS)
RULES = Rules(
    {pool: QueueConfig(global_limit=100, rate="100/s", fair_by="{tenant}") for pool in POOLS},
    {kind: TaskConfig(partition_by="{tenant}", partition_limit=10, rate="100/s") for kind in KINDS},
)
RULED_POOLS = [{**RULES.of_pool(pool), "free": 20, "most": 40, "after": None} for pool in POOLS]
RULED_KINDS = RULES.kinds
GATES = RULES.gates(POOLS)

FINISHED = [Finished(running(n * 1000 + 1), OUTCOMES[n % 4]) for n in range(100)]
IN_TURN = [Finished(run.job._replace(queue=queue), run.outcome) for run, queue in zip(FINISHED, DYNAMIC, strict=True)]


def claim(jobs: JobTable, connection: Connection, marks: dict[str, list[Mark]] | None = None) -> Awaitable[object]:
    """Claim 100 jobs of five pools."""
    return jobs.claim_jobs(connection, CLAIMANT, lease=7, wanted=dict.fromkeys(POOLS, 20), marks=marks)


def queues(jobs: JobTable) -> QueueTable:
    """Give the statements of queues over the same schema."""
    return QueueTable(jobs.schema, "channel")


def control(jobs: JobTable) -> ControlTable:
    """Give the statements of handling by hand over the same schema."""
    return ControlTable(jobs.schema, "channel")


def keys(jobs: JobTable) -> KeyTable:
    """Give the statements of keys over the same schema."""
    return KeyTable(jobs.schema, "channel")


def events(jobs: JobTable) -> EventTable:
    """Give the statements of events over the same schema."""
    return EventTable(jobs.schema, "channel")


def schedules(jobs: JobTable) -> ScheduleTable:
    """Give the statements of schedules over the same schema."""
    return ScheduleTable(jobs.schema, "channel")


def chores(jobs: JobTable) -> ChoreTable:
    """Give the statements of the chores over the same schema."""
    return ChoreTable(jobs.schema, "channel")


KEEP = '{"all": {"completed": 86400}, "kinds": {"k1": {"completed": 3600}}, "queues": {"p1": {"discarded": 60}}}'
DAY = "job_finalized_default"

HOT: dict[str, Call] = {
    "claim_jobs": partial(claim, marks={"p1": [Mark(1, NOW - timedelta(days=1), 1), Mark(2, NOW, 0)]}),
    "find_marks": lambda jobs, connection: jobs.find_marks(connection, pools=POOLS, seen_ago=1.5),
    "record_outcomes": lambda jobs, connection: jobs.record_outcomes(connection, FINISHED),
    "insert_job": lambda jobs, connection: jobs.insert_job(AsyncpgRunner(connection), NEW[0], INSERT_TIMEOUT),
    "insert_jobs": lambda jobs, connection: jobs.insert_jobs(AsyncpgRunner(connection), NEW, INSERT_TIMEOUT),
    "insert_jobs_once": lambda jobs, connection: jobs.insert_jobs_once(
        AsyncpgRunner(connection), KEYED, INSERT_TIMEOUT
    ),
    "find_inserted": lambda jobs, connection: jobs.find_inserted(AsyncpgRunner(connection), INSERT_IDS, INSERT_TIMEOUT),
    "promote_due_jobs": lambda jobs, connection: jobs.promote_due_jobs(connection, 100),
    "has_work": lambda jobs, connection: jobs.has_work(
        connection, pools=POOLS, kinds=KINDS, horizon=timedelta(minutes=1)
    ),
    "release_claim": lambda jobs, connection: jobs.release_claim(connection, LEASE),
    "hand_over": lambda jobs, connection: jobs.hand_over(connection, DYNAMIC, CLAIMANT, lease=LEASE),
    "record_turns": lambda jobs, connection: jobs.record_turns(connection, IN_TURN, CLAIMANT, lease=LEASE),
    "claim_chosen": lambda jobs, connection: jobs.claim_chosen(
        connection, CLAIMANT, range(1, 101), lease=7, pool="p1", is_held=True
    ),
    "choose_jobs": lambda jobs, connection: queues(jobs).choose_jobs(connection, RULED_POOLS[0], RULED_KINDS, KINDS, 1),
    "find_room": lambda jobs, connection: queues(jobs).find_room(connection, RULED_POOLS),
    "hold_gates": lambda jobs, connection: queues(jobs).hold_gates(connection, GATES),
    "make_gates": lambda jobs, connection: queues(jobs).make_gates(connection, GATES),
    "note_starts": lambda jobs, connection: queues(jobs).note_starts(
        connection, RULED_POOLS, RULED_KINDS, range(1, 101)
    ),
    "cancel_jobs": lambda jobs, connection: control(jobs).cancel_jobs(
        AsyncpgRunner(connection), range(1, 101), asks=True
    ),
    "complete_job": lambda jobs, connection: control(jobs).complete_job(AsyncpgRunner(connection), 3, "{}"),
    "find_attempt": lambda jobs, connection: control(jobs).find_attempt(AsyncpgRunner(connection), 3),
    "fail_job": lambda jobs, connection: control(jobs).fail_job(AsyncpgRunner(connection), 3, 1, 5.0, "{}"),
    "update_job": lambda jobs, connection: control(jobs).update_job(
        AsyncpgRunner(connection), 3, {"priority": 3}, of_running=False
    ),
    "take_keys": lambda jobs, connection: keys(jobs).take_keys(AsyncpgRunner(connection), KEYS, INSERT_TIMEOUT),
    "find_keys": lambda jobs, connection: keys(jobs).find_keys(AsyncpgRunner(connection), HELD, INSERT_TIMEOUT),
    "give_keys": lambda jobs, connection: keys(jobs).give_keys(
        AsyncpgRunner(connection), dict(zip(HELD, range(1, 101), strict=True)), dict.fromkeys(HELD), INSERT_TIMEOUT
    ),
    "replace_job": lambda jobs, connection: keys(jobs).replace_job(
        AsyncpgRunner(connection), 3, NEW[0], Replacing(), INSERT_TIMEOUT
    ),
    "find_key": lambda jobs, connection: keys(jobs).find_key(connection, HELD[0]),
    "list_changes": lambda jobs, connection: queues(jobs).list_changes(connection),
    "save_state": lambda jobs, connection: jobs.save_state(connection, running(3), progress="1", checkpoint="{}"),
    "find_others": lambda jobs, connection: control(jobs).find_others(AsyncpgRunner(connection), range(1, 101), "t1"),
    "tell": lambda jobs, connection: events(jobs).tell(AsyncpgRunner(connection), [Happened("started", 3, "k1")] * 100),
    "subscribe": lambda jobs, connection: events(jobs).subscribe(connection, "c", ["started"], None, 60.0),
    "unsubscribe": lambda jobs, connection: events(jobs).unsubscribe(connection, "c"),
    "release_job": lambda jobs, connection: jobs.release_job(connection, 3),
    "get_job": lambda jobs, connection: jobs.get_job(connection, 3),
    "beat": lambda jobs, connection: jobs.beat(connection, 3, 10.0),
    "elect_leader": lambda jobs, connection: chores(jobs).elect_leader(connection, 3, 10.0, timeout=INSERT_TIMEOUT),
    "mark_idle": lambda jobs, connection: jobs.mark_idle(connection, client="c1", pools=POOLS, seconds=30.0),
    "unmark_idle": lambda jobs, connection: jobs.unmark_idle(connection, client="c1"),
}

RARE: dict[str, Call] = {
    "get_value": lambda jobs, connection: StateTable(jobs.schema).get_value(connection, "k"),
    "set_value": lambda jobs, connection: StateTable(jobs.schema).set_value(connection, "k", "1", 5.0, if_absent=True),
    "delete_value": lambda jobs, connection: StateTable(jobs.schema).delete_value(connection, "k"),
    "increment_value": lambda jobs, connection: StateTable(jobs.schema).increment_value(connection, "k", 1, None),
    "take_lease": lambda jobs, connection: StateTable(jobs.schema).take_lease(connection, "k", 1, 7, 30.0),
    "renew_lease": lambda jobs, connection: StateTable(jobs.schema).renew_lease(connection, "k", 0, 7, 30.0),
    "end_lease": lambda jobs, connection: StateTable(jobs.schema).end_lease(connection, "k", 0, 7),
    "expire_values": lambda jobs, connection: StateTable(jobs.schema).expire_values(
        connection, 1_000, timeout=INSERT_TIMEOUT
    ),
    "list_schedules": lambda jobs, connection: schedules(jobs).list_schedules(connection, ["s1"]),
    "set_schedule": lambda jobs, connection: schedules(jobs).set_schedule(connection, "s1", "{}", NOW),
    "advance_schedule": lambda jobs, connection: schedules(jobs).advance_schedule(connection, "s1", NOW, NOW, None),
    "pause_schedule": lambda jobs, connection: schedules(jobs).pause_schedule(connection, "s1", NOW),
    "delete_schedule": lambda jobs, connection: schedules(jobs).delete_schedule(connection, "s1"),
    "list_jobs": lambda jobs, connection: control(jobs).list_jobs(connection, JobFilter(), below=50, limit=100),
    "retry_jobs": lambda jobs, connection: control(jobs).retry_jobs(AsyncpgRunner(connection), range(1, 101)),
    "delete_jobs": lambda jobs, connection: control(jobs).delete_jobs(AsyncpgRunner(connection), range(1, 101)),
    "note_ends": lambda jobs, connection: keys(jobs).note_ends(connection, timeout=INSERT_TIMEOUT),
    "prune_keys": lambda jobs, connection: keys(jobs).prune_keys(connection, "", 1_000, timeout=INSERT_TIMEOUT),
    "count_jobs": lambda jobs, connection: queues(jobs).count_jobs(connection),
    "count_dynamic": lambda jobs, connection: queues(jobs).count_dynamic(connection, "runs-1"),
    "list_worked": lambda jobs, connection: queues(jobs).list_worked(connection),
    "pause_queue": lambda jobs, connection: queues(jobs).pause_queue(connection, "p1"),
    "resume_queue": lambda jobs, connection: queues(jobs).resume_queue(connection, "p1"),
    "change_queue": lambda jobs, connection: queues(jobs).change_queue(connection, "p1", {"max_workers": 3}),
    "remove_queue": lambda jobs, connection: queues(jobs).remove_queue(connection, "p1"),
    "change_pools": lambda jobs, connection: queues(jobs).change_pools(connection, 3, POOLS),
    "fold_tally": lambda jobs, connection: chores(jobs).fold_tally(connection, 1_000, timeout=INSERT_TIMEOUT),
    "count_runs": lambda jobs, connection: queues(jobs).count_runs(connection, POOLS),
    "list_turns": lambda jobs, connection: jobs.list_turns(connection, 100),
    "resign_leader": lambda jobs, connection: chores(jobs).resign_leader(connection, 3, timeout=INSERT_TIMEOUT),
    "list_days": lambda jobs, connection: chores(jobs).list_days(connection, timeout=INSERT_TIMEOUT),
    "delete_finalized": lambda jobs, connection: chores(jobs).delete_finalized(
        connection, DAY, range(10, 20), KEEP, 1_000, timeout=INSERT_TIMEOUT
    ),
    "trim_finalized": lambda jobs, connection: chores(jobs).trim_finalized(
        connection, KEEP, 1_000, timeout=INSERT_TIMEOUT
    ),
    "drop_day": lambda jobs, connection: chores(jobs).drop_day(connection, DAY, timeout=INSERT_TIMEOUT),
    "prune_clients": lambda jobs, connection: chores(jobs).prune_clients(connection, 60.0, 100, timeout=INSERT_TIMEOUT),
    "list_indexes": lambda jobs, connection: chores(jobs).list_indexes(connection, timeout=INSERT_TIMEOUT),
    "rebuild_index": lambda jobs, connection: chores(jobs).rebuild_index(connection, "i", timeout=INSERT_TIMEOUT),
    "drop_index": lambda jobs, connection: chores(jobs).drop_index(connection, "i", timeout=INSERT_TIMEOUT),
    "list_clients": lambda jobs, connection: jobs.list_clients(connection),
    "end_client": lambda jobs, connection: jobs.end_client(connection, 3),
    "was_there": lambda jobs, connection: jobs.was_there(connection, looking_back=15.0, outage=5.0),
    "rescue_jobs": lambda jobs, connection: jobs.rescue_jobs(connection, 10.0),
    "register_client": lambda jobs, connection: jobs.register_client(connection, ClientRow("c1", "h", 1, POOLS, KINDS)),
    "find_partition": lambda jobs, connection: jobs.find_partition(connection, NOW.date()),
    "make_partition": lambda jobs, connection: jobs.make_partition(connection, NOW.date()),
}
"""What runs once in a while."""
