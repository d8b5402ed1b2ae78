"""What the tables hold and what the model holds, in one form in which they can be compared."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

from tests.model.machine import Model, New, Row, Turn
from workerqueue import InsertOpts, JobArgs
from workerqueue.config import Config
from workerqueue.database import Connection
from workerqueue.options import NewJob, Resolver

HOUR: Final = 3600.0
SILENCE: Final = HOUR
"""Seconds without a beat after which a client is dead, here: nobody falls silent by itself."""

READ: Final = """
    select a.args->>'token' as token, a.id, a.kind, a.queue, a.pool, a.state, a.priority, a.attempt, a.max_attempts,
           a.scheduled_at, a.attempted_by, a.errors, a.output, a.checkpoint, job.lease,
           coalesce(job.state = 'waiting', false) as waits,
           (a.finalized_at is not null) = (a.state in ('completed', 'cancelled', 'discarded')) as is_home
    from job_all a left join job on job.id = a.id
"""
READ_CLIENTS: Final = """
    select number,
           coalesce(ended_as, case when heartbeat_at < now() - interval '1 hour' then 'silent' else 'beating' end)
    from client
"""
READ_TURNS: Final = """
    select name, waiting, strict,
           array(
               select coalesce(a.args->>'token', held.id::text)
               from unnest(jobs) with ordinality as held (id, place) left join job_all a on a.id = held.id
               order by place
           ) as jobs
    from dynamic_queue
"""
FALL_SILENT: Final = "update client set heartbeat_at = now() - interval '2 hours' where number = $1"
PASS_TIME: Final = "update job set scheduled_at = scheduled_at - make_interval(secs => $1)"


class Plain(JobArgs):
    token: str

    @classmethod
    def kind(cls) -> str:
        return "plain"


class Other(Plain):
    @classmethod
    def kind(cls) -> str:
        return "other"


class Ordered(Plain):
    @classmethod
    def kind(cls) -> str:
        return "ordered"


class Sorry(Plain):
    @classmethod
    def kind(cls) -> str:
        return "sorry"


class SorryLater(Plain):
    @classmethod
    def kind(cls) -> str:
        return "sorry later"

    @classmethod
    def insert_opts(cls) -> InsertOpts:
        return InsertOpts(scheduled_at=HOUR)


class SorryParked(Plain):
    @classmethod
    def kind(cls) -> str:
        return "sorry parked"

    @classmethod
    def insert_opts(cls) -> InsertOpts:
        return InsertOpts(pending=True)


CLASSES: Final = {each.kind(): each for each in (Plain, Other, Ordered, Sorry, SorryLater, SorryParked)}
KINDS: Final = [*CLASSES]
STRICT: Final = ["ordered"]
"""Kinds that hold up their dynamic queues until they are over."""
_resolver: Final = Resolver(Config(), strict=False)


def to_insert(new: New) -> NewJob:
    """Resolve a job of the model as a client does."""
    after = new.follow_up
    opts = InsertOpts(
        queue=new.pool,
        dynamic_queue=new.queue,
        priority=new.priority,
        max_attempts=new.max_attempts,
        scheduled_at=new.delay or None,
        pending=new.parked,
        on_discard=None if after is None else CLASSES[after.kind](token=after.token),
    )
    return _resolver.resolve(CLASSES[new.kind](token=new.token), opts)


class Seen(NamedTuple):
    """A job as table and model both have it."""

    kind: str
    queue: str
    pool: str
    state: str
    priority: int
    attempt: int
    max_attempts: int
    lease: int | None
    attempted_by: tuple[str, ...]
    errors: tuple[tuple[int, str], ...]
    output: str | None
    checkpoint: str | None
    hour: int
    """In how many hours from the beginning it is due."""
    waits: bool
    """Whether it is pending for its turn, and was not parked by hand."""


class Tables(NamedTuple):
    """All jobs by their tokens, all clients, and all dynamic queues in use by their names."""

    jobs: dict[str, Seen]
    clients: dict[int, str]
    turns: dict[str, Turn]
    order: list[set[str]]
    """The jobs in the order in which they fall due; those that do so at once together."""
    ids: dict[str, int]


async def read(sql: Connection, began: datetime) -> Tables:
    """Read the tables; a job must be where its state belongs, and nowhere else."""
    rows = await sql.fetch(READ)
    jobs: dict[str, Seen] = {}
    for row in rows:
        assert row["is_home"], f"{row['token']} is in the wrong table"
        assert row["token"] not in jobs, f"{row['token']} is there twice"
        jobs[row["token"]] = Seen(
            kind=row["kind"],
            queue=row["queue"],
            pool=row["pool"],
            state=row["state"],
            priority=row["priority"],
            attempt=row["attempt"],
            max_attempts=row["max_attempts"],
            lease=row["lease"],
            attempted_by=tuple(row["attempted_by"] or ()),
            errors=tuple((entry["attempt"], entry["type"]) for entry in json.loads(row["errors"] or "[]")),
            output=row["output"],
            checkpoint=row["checkpoint"],
            hour=round((row["scheduled_at"] - began).total_seconds() / HOUR),
            waits=row["waits"],
        )
    clients = {row[0]: row[1] for row in await sql.fetch(READ_CLIENTS)}
    turns = {
        row["name"]: Turn(tuple(row["jobs"]), row["waiting"], row["strict"]) for row in await sql.fetch(READ_TURNS)
    }
    order = _in_order((row["token"], (row["scheduled_at"] - began).total_seconds()) for row in rows)
    return Tables(jobs, clients, turns, order, {row["token"]: row["id"] for row in rows})


def expected(model: Model) -> Tables:
    """Give the tables as the model has them."""
    names = {number: f"c{number}" for number in model.clients}
    jobs = {
        token: Seen(
            kind=row.new.kind,
            queue=row.new.queue or row.new.pool,
            pool=row.new.pool,
            state=row.state.value,
            priority=row.new.priority,
            attempt=row.attempt,
            max_attempts=row.new.max_attempts,
            lease=row.lease,
            attempted_by=tuple(names.get(number, str(number)) for number in _starters(row)),
            errors=row.errors,
            output=row.output,
            checkpoint=None if row.checkpoint is None else str(row.checkpoint),
            hour=round(row.due / HOUR),
            waits=row.waits,
        )
        for token, row in model.rows.items()
    }
    order = _in_order((token, row.due) for token, row in model.rows.items())
    ids = {token: row.id for token, row in model.rows.items()}
    clients = {number: client.state.value for number, client in model.clients.items()}
    return Tables(jobs, clients, model.turns, order, ids)


def _starters(row: Row) -> tuple[int, ...]:
    return row.starters if row.client is None else (*row.starters, row.client)


def _in_order(dues: Iterable[tuple[str, float]]) -> list[set[str]]:
    at: dict[float, set[str]] = {}
    for token, due in dues:
        at.setdefault(due, set()).add(token)
    return [at[due] for due in sorted(at)]
