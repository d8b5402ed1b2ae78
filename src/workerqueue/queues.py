"""What `client.queues` does: look at queues, pause and resume them, change what a running fleet has."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from typing import Final

from workerqueue.args import A_NAME, is_name
from workerqueue.config import MOST_WORKERS, Config
from workerqueue.database import ALL, Connection, Database, Happened, let_others_run
from workerqueue.errors import ConfigError, UnknownQueueError, near_matches
from workerqueue.events import Event
from workerqueue.options import Resolver
from workerqueue.queue_view import Queue, QueueView, Stats, pool_of
from workerqueue.rate import read_rate
from workerqueue.telling import Teller

MOST: Final = 2**31 - 1


class Keep(Enum):
    """Leaves a setting as it is, where `None` says something."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP


class Queues:
    """Looks at the queues of one client's schema, and changes them for every process."""

    def __init__(self, database: Database, config: Config, resolver: Resolver, teller: Teller) -> None:
        self._teller = teller
        self._database = database
        self._config = config
        self._resolver = resolver

    async def list(self) -> list[Queue]:
        """List the queues that are configured here, were added, are worked by anybody or have jobs, by name.

        Dynamic queues count in their pool, and are listed themselves only while they are paused.
        """
        async with self._database.acquire() as connection:
            view = await self._look(connection)
            found = [view.pool(name) for name in view.pools]
            dynamic = view.changes.keys() - {ALL} - set(view.pools)
            found += [
                view.dynamic(name, await self._database.queues.count_dynamic(connection, name)) for name in dynamic
            ]
        return sorted(found, key=lambda queue: queue.name)

    async def get(self, name: str) -> Queue:
        """Look at one queue, configured or dynamic; a dynamic one may be empty now.

        Raises:
            UnknownQueueError: If there is none of that name: none configured, added, worked or with jobs, and no
                dynamic name that fits a template of the task table.
        """
        async with self._database.acquire() as connection:
            return await self._find(connection, name)

    async def stats(self) -> Stats:
        """Count the jobs of every queue by state; what this costs does not grow with the history."""
        async with self._database.acquire() as connection:
            return (await self._look(connection)).stats()

    async def pause(self, name: str) -> bool:
        """Start none of a queue's jobs any more, in no process; running ones finish, inserts go on.

        In force with the commit of this call, over restarts too, until it is resumed.

        Args:
            name: A configured queue; a dynamic name that has jobs or fits a template of the task table, also
                while it is empty; or `*`: all queues, those to come too.

        Returns:
            Whether it was not paused before.

        Raises:
            UnknownQueueError: If it is none of these, with near matches.
        """
        async with self._database.acquire() as connection:
            if name != ALL:
                await self._find(connection, name)
            paused = await self._database.queues.pause_queue(connection, name)
            if paused:
                await self._tell(connection, "queue_paused", [name])
        return paused

    async def resume(self, name: str) -> bool:
        """End a pause; the queue's jobs start at once, in their order. `*` resumes all, however they were paused.

        Returns:
            Whether anything was paused.

        Raises:
            UnknownQueueError: If there is no such queue, as in `pause`.
        """
        async with self._database.acquire() as connection:
            changes = await self._database.queues.list_changes(connection)
            paused = [each.name for each in changes if each.paused_at is not None and name in (each.name, ALL)]
            if not paused and name != ALL:
                await self._find(connection, name)
            resumed = [each for each in paused if await self._database.queues.resume_queue(connection, each)]
            # Nobody looks for jobs that wait for their turn in a dynamic queue.
            await let_others_run(self._database, connection, [each for each in resumed if each != ALL])
            if resumed:
                await self._tell(connection, "queue_resumed", resumed)
        return bool(resumed)

    async def set(
        self,
        name: str,
        *,
        max_workers: int | Keep | None = KEEP,
        global_limit: int | Keep | None = KEEP,
        rate: str | Keep | None = KEEP,
        burst: int | Keep | None = KEEP,
    ) -> Queue:
        """Change what a queue has in a running fleet, until it is changed again; what is left out stays as it is.

        `None` goes back to what each process has configured.

        Args:
            name: A configured queue, or one that was added.
            max_workers: How many of its jobs one process runs at once.
            global_limit: How many of its jobs run at once in all processes together.
            rate: How many start at most in any window, such as `100/m`.
            burst: How many of these at once; goes with a `rate`.

        Raises:
            UnknownQueueError: If there is no such queue; a dynamic one has no settings of its own.
            ConfigError: If a value can't be right.
        """
        said = _said(max_workers, global_limit, rate, burst)
        async with self._database.acquire() as connection:
            queue = await self._find(connection, name)
            if queue.pool != name:
                raise UnknownQueueError(
                    f"{name!r} is a dynamic queue, whose workers are those of {queue.pool!r}: set that"
                )
            if said:
                await self._database.queues.change_queue(connection, name, said)
            return await self._find(connection, name)

    async def add(
        self,
        name: str,
        *,
        max_workers: int = 100,
        global_limit: int | None = None,
        rate: str | None = None,
        burst: int | None = None,
    ) -> Queue:
        """Add a queue at run time: every client that works all queues works it from now on, after a restart too.

        Adding one that was added before changes it.

        Raises:
            ConfigError: If the name or a value can't be right, or the queue is configured here (`set` changes it).
        """
        if not is_name(name) or name == ALL:
            raise ConfigError(f"name: expected {A_NAME} other than '*', got {name!r}")
        if name in self._config.all_queues:
            raise ConfigError(f"queue {name!r} is configured here: queues.set changes it")
        said = _said(max_workers, global_limit, rate, burst) | {"is_added": True}
        async with self._database.acquire() as connection:
            await self._database.queues.change_queue(connection, name, said)
            self._resolver.added |= {name}
            return await self._find(connection, name)

    async def remove(self, name: str) -> None:
        """Remove a queue that was added at run time and has no live job.

        Raises:
            UnknownQueueError: If no such queue was added.
            ConfigError: If it has live jobs, with their number.
        """
        async with self._database.acquire() as connection:
            view = await self._look(connection)
            if name not in view.added:
                cure = "it is configured" if name in self._config.all_queues else near_matches(name, view.added)
                raise UnknownQueueError(f"no queue {name!r} was added at run time; {cure}")
            removal = await self._database.queues.remove_queue(connection, name)
        if removal.jobs:
            raise ConfigError(f"queue {name!r} has {removal.jobs} live jobs: let them end, or cancel them, before")
        self._resolver.added -= {name}

    async def added(self, timeout: float) -> frozenset[str]:
        """Name the queues that were added at run time; wait so many seconds at most for a connection."""
        async with self._database.acquire(timeout) as connection:
            changes = await self._database.queues.list_changes(connection)
        return frozenset(each.name for each in changes if each.is_added)

    async def _tell(self, connection: Connection, type_: str, names: Collection[str]) -> None:
        """Tell of queues: here by name; elsewhere that there is something to look at."""
        for name in names:
            self._teller.tell_here(Event(type_, None, "", name))
        await self._teller.send(connection, [Happened(type_, 0, "")])

    async def _look(self, connection: Connection) -> QueueView:
        changes = await self._database.queues.list_changes(connection)
        return QueueView(
            self._config,
            {each.name: each for each in changes},
            await self._database.queues.count_jobs(connection),
            await self._database.queues.list_worked(connection),
        )

    async def _find(self, connection: Connection, name: str) -> Queue:
        view = await self._look(connection)
        if name in view.pools:
            return view.pool(name)
        own = await self._database.queues.count_dynamic(connection, name) if is_name(name) else []
        if not own and pool_of(self._config, name) is None:
            raise UnknownQueueError(
                f"no queue {name!r} is configured, it fits no template of the task table and has no jobs; "
                f"{near_matches(name, view.pools)}"
            )
        return view.dynamic(name, own)


