"""What `client.schedules` does: register, look at, pause, run and delete schedules, whoever made them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, cast

from pydantic import JsonValue, ValidationError

from workerqueue.args import A_NAME, InsertOpts, JobArgs, is_name, kind_of
from workerqueue.config import Config
from workerqueue.database import AsyncpgRunner, Connection, Database, Runner, StoredSchedule
from workerqueue.errors import ConfigError, UnknownScheduleError, near_matches
from workerqueue.job import InsertResult
from workerqueue.maintenance.cron import written
from workerqueue.options import NewJob, Payload, Resolver
from workerqueue.payload import encode_model
from workerqueue.redaction import MASK, shown
from workerqueue.schedule_config import ScheduleConfig
from workerqueue.worker import Workers

InsertWith = Callable[[Runner, Sequence[NewJob]], Awaitable[Sequence[InsertResult[Payload]]]]


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as it is now."""

    name: str
    kind: str
    cron: str
    timezone: str
    args: Mapping[str, JsonValue] | None
    """Those of every job, secrets masked where their class is known; `None` where a function makes them."""
    missed: Literal["skip", "one", "all"]
    paused: bool
    next_at: datetime | None
    """When it fires next, in UTC; `None` while it is paused, or if it never does again."""
    last_at: datetime | None
    """The last time that it was fired for."""
    last_error: str | None
    """What kept the jobs of that time from being made."""
    now: datetime = field(repr=False, compare=False)
    """When this was read, by the database's clock."""

    def times(self, most: int = 10) -> list[datetime]:
        """List the next times, at most so many (1 to 1,000), in UTC, whether it is paused or not."""
        return ScheduleConfig(kind=self.kind, cron=self.cron, timezone=self.timezone).when.list_after(self.now, most)


