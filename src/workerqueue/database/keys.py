"""The statements of keys: one method per statement, named as its file."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import cast

from workerqueue.database.caller import Connection, Runner
from workerqueue.database.driver_errors import in_our_words
from workerqueue.database.job_rows import StoredJob
from workerqueue.database.rows import KeyHolder
from workerqueue.database.statements import CALL_TIMEOUT, statement
from workerqueue.options import NewJob
from workerqueue.payload import MAX_ARGS_BYTES
from workerqueue.unique import Key, Replacing


class KeyTable:
    """The statements over `job_key` in one schema."""

    def __init__(self, schema: str, channel: str) -> None:
        self._schema = schema
        self._channel = channel

    async def take_keys(self, runner: Runner, keys: Sequence[Key], timeout: float) -> list[str]:
        """Hold keys until the transaction ends; give each as it is stored, with its period."""
        with in_our_words(self._schema):
            rows = await runner.fetch(
                statement("take_keys", self._schema),
                [key.text for key in keys],
                [key.period_seconds for key in keys],
                timeout=timeout,
            )
        return cast("list[str]", rows[0][0])

    async def find_keys(self, runner: Runner, keys: Collection[str], timeout: float) -> dict[str, KeyHolder]:
        """Find the jobs that have these keys."""
        with in_our_words(self._schema):
            rows = await runner.fetch(statement("find_keys", self._schema), list(keys), timeout=timeout)
        found: dict[str, KeyHolder] = {}
        for row in rows:
            key, job, is_kept, at = cast("tuple[str, int | None, bool, datetime]", row[:4])
            found[key] = KeyHolder(job, is_kept, None if row[4] is None else StoredJob._make(row[4:]), at)
        return found

    async def give_keys(
        self, runner: Runner, jobs: Mapping[str, int], ttls: Mapping[str, float | None], timeout: float
    ) -> None:
        """Give held keys to new jobs, each with how long it keeps it after its end."""
        with in_our_words(self._schema):
            await runner.fetch(
                statement("give_keys", self._schema),
                list(jobs),
                list(jobs.values()),
                [ttls[key] for key in jobs],
                timeout=timeout,
            )

    async def replace_job(
        self, runner: Runner, job_id: int, job: NewJob, how: Replacing, timeout: float
    ) -> bool | None:
        """Make a waiting job another one.

        Returns:
            Whether it was replaced; not so where the args of both would be too large together, and it was made due.
            `None` if it waits no more, or somebody has it in hand.
        """
        with in_our_words(self._schema):
            rows = await runner.fetch(
                statement("replace_job", self._schema),
                job_id,
                job.to_follow_up(),
                how.keeps_time,
                how.latest_seconds,
                how.gather,
                MAX_ARGS_BYTES,
                self._channel,
                timeout=timeout,
            )
        return bool(rows[0][1]) if rows else None

    async def find_key(self, connection: Connection, key: str) -> int | None:
        """Find the job that has a key, or was the last to have it."""
        with in_our_words(self._schema):
            job: int | None = await connection.fetchval(statement("find_key", self._schema), key, timeout=CALL_TIMEOUT)
        return job

    async def note_ends(self, connection: Connection, *, timeout: float) -> None:
        """Note until when jobs that have ended keep their keys."""
        with in_our_words(self._schema):
            await connection.execute(statement("note_ends", self._schema), timeout=timeout)

    async def prune_keys(self, connection: Connection, after: str, limit: int, *, timeout: float) -> str | None:
        """Forget those of some keys that are kept no longer; give where to go on, if not at the end."""
        with in_our_words(self._schema):
            rows = await connection.fetch(statement("prune_keys", self._schema), after, limit, timeout=timeout)
        last: str | None = rows[0]["last"]
        return last
