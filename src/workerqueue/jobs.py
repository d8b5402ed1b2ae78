"""What `client.jobs` does: look at jobs, release parked ones, delete finalized ones and free those of the dead."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Final, cast

import anyio
from pydantic import JsonValue

from workerqueue.database import Database, StoredJob, let_others_run
from workerqueue.durations import Duration, as_timedelta, delay, positive
from workerqueue.errors import ArgsError, ConfigError, JobNotFoundError, JobWaitTimeout
from workerqueue.job import ControlResult, Job, JobState
from workerqueue.maintenance.cleaner import clean
from workerqueue.maintenance.retention import FINAL, Retention
from workerqueue.options import Payload
from workerqueue.payload import INT64, decode_model, read_json
from workerqueue.unique import key_text
from workerqueue.worker import Workers

FIRST_LOOK: Final = 0.02
LONGEST_LOOK: Final = 0.5


class Jobs:
    """Looks at the jobs of one client's schema, and does with them what no worker does."""

    def __init__(self, database: Database, workers: Workers, lease_ttl: timedelta) -> None:
        self._database = database
        self._workers = workers
        self._lease_ttl = lease_ttl

    async def get(self, job: int | str) -> Job[Payload] | None:
        """Read one job, live or finalized; `None` if there is none.

        A number is its id; text is its key, digits or not: that of the live job that has it, else the last that had.
        Its args are an object of their class where the class is known here and they still fit it, else a dict.
        """
        async with self._database.acquire() as connection:
            job_id = job if isinstance(job, int) else await self._database.keys.find_key(connection, key_text(job))
            if job_id is None or job_id not in INT64:
                return None
            stored = await self._database.jobs.get_job(connection, job_id)
        return None if stored is None else stored.to_job(self._args_of(stored))

    async def release(self, job: int) -> ControlResult[Payload]:
        """Make a parked job (`InsertOpts(pending=True)`) available now.

        Refused, with the state that forbids it, for any other job.
        """
        if job not in INT64:
            return ControlResult(ok=False, state=None, reason="not_found", job=None)
        async with self._database.acquire() as connection:
            ok = await self._database.jobs.release_job(connection, job)
            stored = await self._database.jobs.get_job(connection, job)
        if stored is None:
            return ControlResult(ok=False, state=None, reason="not_found", job=None)
        found = stored.to_job(self._args_of(stored))
        return ControlResult(ok=ok, state=found.state, reason=None if ok else found.state.value, job=found)

    async def wait(self, job: int | str | Job[Payload], timeout: Duration) -> Job[Payload]:
        """Wait until a job is finalized, and give it as it then is.

        Args:
            job: The job, its id or its key.
            timeout: How long to wait at most (seconds if a number).

        Raises:
            JobWaitTimeout: If it is not finalized in that time.
            JobNotFoundError: If there is no such job, or its retention ended while it was waited for.
        """
        named = job if isinstance(job, int | str) else job.id
        limit = as_timedelta(timeout)
        pause = FIRST_LOOK
        with anyio.move_on_after(limit.total_seconds()):
            while True:
                found = await self.get(named)
                if found is None:
                    raise JobNotFoundError(f"there is no job {named!r}")
                named = found.id  # its key may go to another one
                if found.state.is_final:
                    return found
                await anyio.sleep(pause)
                pause = min(pause * 1.5, LONGEST_LOOK)
        raise JobWaitTimeout(f"job {named!r} is not finalized after {limit}")

    async def clean(
        self,
        *,
        older_than: Duration,
        states: Collection[JobState | str] = FINAL,
        queues: Collection[str] | None = None,
        limit: int | None = None,
    ) -> dict[str, dict[JobState, int]]:
        """Delete finalized jobs now, whatever retention is configured, and say how many of each queue and state.

        Args:
            older_than: How long ago they were finalized, at least (seconds if a number).
            states: Delete those of these states: `completed`, `cancelled`, `discarded`.
            queues: Delete those of these queues, configured or dynamic; by default of all.
            limit: Delete at most so many.

        Raises:
            ConfigError: If a state is not one of these three, or the age or the limit is negative.
            DatabaseUnavailableError: If the database does not answer; what was deleted before stays deleted.
        """
        age = _setting("older_than", older_than, delay)
        if limit is not None and limit < 0:
            raise ConfigError(f"limit: expected 0 or more, got {limit}")
        if isinstance(queues, str):
            raise ConfigError(f"queues: expected a collection of names, got {queues!r}; write [{queues!r}]")
        rules = Retention.by_hand(age, _final(states), queues)
        deleted: dict[str, dict[JobState, int]] = {}
        for (queue, state), count in (await clean(self._database, rules, limit)).items():
            deleted.setdefault(queue, {})[JobState(state)] = count
        return deleted

    async def rescue(self, *, older_than: Duration | None = None) -> int:
        """Free the jobs of dead clients now, and say how many; working clients do so by themselves.

        Args:
            older_than: Take for dead who has not beaten for so long (seconds if a number); by default the client's
                `lease_ttl`. Less than the fleet's beats need declares the living dead.
        """
        age = self._lease_ttl if older_than is None else _setting("older_than", older_than, positive)
        async with self._database.acquire() as connection:
            rescued = await self._database.jobs.rescue_jobs(connection, age.total_seconds())
            await let_others_run(self._database, connection, rescued.turns)
        return rescued.returned + rescued.discarded

    def _args_of(self, stored: StoredJob) -> Payload:
        args_class = self._workers.classes.get(stored.kind)
        if args_class is not None:
            try:
                return decode_model(args_class, stored.args)
            except ArgsError:  # a reader must be able to look at a job that no longer fits its class
                pass
        return cast("dict[str, JsonValue]", read_json(stored.args))


def _final(states: Collection[JobState | str]) -> list[JobState]:
    known = [state.value for state in FINAL]
    given = [states] if isinstance(states, str) else states
    for state in given:
        if state not in known:
            raise ConfigError(f"states: only finalized jobs are deleted, and {str(state)!r} is not one of {known}")
    return [JobState(state) for state in given]


def _setting(name: str, value: Duration, check: Callable[[object], timedelta]) -> timedelta:
    try:
        return check(value)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None
