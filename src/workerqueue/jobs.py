"""What `client.jobs` does: look at jobs, and release parked ones."""

from __future__ import annotations

from typing import Final, cast

import anyio
from pydantic import JsonValue

from workerqueue.database import Database, StoredJob
from workerqueue.durations import Duration, as_timedelta
from workerqueue.errors import ArgsError, JobNotFoundError, JobWaitTimeout
from workerqueue.job import ControlResult, Job
from workerqueue.options import Payload
from workerqueue.payload import INT64, decode_model, read_json
from workerqueue.worker import Workers

FIRST_LOOK: Final = 0.02
LONGEST_LOOK: Final = 0.5


class Jobs:
    """Looks at the jobs of one client's schema, and releases parked ones."""

    def __init__(self, database: Database, workers: Workers) -> None:
        self._database = database
        self._workers = workers

    async def get(self, job: int) -> Job[Payload] | None:
        """Read one job by its id, live or finalized; `None` if there is none.

        Its args are an object of their class where the class is known here and they still fit it, else a dict.
        """
        if job not in INT64:
            return None
        async with self._database.acquire() as connection:
            stored = await self._database.jobs.get_job(connection, job)
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

    async def wait(self, job: int | Job[Payload], timeout: Duration) -> Job[Payload]:
        """Wait until a job is finalized, and give it as it then is.

        Args:
            job: The job, or its id.
            timeout: How long to wait at most (seconds if a number).

        Raises:
            JobWaitTimeout: If it is not finalized in that time.
            JobNotFoundError: If there is no such job, or its retention ended while it was waited for.
        """
        job_id = job if isinstance(job, int) else job.id
        limit = as_timedelta(timeout)
        pause = FIRST_LOOK
        with anyio.move_on_after(limit.total_seconds()):
            while True:
                found = await self.get(job_id)
                if found is None:
                    raise JobNotFoundError(f"there is no job {job_id}")
                if found.state.is_final:
                    return found
                await anyio.sleep(pause)
                pause = min(pause * 1.5, LONGEST_LOOK)
        raise JobWaitTimeout(f"job {job_id} is not finalized after {limit}")

    def _args_of(self, stored: StoredJob) -> Payload:
        args_class = self._workers.classes.get(stored.kind)
        if args_class is not None:
            try:
                return decode_model(args_class, stored.args)
            except ArgsError:  # a reader must be able to look at a job that no longer fits its class
                pass
        return cast("dict[str, JsonValue]", read_json(stored.args))
