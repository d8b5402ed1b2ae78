"""The plans that PostgreSQL makes of our statements: called by their methods, and explained instead of run."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import asyncpg.prepared_stmt

from tests.calls import Call
from workerqueue.database import Connection
from workerqueue.database.jobs import JobTable

if TYPE_CHECKING:
    PreparedStatement: TypeAlias = asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]


@dataclass(frozen=True)
class Node:
    """One step of a plan."""

    type: str
    table: str | None
    indexes: frozenset[str]
    """Those it reads, or by which it finds a conflict."""


@dataclass(frozen=True)
class Plan:
    """How PostgreSQL runs a statement, or has run it."""

    nodes: Sequence[Node] = field(repr=False)
    pages: int
    """How many pages it has touched, in memory or on disk; 0 if it was not run."""
    text: str
    """Its scans, for a failing test to show."""

    @property
    def indexes(self) -> frozenset[str]:
        """The indexes it uses."""
        return frozenset[str]().union(*(node.indexes for node in self.nodes))

    @property
    def read_whole(self) -> list[str]:
        """The tables, but for PostgreSQL's own, that it reads from one end to the other, each as often as it does."""
        tables = [node.table for node in self.nodes if node.type == "Seq Scan" and node.table]
        return [table for table in tables if not table.startswith("pg_")]


class Prepared:
    """A statement as the server holds it for one connection, with the parameters of one call."""

    def __init__(self, connection: Connection, statement: PreparedStatement, literals: Sequence[str]) -> None:
        self._connection = connection
        self._statement = statement
        self._execution = f'execute "{statement.get_name()}"' + (f" ({', '.join(literals)})" if literals else "")

    async def explain(self) -> Plan:
        """Give the plan that would be followed now."""
        return await self._explain("explain (format json)")

    async def run(self) -> Plan:
        """Run it, and give the plan that was followed and what it touched."""
        return await self._explain("explain (analyze, buffers, format json)")

    async def _explain(self, how: str) -> Plan:
        (answer,) = json.loads(await self._connection.fetchval(f"{how} {self._execution}"))
        return _plan(answer["Plan"])


async def prepare(connection: Connection, jobs: JobTable, call: Call) -> Prepared:
    """Prepare what a call would send on a connection."""
    sql, args = await _sent(jobs, call)
    statement = await connection.prepare(sql)
    # EXECUTE takes no parameters of the driver's, only literals: the server writes them.
    types = [f"${n}::{each.name}::text" for n, each in enumerate(statement.get_parameters(), 1)]
    literals = await connection.fetchrow("select " + ", ".join(f"quote_nullable({each})" for each in types), *args)
    return Prepared(connection, statement, [str(each) for each in literals or ()])


class _SentError(Exception):
    """Ends a call where it would have been sent."""


class _Catcher:
    """Stands for a connection, and keeps what it is told to run."""

    sql = ""
    args: tuple[object, ...] = ()

    async def fetch(self, sql: str, *args: object, timeout: float) -> list[tuple[object, ...]]:
        del timeout
        self.sql, self.args = sql, args
        raise _SentError

    execute = fetch
    fetchval = fetch


async def _sent(jobs: JobTable, call: Call) -> tuple[str, tuple[object, ...]]:
    catcher = _Catcher()
    try:
        await call(jobs, cast("Connection", catcher))
    except _SentError:
        return catcher.sql, catcher.args
    raise AssertionError("the call sent nothing")


def _plan(root: dict[str, Any]) -> Plan:
    steps = list(_walk(root))
    nodes = [
        Node(
            type=step["Node Type"],
            table=step.get("Relation Name"),
            indexes=frozenset(
                [step["Index Name"]] if "Index Name" in step else step.get("Conflict Arbiter Indexes", [])
            ),
        )
        for step in steps
    ]
    # Each step counts what it had done for it; what WITH writes and nobody reads is run beside the root.
    read = {f"CTE {step.get('CTE Name')}" for step in steps}
    counted = [
        step
        for step in steps
        if step is root or (str(step.get("Subplan Name")).startswith("CTE ") and step["Subplan Name"] not in read)
    ]
    pages = sum(step.get("Shared Hit Blocks", 0) + step.get("Shared Read Blocks", 0) for step in counted)
    said = [f"{each.type} {each.table or ''} {'/'.join(each.indexes)}" for each in nodes if each.table or each.indexes]
    return Plan(nodes, pages, "; ".join(said))


def _walk(step: dict[str, Any]) -> Generator[dict[str, Any]]:
    yield step
    for below in step.get("Plans", []):
        yield from _walk(below)


# A table to plan for


async def fill(
    connection: Connection, count: int, *, pools: int = 5, all_in: Literal["scheduled", "available"] | None = None
) -> None:
    """Add `count` jobs to the table on the connection's search path, in every state: a tenth of them is ready.

    Or all in one state: `scheduled`, for a time far off, or `available`. In an empty table the ids are 1 to `count`.
    """
    await connection.execute(
        """
        insert into job (kind, queue, pool, state, priority, scheduled_at, lease, attempt, args)
        select kind, pool, pool, state, priority,
               statement_timestamp() + make_interval(secs => case when is_due then -n else n end),
               case when state = 'running' then 42 end, case when state = 'running' then 1 else 0 end, '{"n": 1}'
        from generate_series(1, $1::integer) as n
        cross join lateral (
            select 'k' || n % 20 as kind, 'p' || n / 10 % $3::integer as pool, n / 50 % 3 as priority, n % 10 as place
        ) as of_any
        cross join lateral (
            select coalesce($2::text, case when place = 0 then 'available'
                                           when n % 1000 = 1 then 'running'
                                           when place = 2 then 'retryable'
                                           when place = 3 then 'pending'
                                           else 'scheduled' end) as state,
                   coalesce($2::text = 'available', place in (0, 1)) as is_due
        ) as of_place
        """,
        count,
        all_in,
        pools,
    )


async def without_indexes(connection: Connection, step: Awaitable[None]) -> None:
    """Take a step while `job` has no indexes, and make them again: many rows are added in half the time."""
    indexes = await connection.fetch(
        """
        select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as definition,
               conname, pg_get_constraintdef(pg_constraint.oid) as key
        from pg_index left join pg_constraint on conindid = indexrelid and contype in ('p', 'u')
        where indrelid = 'job'::regclass
        """
    )
    for each in indexes:
        await connection.execute(
            f"alter table job drop constraint {each['conname']}" if each["conname"] else f"drop index {each['name']}"
        )
    await step
    for each in indexes:
        await connection.execute(
            f"alter table job add constraint {each['conname']} {each['key']}" if each["conname"] else each["definition"]
        )
