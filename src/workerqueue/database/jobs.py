"""The job tables: one method per statement, named as its file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import accumulate
from operator import attrgetter
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar, cast
from uuid import UUID

from workerqueue.config import PRIORITIES
from workerqueue.database.caller import Connection, Runner
from workerqueue.database.driver_errors import in_our_words
from workerqueue.database.job_rows import Claimed, Finished, StoredJob
from workerqueue.database.rows import (
    NO_MARK,
    Beat,
    Claim,
    Claimant,
    ClientRow,
    HandedOver,
    Happened,
    Inserted,
    InsertedOnce,
    KnownInsert,
    Mark,
    Promotion,
    Recorded,
    Rescued,
    Walked,
    WorkingClient,
)
from workerqueue.database.statements import CALL_TIMEOUT, statement
from workerqueue.options import NewJob
from workerqueue.outcome import COMPLETED, Outcome

if TYPE_CHECKING:
    import asyncpg

    Record: TypeAlias = asyncpg.Record

A = TypeVar("A")


_ID: Final = attrgetter("job.id")


class JobTable:
    """The statements over `job` and `job_finalized` in one schema."""

    def __init__(self, schema: str, channel: str) -> None:
        self._schema = schema
        self._channel = channel
        self.is_heard = False
        """Whether the last insert found that anybody has subscribed to events."""

    @property
    def schema(self) -> str:
        """The schema whose tables these are."""
        return self._schema

    async def insert_job(self, runner: Runner, job: NewJob, timeout: float) -> Inserted:
        """Insert one job."""
        terms = job.terms
        sql = statement("insert_job", self._schema)
        with in_our_words(self._schema):
            rows = await runner.fetch(
                sql,
                terms.kind,
                job.args_json,
                job.queue,
                terms.pool,
                terms.priority,
                terms.max_attempts,
                terms.timeout.total_seconds(),
                terms.scheduled_at,
                terms.delay.total_seconds(),
                terms.pending,
                terms.retry,
                terms.tags or None,
                terms.metadata_json,
                terms.on_discard,
                self._channel,
                job.lane,
                job.context,
                terms.deadline_at,
                None if terms.deadline is None else terms.deadline.total_seconds(),
                timeout=timeout,
            )
        job_id, at, _, self.is_heard = cast("tuple[int, datetime, object, bool]", rows[0])
        return Inserted([job_id], at)

    async def insert_jobs(self, runner: Runner, jobs: Sequence[NewJob], timeout: float) -> Inserted:
        """Insert one or more jobs."""
        sql = statement("insert_jobs", self._schema)
        with in_our_words(self._schema):
            rows = await runner.fetch(sql, *_parameters(jobs), self._channel, *_rare(jobs), timeout=timeout)
        ids, at, _, self.is_heard = cast("tuple[list[int], datetime, object, bool]", rows[0])
        return Inserted(ids, at)

    async def insert_jobs_once(self, runner: Runner, jobs: Sequence[NewJob], timeout: float) -> InsertedOnce:
        """Insert those of one or more jobs whose insert_id is not known."""
        insert_ids = [None if job.insert_id is None else str(job.insert_id) for job in jobs]
        sql = statement("insert_jobs_once", self._schema)
        with in_our_words(self._schema):
            rows = await runner.fetch(sql, *_parameters(jobs), self._channel, *_rare(jobs), insert_ids, timeout=timeout)
        ids, at, _, self.is_heard = cast("tuple[list[int | None], datetime, object, bool]", rows[0])
        return InsertedOnce(ids, at)

    async def find_inserted(
        self, runner: Runner, insert_ids: Collection[UUID], timeout: float
    ) -> dict[UUID, KnownInsert]:
        """Find what was inserted under these ids."""
        sql = statement("find_inserted", self._schema)
        with in_our_words(self._schema):
            rows = await runner.fetch(sql, [str(each) for each in insert_ids], timeout=timeout)
        found: dict[UUID, KnownInsert] = {}
        for row in rows:
            insert_id, job, at = cast("tuple[str, int, datetime]", row[:3])
            found[UUID(insert_id)] = KnownInsert(job, at, None if row[3] is None else StoredJob._make(row[3:]))
        return found

    async def register_client(self, connection: Connection, client: ClientRow) -> int:
        """Make a client's row, and give the number that its jobs name it by."""
        with in_our_words(self._schema):
            number: int = await connection.fetchval(
                statement("register_client", self._schema), *client, timeout=CALL_TIMEOUT
            )
        return number

    async def list_clients(self, connection: Connection) -> list[WorkingClient]:
        """List the clients that work, in the order of their starts."""
        with in_our_words(self._schema):
            rows = await connection.fetch(statement("list_clients", self._schema), timeout=CALL_TIMEOUT)
        return [WorkingClient._make(row) for row in rows]

    async def beat(self, connection: Connection, number: int, dead_after: float) -> Beat:
        """Say that a client is alive; others are dead after `dead_after` seconds without a beat."""
        with in_our_words(self._schema):
            rows = await connection.fetch(statement("beat", self._schema), number, dead_after, timeout=CALL_TIMEOUT)
        return Beat._make(rows[0])

    async def was_there(self, connection: Connection, *, looking_back: float, outage: float) -> bool:
        """Tell whether for so many seconds clients gave signs of life, without a gap as long as an outage."""
        with in_our_words(self._schema):
            was_there: bool = await connection.fetchval(
                statement("was_there", self._schema), looking_back, outage, timeout=CALL_TIMEOUT
            )
        return was_there

    async def end_client(self, connection: Connection, number: int) -> None:
        """Say that a client has stopped and runs no job any more."""
        with in_our_words(self._schema):
            await connection.execute(statement("end_client", self._schema), number, timeout=CALL_TIMEOUT)

    async def rescue_jobs(self, connection: Connection, dead_after: float) -> Rescued:
        """Declare dead who has not beaten for `dead_after` seconds, and free the jobs that no living client runs."""
        with in_our_words(self._schema):
            rows = await connection.fetch(
                statement("rescue_jobs", self._schema), dead_after, self._channel, timeout=CALL_TIMEOUT
            )
        dead, returned, discarded, turns, returned_kinds, discarded_kinds = rows[0][:6]
        happened = [Happened("rescued", *each) for each in zip(returned, returned_kinds, strict=True)]
        happened += [Happened("discarded", *each) for each in zip(discarded, discarded_kinds, strict=True)]
        return Rescued(dead, len(returned), len(discarded), turns, happened)

    async def claim_jobs(
        self,
        connection: Connection,
        claimant: Claimant,
        *,
        lease: int,
        wanted: Mapping[str, int],
        marks: Mapping[str, Sequence[Mark]] | None = None,
    ) -> Claim:
        """Claim up to the wanted number of each pool's ready jobs, in the order they are to run.

        What does not have its turn in its dynamic queue is set aside.

        What lies before a mark of a pool, at the mark's priority, is not looked at; a pool's marks are in order, one
        for a priority.
        """
        sql = statement("claim_jobs", self._schema)
        by_pool = [(marks or {}).get(pool, ()) for pool in wanted]
        begins = [mark for of_pool in by_pool for mark in (NO_MARK, *of_pool)]
        last = list(accumulate(len(of_pool) + 1 for of_pool in by_pool))
        with in_our_words(self._schema):
            rows = await connection.fetch(
                sql,
                lease,
                *claimant.parameters,
                list(wanted),
                list(wanted.values()),
                [end - len(of_pool) for end, of_pool in zip(last, by_pool, strict=True)],
                last,
                [mark.priority for mark in begins],
                [mark.scheduled_at for mark in begins],
                [mark.id for mark in begins],
                [end for of_pool in by_pool for end in (*(mark.priority for mark in of_pool), PRIORITIES.stop)],
                timeout=CALL_TIMEOUT,
            )
        return _claim(rows, claimant, lease)

    async def claim_chosen(
        self,
        connection: Connection,
        claimant: Claimant,
        ids: Collection[int],
        *,
        lease: int,
        pool: str,
        is_held: bool,
    ) -> Claim:
        """Claim jobs of a pool that rules have chosen, as far as they are still there; what has no turn waits.

        `is_held` tells whether the caller holds the gate of the pool's own rules.
        """
        sql = statement("claim_chosen", self._schema)
        with in_our_words(self._schema):
            rows = await connection.fetch(
                sql, lease, *claimant.parameters, list(ids), pool, is_held, timeout=CALL_TIMEOUT
            )
        claim = _claim(rows, claimant, lease)
        place = {job_id: place for place, job_id in enumerate(ids)}
        claim.jobs.sort(key=lambda job: place[job.id])
        return claim

    async def find_marks(self, connection: Connection, *, pools: Collection[str], seen_ago: float) -> Walked:
        """Tell what a look at these pools walked over that was complete so many seconds ago."""
        sql = statement("find_marks", self._schema)
        with in_our_words(self._schema):
            rows = await connection.fetch(sql, list(pools), seen_ago, timeout=CALL_TIMEOUT)
        places = [(row["pool"], row["priority"], row["jobs"]) for row in rows if row["pool"] is not None]
        return Walked(rows[0]["until"], places)

    async def mark_idle(self, connection: Connection, *, client: str, pools: Collection[str], seconds: float) -> None:
        """Say that a client waits to be told of new jobs, for so many seconds."""
        with in_our_words(self._schema):
            await connection.execute(
                statement("mark_idle", self._schema), client, list(pools), seconds, timeout=CALL_TIMEOUT
            )

    async def unmark_idle(self, connection: Connection, *, client: str) -> None:
        """Say that a client need not be told of new jobs."""
        with in_our_words(self._schema):
            await connection.execute(statement("unmark_idle", self._schema), client, timeout=CALL_TIMEOUT)

    async def release_claim(self, connection: Connection, lease: int) -> tuple[int, Sequence[str]]:
        """Put back the jobs of a claim whose answer was lost.

        Returns:
            How many there were, and the dynamic queues in which somebody must see to the next job.
        """
        sql = statement("release_claim", self._schema)
        with in_our_words(self._schema):
            row = (await connection.fetch(sql, lease, self._channel, timeout=CALL_TIMEOUT))[0]
        return row["released"], row["turns"] or ()

    async def hand_over(
        self, connection: Connection, queues: Collection[str], claimant: Claimant | None = None, *, lease: int = 0
    ) -> HandedOver:
        """See to the next jobs of dynamic queues: the claimant's, where there is one that can run them."""
        sql = statement("hand_over", self._schema)
        with in_our_words(self._schema):
            rows = await connection.fetch(
                sql, list(queues), lease, *_taking_over(claimant), self._channel, timeout=CALL_TIMEOUT
            )
        row = rows[0]
        return HandedOver(Claimed.from_json(row["runs"], claimant.client if claimant else "", lease), row["again"])

    async def list_turns(self, connection: Connection, limit: int) -> list[str]:
        """List dynamic queues that stand still though a job waits there."""
        with in_our_words(self._schema):
            rows = await connection.fetch(statement("list_turns", self._schema), limit, timeout=CALL_TIMEOUT)
        return [row["name"] for row in rows]

    async def record_outcomes(
        self, runner: Connection | Runner, runs: Sequence[Finished], *, with_follow_ups: bool = True
    ) -> set[int]:
        """Write how runs ended that wait in no dynamic queue, and give the ids of those whose lease was still good."""
        sql = statement("record_outcomes", self._schema)
        with in_our_words(self._schema):
            rows = await runner.fetch(sql, *_ended(runs), self._channel, with_follow_ups, timeout=CALL_TIMEOUT)
        return set(cast("list[int] | None", rows[0][0]) or ())

    async def record_turns(
        self,
        connection: Connection,
        runs: Sequence[Finished],
        claimant: Claimant | None = None,
        *,
        lease: int = 0,
        with_follow_ups: bool = True,
    ) -> Recorded:
        """Write how runs of dynamic queues ended; the next ones are the claimant's, where there is one."""
        sql = statement("record_turns", self._schema)
        with in_our_words(self._schema):
            rows = await connection.fetch(
                sql,
                *_ended(runs),
                self._channel,
                with_follow_ups,
                lease,
                *_taking_over(claimant),
                timeout=CALL_TIMEOUT,
            )
        row = rows[0]
        next_runs = Claimed.from_json(row["runs"], claimant.client if claimant else "", lease)
        return Recorded(set(row["accepted"]), next_runs, row["turns"])

    async def save_state(
        self, connection: Connection, run: Claimed, *, progress: str | None, checkpoint: str | None
    ) -> bool:
        """Save how far a run is, and say whether it is its job's current one; `None` leaves what is there."""
        sql = statement("save_state", self._schema)
        with in_our_words(self._schema):
            rows = await connection.fetch(sql, run.id, run.lease, progress, checkpoint, timeout=CALL_TIMEOUT)
        return bool(rows)

    async def promote_due_jobs(self, connection: Connection, limit: int) -> Promotion:
        """Make at most `limit` jobs available whose time has come."""
        sql = statement("promote_due_jobs", self._schema)
        with in_our_words(self._schema):
            row = (await connection.fetch(sql, limit, self._channel, timeout=CALL_TIMEOUT))[0]
        return Promotion(row["promoted"], row["next_due"], row["has_turns"])

    async def find_partition(self, connection: Connection, day: date) -> bool:
        """Tell whether the table for the jobs that are finalized on a day (UTC) is there."""
        sql = statement("find_partition", self._schema)
        with in_our_words(self._schema):
            found: bool = await connection.fetchval(sql, _partition(day), timeout=CALL_TIMEOUT)
        return found

    async def make_partition(self, connection: Connection, day: date) -> None:
        """Make it."""
        sql = statement("make_partition", self._schema)
        # DDL takes no parameters; what stands here is a date of ours.
        for place, value in {"name": _partition(day), "from": f"{day}", "to": f"{day + timedelta(days=1)}"}.items():
            sql = sql.replace(f"{{{place}}}", value)
        with in_our_words(self._schema):
            await connection.execute(sql, timeout=CALL_TIMEOUT)

    async def has_work(
        self, connection: Connection, *, pools: Collection[str], kinds: Collection[str], horizon: timedelta
    ) -> bool:
        """Tell whether any job of these pools and kinds is ready, running, parked or due within the horizon."""
        sql = statement("has_work", self._schema)
        with in_our_words(self._schema):
            rows = await connection.fetch(sql, list(pools), list(kinds), horizon.total_seconds(), timeout=CALL_TIMEOUT)
        has_work: bool = rows[0]["has_work"]
        return has_work

    async def release_job(self, runner: Connection | Runner, job_id: int) -> bool:
        """Make a parked job available, and say whether it was one."""
        sql = statement("release_job", self._schema)
        with in_our_words(self._schema):
            rows = await runner.fetch(sql, job_id, self._channel, timeout=CALL_TIMEOUT)
        return bool(rows)

    async def get_job(self, connection: Connection, job_id: int) -> StoredJob | None:
        """Read one job, live or finalized."""
        with in_our_words(self._schema):
            rows = await connection.fetch(statement("get_job", self._schema), job_id, timeout=CALL_TIMEOUT)
        return StoredJob._make(rows[0]) if rows else None


