"""The statements by which jobs are handled by hand: one method per statement, named as its file."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Final, cast

from workerqueue.database.caller import Connection, Runner
from workerqueue.database.driver_errors import in_our_words
from workerqueue.database.job_rows import StoredJob
from workerqueue.database.rows import Controlled, JobFilter
from workerqueue.database.statements import CALL_TIMEOUT, statement

STOP: Final = "\tstop "
"""What is said on the channel before the id of a job whose run is to stop; no pool is named like that."""


class ControlTable:
    """The statements over single jobs in one schema."""

    def __init__(self, schema: str, channel: str) -> None:
        self._schema = schema
        self._channel = channel

    async def cancel_jobs(self, runner: Runner, ids: Collection[int], *, asks: bool) -> list[Controlled]:
        """Cancel jobs that wait, and ask those that run to stop."""
        return await self._control(runner, statement("cancel_jobs", self._schema), list(ids), asks, self._channel, STOP)

    async def retry_jobs(self, runner: Runner, ids: Collection[int]) -> list[Controlled]:
        """Make jobs available that wait for their time or have ended."""
        return await self._control(runner, statement("retry_jobs", self._schema), list(ids), self._channel)

    async def delete_jobs(self, runner: Runner, ids: Collection[int]) -> list[Controlled]:
        """Delete jobs that do not run."""
        return await self._control(runner, statement("delete_jobs", self._schema), list(ids))

    async def complete_job(self, runner: Runner, job: int, output: str | None) -> list[Controlled]:
        """Complete a live job."""
        return await self._control(runner, statement("complete_job", self._schema), job, output)

    async def find_attempt(self, runner: Runner, job: int) -> tuple[int, int, str | None] | None:
        """Give the attempt of a live job that ends now, how many there are, and its retry policy."""
        with in_our_words(self._schema):
            rows = await runner.fetch(statement("find_attempt", self._schema), job, timeout=CALL_TIMEOUT)
        return cast("tuple[int, int, str | None]", rows[0]) if rows else None

    async def fail_job(self, runner: Runner, job: int, attempt: int, delay: float, error: str) -> list[Controlled]:
        """Fail a live job whose attempt this still is."""
        return await self._control(
            runner, statement("fail_job", self._schema), job, attempt, delay, error, self._channel
        )

    async def update_job(
        self, runner: Runner, job: int, said: Mapping[str, object], *, of_running: bool
    ) -> list[Controlled]:
        """Change a live job."""
        return await self._control(
            runner, statement("update_job", self._schema), job, json.dumps(said), of_running, self._channel
        )

    async def list_jobs(
        self, connection: Connection, which: JobFilter, *, below: int | None, limit: int
    ) -> list[StoredJob]:
        """List jobs, newest first."""
        with in_our_words(self._schema):
            rows = await connection.fetch(
                statement("list_jobs", self._schema),
                below,
                *[list(each) if isinstance(each, list | tuple) else each for each in which],
                limit,
                timeout=CALL_TIMEOUT,
            )
        return [StoredJob._make(row) for row in rows]

    async def find_others(self, runner: Runner, ids: Collection[int], tenant: str) -> set[int]:
        """Give those of some jobs that are not a tenant's."""
        with in_our_words(self._schema):
            rows = await runner.fetch(statement("find_others", self._schema), list(ids), tenant, timeout=CALL_TIMEOUT)
        return {cast("int", row[0]) for row in rows}

    async def _control(self, runner: Runner, sql: str, *parameters: object) -> list[Controlled]:
        with in_our_words(self._schema):
            rows = await runner.fetch(sql, *parameters, timeout=CALL_TIMEOUT)
        return [Controlled(*cast("tuple[int, bool, str, str | None]", row[:4])) for row in rows]
