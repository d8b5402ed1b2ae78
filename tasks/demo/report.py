"""What the demonstration prints: its progress, failures as they happen, and a table per kind and queue."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from time import monotonic

from tasks.database import Row, fetch_all
from workerqueue import Client

LOOK_SECONDS = 0.5

COUNT_JOBS = """
    select count(*) filter (where state in ('available', 'pending')) as waiting,
        count(*) filter (where state in ('scheduled', 'retryable')) as later,
        count(*) filter (where state = 'running') as running,
        count(*) filter (where finalized_at is not null) as done
    from workerqueue.job_all
    where id > $1
"""

# An attempt takes from its start to its end; of a job that was tried again, the last one is stored.
PER_KIND = """
    select kind as name, count(*) filter (where state = 'completed') as completed,
        coalesce(sum(jsonb_array_length(errors)), 0)::bigint as failed,
        percentile_cont(0.5) within group (order by 1000 * extract(epoch from finalized_at - attempted_at))
            as typical,
        max(1000 * extract(epoch from finalized_at - attempted_at)) as longest
    from workerqueue.job_all
    where id > $1
    group by kind
    order by min(id)
"""

PER_QUEUE = """
    select pool as name, count(*) filter (where state = 'completed') as completed,
        coalesce(sum(jsonb_array_length(errors)), 0)::bigint as failed,
        count(distinct queue) filter (where queue <> pool) as dynamic,
        extract(epoch from max(finalized_at) - min(attempted_at)) as seconds
    from workerqueue.job_all
    where id > $1
    group by pool
    order by min(id)
"""


class Counts(Row):
    """How many jobs are where."""

    waiting: int
    later: int
    running: int
    done: int

    @property
    def left(self) -> int:
        """How many are not done."""
        return self.waiting + self.later + self.running


class KindRow(Row):
    """What happened to the jobs of one kind."""

    name: str
    completed: int
    failed: int
    typical: float | None
    longest: float | None


class QueueRow(Row):
    """What happened in one queue and the dynamic queues that share its workers."""

    name: str
    completed: int
    failed: int
    dynamic: int
    seconds: float | None


async def watch(client: Client, since: int, *, has_ended: Callable[[], bool]) -> None:
    """Print how many jobs wait, run and are done, until none is left and no more will come."""
    started = monotonic()
    while True:
        is_last_look = has_ended()  # asked before counting: what comes in between is still seen
        async with client.transaction() as tx:
            (now,) = await fetch_all(tx, Counts, COUNT_JOBS, since)
        print(
            f"  {monotonic() - started:4.1f} s   waiting {now.waiting:4}   running {now.running:3}   "
            f"due later {now.later:3}   done {now.done:4}",
            flush=True,
        )
        if is_last_look and now.left == 0:
            return
        await asyncio.sleep(LOOK_SECONDS)


async def print_tables(client: Client, since: int) -> None:
    """Print what happened, per kind and per queue."""
    async with client.transaction() as tx:
        kinds = await fetch_all(tx, KindRow, PER_KIND, since)
        queues = await fetch_all(tx, QueueRow, PER_QUEUE, since)
    _print_table(
        ["kind", "completed", "failed attempts", "typical ms", "longest ms"],
        [[row.name, row.completed, row.failed, _number(row.typical), _number(row.longest)] for row in kinds],
    )
    _print_table(
        ["queue", "completed", "failed attempts", "dynamic queues", "busy for s"],
        [[row.name, row.completed, row.failed, row.dynamic, _number(row.seconds)] for row in queues],
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    lines = [header, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    print()
    for name, *numbers in lines:
        aligned = [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
        print("  " + "   ".join([name.ljust(widths[0]), *aligned]))
    sys.stdout.flush()


class JobLine(logging.Formatter):
    """Writes what the library logs about a job as one line: what happened, to which job, and why."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record with the fields that say which job it is about."""
        fields = vars(record)
        line = f"  {record.getMessage()}"
        if "task_kind" in fields:
            line += f": {fields['task_kind']} #{fields['job_id']}, attempt {fields['attempt']}"
        if "error" in fields:
            line += f": {fields['error']}"
        return line


def show_log(level: int) -> None:
    """Print what the library logs from a level on."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JobLine())
    logging.getLogger("workerqueue").addHandler(handler)
    logging.getLogger("workerqueue").setLevel(level)