def _claim(rows: Sequence[Record], claimant: Claimant, lease: int) -> Claim:
    """Read what a claim answers: jobs, and without a kind those that were set aside."""
    claimed = [Claimed._make((*row, claimant.client, lease)) for row in rows if row[1] is not None]
    # An UPDATE returns its rows in no order.
    claimed.sort(key=lambda job: (job.priority, job.scheduled_at, job.id))
    if len(claimed) == len(rows):
        return Claim(claimed, {}, ())
    aside = [row for row in rows if row[1] is None]
    strict = {row["queue"] for row in aside if row["args"] in claimant.strict}
    return Claim(claimed, Counter(row["pool"] for row in aside), strict)


def _taking_over(claimant: Claimant | None) -> tuple[object, ...]:
    """Give what says who runs the next jobs of dynamic queues: nobody here, or a claimant without rules."""
    if claimant is None:
        return None, [], []
    return claimant.number, list(claimant.plain_pools), list(claimant.plain_kinds)


def _ended(runs: Sequence[Finished]) -> tuple[object, ...]:
    """Give how runs ended, in the one order for all writers of many rows, so that no two wait for each other."""
    runs = sorted(runs, key=_ID)
    ids, leases = [run.job.id for run in runs], [run.job.lease for run in runs]
    return ids, leases, *_columns([run.outcome for run in runs])