class Schedules:
    """Handles the schedules of one client's schema."""

    def __init__(
        self, database: Database, config: Config, workers: Workers, resolver: Resolver, insert: InsertWith
    ) -> None:
        self._database = database
        self._config = config
        self._workers = workers
        self._resolver = resolver
        self._insert = insert

    @property
    def own(self) -> dict[str, ScheduleConfig]:
        """Those of this client's configuration and code.

        Raises:
            ConfigError: If both have one of a name.
        """
        built = {name: config for name, (config, _) in self._workers.schedules.items()}
        if both := sorted(built.keys() & self._config.schedules.keys()):
            raise ConfigError(f"schedule {both[0]!r} is in schedules.toml and in the code; rename one")
        return {**self._config.schedules, **built}

    async def set(
        self,
        name: str,
        cron: str,
        args: JobArgs,
        *,
        timezone: str = "UTC",
        missed: Literal["skip", "one", "all"] = "one",
        opts: InsertOpts | None = None,
    ) -> Schedule:
        """Register a schedule, or change the one of this name; it fires wherever a client works.

        Args:
            name: What it is known by.
            cron: 5 fields, 6 with seconds first, or an alias such as `@daily`.
            args: Those of every job.
            timezone: Whose clocks it means, such as `Europe/Berlin`.
            missed: What becomes of times at which nobody worked: `skip`, `one` job for all, or a job for each (`all`,
                100 at most).
            opts: Queue, priority, attempts, timeout, retry, tags, metadata and key of its jobs.

        Raises:
            ConfigError: If the name or the expression can't be right.
            InsertError: If its jobs could not be inserted so.
        """
        if not is_name(name):
            raise ConfigError(f"name: expected {A_NAME}, got {name!r}")
        given = opts or InsertOpts()
        if any(each is not None for each in _not_for_schedules(given)):
            raise ConfigError(
                "opts: a schedule takes queue, priority, attempts, timeout, retry, tags, metadata and key"
            )
        config = ScheduleConfig(
            kind=kind_of(type(args)),
            cron=cron,
            timezone=timezone,
            args=cast("dict[str, JsonValue]", json.loads(encode_model(args))),
            missed=missed,
            queue=given.queue,
            dynamic_queue=given.dynamic_queue,
            priority=given.priority,
            max_attempts=given.max_attempts,
            timeout=given.timeout,
            retry=given.retry,
            tags=None if given.tags is None else tuple(given.tags),
            metadata=given.metadata,
            job_key=given.job_key,
            job_key_mode=given.job_key_mode,
        )
        async with self._database.acquire() as connection:
            now = await self._database.schedules.now(connection)
            self._resolver.resolve(args, config.opts(name, now))
            await self._database.schedules.set_schedule(connection, name, written(config), config.when.next_after(now))
            return self._shown(await self._find(connection, name))

    async def list(self) -> list[Schedule]:
        """List all schedules, by name."""
        async with self._database.acquire() as connection:
            return [self._shown(each) for each in await self._database.schedules.list_schedules(connection)]

    async def get(self, name: str) -> Schedule:
        """Look at one.

        Raises:
            UnknownScheduleError: If there is none of that name.
        """
        async with self._database.acquire() as connection:
            return self._shown(await self._find(connection, name))

    async def pause(self, name: str) -> Schedule:
        """Fire it no more until it is resumed; times that are over meanwhile are not made up for.

        Raises:
            UnknownScheduleError: If there is none of that name.
        """
        async with self._database.acquire() as connection:
            if not await self._database.schedules.pause_schedule(connection, name, None):
                raise await self._unknown(connection, name)
            return self._shown(await self._find(connection, name))

    async def resume(self, name: str) -> Schedule:
        """Fire it again from its next time on; one that is not paused goes on as it is.

        Raises:
            UnknownScheduleError: If there is none of that name.
        """
        async with self._database.acquire() as connection:
            stored = await self._find(connection, name)
            if stored.paused_at is not None:
                following = _config(stored).when.next_after(stored.now)
                await self._database.schedules.pause_schedule(connection, name, following)
            return self._shown(await self._find(connection, name))

    async def run(self, name: str) -> InsertResult[Payload]:
        """Insert its job now, beside its times.

        Raises:
            UnknownScheduleError: If there is none of that name.
            ConfigError: If a function makes its args that this client does not have.
            InsertError: If the job can't be inserted.
        """
        async with self._database.acquire() as connection:
            stored = await self._find(connection, name)
            config = _config(stored)
            if not self.can_make(name, config):
                raise ConfigError(f"schedule {name!r}: this client does not know how to make a {config.kind!r}")
            async with self._database.begin(connection, _TIMEOUT):
                job = self.make(name, config, stored.now)
                return (await self._insert(AsyncpgRunner(connection), [job]))[0]

    async def delete(self, name: str) -> bool:
        """Delete it, and say whether it was there; what is in the code or the configuration comes back at a start."""
        async with self._database.acquire() as connection:
            return await self._database.schedules.delete_schedule(connection, name)

    # What the engine fires them by

    def can_make(self, name: str, config: ScheduleConfig) -> bool:
        """Tell whether this client can make a schedule's jobs."""
        if config.is_built:
            return name in self._workers.schedules
        return config.kind in self._workers.classes or config.kind in self._config.tasks or not self._resolver.strict

    def make(self, name: str, config: ScheduleConfig, at: datetime) -> NewJob:
        """Make a schedule's job for one time.

        Raises:
            InsertError: If it can't be inserted so.
        """
        opts = config.opts(name, at)
        if config.is_built:
            return self._resolver.resolve(self._workers.schedules[name][1](at), opts)
        return self._resolver.resolve_plain(config.kind, config.args, opts, self._workers.classes)

    async def insert(self, connection: Connection, jobs: Sequence[NewJob]) -> None:
        """Insert jobs in the transaction that is open on a connection."""
        await self._insert(AsyncpgRunner(connection), jobs)

    def _shown(self, stored: StoredSchedule) -> Schedule:
        config = _config(stored)
        return Schedule(
            name=stored.name,
            kind=config.kind,
            cron=config.cron,
            timezone=config.timezone,
            args=None if config.is_built else self._masked(config),
            missed=config.missed,
            paused=stored.paused_at is not None,
            next_at=stored.next_at if stored.paused_at is None else None,
            last_at=stored.last_at,
            last_error=stored.last_error,
            now=stored.now,
        )

    def _masked(self, config: ScheduleConfig) -> Mapping[str, JsonValue]:
        """Give a schedule's args as they may be shown: where their class is known, its secrets are asterisks."""
        args_class = self._workers.classes.get(config.kind)
        if args_class is None:
            return config.args
        try:
            return cast("dict[str, JsonValue]", shown(args_class.model_validate(config.args)))
        except ValidationError:  # they no longer fit; which of them are secret, nobody can tell
            return dict.fromkeys(config.args, MASK)

    async def _find(self, connection: Connection, name: str) -> StoredSchedule:
        found = await self._database.schedules.list_schedules(connection, [name])
        if not found:
            raise await self._unknown(connection, name)
        return found[0]

    async def _unknown(self, connection: Connection, name: str) -> UnknownScheduleError:
        names = [each.name for each in await self._database.schedules.list_schedules(connection)]
        return UnknownScheduleError(f"no schedule {name!r}; {near_matches(name, names)}")


_TIMEOUT = 10.0


def _not_for_schedules(opts: InsertOpts) -> tuple[object, ...]:
    return opts.scheduled_at, opts.unique, opts.debounce, opts.insert_id, opts.on_discard, opts.pending, opts.deadline


def _config(stored: StoredSchedule) -> ScheduleConfig:
    return ScheduleConfig.model_validate_json(stored.definition)