def _said(
    max_workers: int | Keep | None, global_limit: int | Keep | None, rate: str | Keep | None, burst: int | Keep | None
) -> dict[str, object]:
    """Check what is to change, and write it as the statement reads it.

    Raises:
        ConfigError: If a value can't be right.
    """
    said: dict[str, object] = {}
    if max_workers is not KEEP:
        said["max_workers"] = _at_least_one("max_workers", max_workers, MOST_WORKERS)
    if global_limit is not KEEP:
        said["global_limit"] = _at_least_one("global_limit", global_limit, MOST)
    if isinstance(rate, str):
        try:
            read = read_rate(rate)
        except ValueError as error:
            raise ConfigError(f"rate: {error}") from None
        part = None if burst is KEEP else _at_least_one("burst", burst, read.starts)
        said |= {"rate_starts": read.starts, "rate_seconds": read.seconds, "burst": part}
    elif burst is not KEEP and burst is not None:
        raise ConfigError("burst: expected a rate beside it, of which it is a part")
    elif rate is None:
        said |= {"rate_starts": None, "rate_seconds": None, "burst": None}
    return said


def _at_least_one(setting: str, value: object, most: int) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ConfigError(
            f"{setting}: expected an integer from 1 to {most}, or None for what is configured, got {value!r}"
        )
    return value