def _parameters(jobs: Sequence[NewJob]) -> tuple[object, ...]:
    """Give what statements that insert many read: args, queues, the place of each job's terms, and the terms."""
    numbers: dict[str, int] = {}
    terms = [numbers.setdefault(job.terms.written, len(numbers) + 1) for job in jobs]
    queues = [job.queue for job in jobs]
    return (
        [job.args_json for job in jobs],
        queues if any(queues) else None,
        terms if len(numbers) > 1 else None,
        f"[{','.join(numbers)}]",
    )


def _rare(jobs: Sequence[NewJob]) -> tuple[list[str | None] | None, ...]:
    """Give lanes and contexts; none where no job has one."""
    lanes, contexts = [job.lane for job in jobs], [job.context for job in jobs]
    return lanes if any(lanes) else None, contexts if any(contexts) else None


def _partition(day: date) -> str:
    return f"job_finalized_{day:%Y%m%d}"


def _columns(outcomes: Sequence[Outcome]) -> Sequence[list[object] | None]:
    """Give what outcomes hold, a list a column; none where all are the usual one: a list costs 0.2 µs a job."""
    if all(outcome is COMPLETED for outcome in outcomes):
        return (None,) * 5
    return (
        [outcome.state for outcome in outcomes],
        [outcome.delay.total_seconds() for outcome in outcomes],
        [outcome.counts for outcome in outcomes],
        [outcome.error for outcome in outcomes],
        [outcome.output for outcome in outcomes],
    )
