"""The client: inserts jobs, and works them when it has workers and is started."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import anyio

from workerqueue.args import JobArgs
from workerqueue.bulk import insert_with
from workerqueue.config import Config, QueueConfig
from workerqueue.database import (
    Connection,
    Database,
    Migrations,
    Pool,
    WorkingClient,
    in_callers_transaction,
)
from workerqueue.durations import Duration, not_negative, positive
from workerqueue.engine import Ending, Engine
from workerqueue.errors import ConfigError, StaleRunError, UnknownQueueError, near_matches
from workerqueue.events import Events
from workerqueue.inserting import Inserting
from workerqueue.job import Job, JobState
from workerqueue.job_context import NOTHING, entered
from workerqueue.jobs import Jobs
from workerqueue.kv import KeyValues
from workerqueue.locks import Lease, Locks
from workerqueue.maintenance.cron import Cron
from workerqueue.maintenance.leader import Leader
from workerqueue.maintenance.retention import Retention
from workerqueue.middleware import Middleware
from workerqueue.options import Resolver
from workerqueue.outcome import Outcome
from workerqueue.payload import encode_output
from workerqueue.queue_view import Stats
from workerqueue.queues import Queues
from workerqueue.schedule_config import ScheduleConfig
from workerqueue.schedules import Schedules
from workerqueue.subscription import Subscription
from workerqueue.telling import Teller
from workerqueue.worker import Workers

A = TypeVar("A", bound=JobArgs)

_log = logging.getLogger("workerqueue.client")

_current: ContextVar[Client] = ContextVar("workerqueue_client")


def current_client() -> Client:
    """Give the client that runs the current worker.

    Raises:
        ConfigError: Outside a worker.
    """
    try:
        return _current.get()
    except LookupError:
        raise ConfigError("there is no current client: current_client() works inside a worker") from None


class Client(Inserting):
    """Inserts jobs into one schema of one database, and works them.

    Without workers it is an insert-only client, which needs no start. One started client is one id.

    Args:
        database: A URL, or the application's own `asyncpg.Pool`, which is neither closed nor changed. By default
            the environment says: `WORKERQUEUE_DATABASE_URL`, `DATABASE_URL`, or `PGHOST` and its kin.
        config: A `Config`, or the folder that holds `queues.toml` and `tasks.toml`. By default there is one queue,
            `default`, with 100 workers.
        workers: Who works which kind.
        schema: The schema that holds the tables.
        strict: Refuse queues and kinds that nobody here knows. Without it they are stored, and whoever knows
            them works them.
        id: The client's id, written on what it works; by default host, process and a random part.
        concurrency: The most jobs at once over all pools; by default the sum of the pools.
        poll_interval: How often to look for jobs when nothing is heard from the database (seconds if a number).
        heartbeat_interval: How often a working client says that it is alive (seconds if a number); at most a third of
            `lease_ttl`, so that two signs may be lost.
        lease_ttl: How long a client may be silent before others take it for dead and free its jobs (seconds if a
            number). The same for all clients of a schema.
        stop_timeout: How long `stop` lets running jobs finish before it cancels them (seconds if a number).
        insert_timeout: How long an insert may take before it raises (seconds if a number).
        middleware: What is put around all inserts and all work, the outermost first.

    Raises:
        ConfigError: If any of this can't be right.
    """

    def __init__(
        self,
        database: str | Pool | None = None,
        *,
        config: Config | str | Path | None = None,
        workers: Workers | None = None,
        schema: str = "workerqueue",
        strict: bool = True,
        id: str | None = None,  # noqa: A002 - the contract's name
        concurrency: int | None = None,
        poll_interval: Duration = 1.0,
        stop_timeout: Duration = 30.0,
        heartbeat_interval: Duration = 3.0,
        lease_ttl: Duration = 10.0,
        insert_timeout: Duration = 10.0,
        middleware: Sequence[Middleware] = (),
    ) -> None:
        self.id = id or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.config = config if isinstance(config, Config) else Config.load(config) if config else Config()
        self._poll_interval = _setting("poll_interval", poll_interval, positive)
        self._stop_timeout = _setting("stop_timeout", stop_timeout, not_negative)
        self._heartbeat_interval = _setting("heartbeat_interval", heartbeat_interval, positive)
        self._lease_ttl = _setting("lease_ttl", lease_ttl, positive)
        if self._heartbeat_interval * 3 > self._lease_ttl:
            raise ConfigError(
                f"heartbeat_interval: expected at most a third of lease_ttl ({self._lease_ttl}), got "
                f"{self._heartbeat_interval}: a client whose beats come late would be taken for dead"
            )
        timeout = _setting("insert_timeout", insert_timeout, positive).total_seconds()
        if concurrency is not None and concurrency < 1:
            raise ConfigError(f"concurrency: expected at least 1, got {concurrency}")
        self._concurrency = concurrency
        resolver = Resolver(self.config, strict=strict)
        door = Database(database, schema, name=f"workerqueue {self.id}"[:63])
        self.events = Events()
        self._teller = Teller(door, self.events)
        super().__init__(
            door,
            resolver,
            Queues(door, self.config, resolver, self._teller),
            Workers() if workers is None else workers,
            middleware,
            self._teller,
            timeout,
        )
        self._middleware = tuple(middleware)
        self._engine: Engine | None = None
        self._stopping: anyio.Event | None = None
        self.schedules = Schedules(
            self._database,
            self.config,
            self.workers,
            self._resolver,
            lambda runner, jobs: insert_with(self._database, runner, iter(jobs), self._insert_timeout),
        )
        self.kv = KeyValues(self._database)
        self._locks = Locks(self._database)
        self.jobs = Jobs(self._database, self.workers, self._lease_ttl, self._teller)
        self._check_workers()

    async def open(self) -> None:
        """Open the client's pool; done on first use too."""
        await self._database.open()

    async def close(self) -> None:
        """Stop if it is started, and close the client's own pool; a pool that was given stays open."""
        await self.stop()
        with anyio.CancelScope(shield=True):
            await self._database.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, anyio.get_cancelled_exc_class()):
            await self.stop(timeout=0)  # there is no time left to wait for anything
        await self.close()

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """Open a transaction on a connection of the client's pool, to write rows and insert jobs together.

        ::

            async with current_client().transaction() as tx:
                await tx.execute("update runs set …")
                await current_client().insert_tx(tx, RunFinishedArgs(id=run))
        """
        return self._database.transaction()

    async def complete_tx(self, tx: Connection, job: Job[A], output: object = None) -> None:
        """Complete the running job in its worker's own transaction: its effects and the completion are one commit.

        For a worker: what it returns afterwards is ignored. If it returns without having committed, the attempt
        has failed.

        Args:
            tx: An asyncpg connection on which a transaction is open.
            job: The job that the worker was given.
            output: What is stored as its output.

        Raises:
            StaleRunError: If the run is not the job's current one any more, or the job is not run by this client; let
                it end the transaction.
            NotInTransactionError: If no transaction is open on `tx`.
            ArgsError: If the output can't be stored.
        """
        runner = in_callers_transaction(tx)
        if self._engine is None:
            raise StaleRunError(f"job {job.id} is not run by this client, which is not started")
        written = None if output is None else encode_output(output)
        await self._engine.complete_in(runner, job.id, Outcome("completed", JobState.COMPLETED, output=written))

    def lock(self, key: str, ttl: Duration, wait: Duration | None = None) -> AbstractAsyncContextManager[Lease]:
        """Hold a lock while a block runs: nobody else holds the key's, in any process.

        ::

            async with client.lock("stock-7", ttl=30) as lease:
                await update_stock(fence=lease.fence)

        Args:
            key: 1 to 512 characters.
            ttl: How long it holds unless it is renewed (seconds if a number), which is done every third of that; who
                dies leaves it to others after so long.
            wait: How long to wait for it at most (seconds if a number); 0 is not at all, `None` for ever.

        Raises:
            LockHeldError: If others hold it for all that time.
            LockLostError: Behind the block, which was cancelled, as it could not be renewed in time.
            ConfigError: If an argument can't be right.
        """
        return self._locks.hold("lock", key, 1, ttl, wait)

    def semaphore(
        self, key: str, limit: int, ttl: Duration, wait: Duration | None = None
    ) -> AbstractAsyncContextManager[Lease]:
        """Hold one of `limit` places while a block runs; otherwise as `lock`, whose keys are others."""
        return self._locks.hold("semaphore", key, limit, ttl, wait)

    async def clients(self) -> list[WorkingClient]:
        """List the clients that work in this schema, in any process: who they are, what they work and run.

        One that has died is listed until others notice, at most `lease_ttl` and a beat later.
        """
        async with self._database.acquire() as connection:
            return await self._database.jobs.list_clients(connection)

    async def stats(self) -> Stats:
        """Count the jobs of every queue by state, and name the queues that nobody works.

        What this costs does not grow with the history.
        """
        return await self.queues.stats()

    def subscribe(
        self,
        *,
        types: Collection[str] | None = None,
        kinds: Collection[str] | None = None,
        cluster: bool = False,
    ) -> Subscription:
        """Hear of what happens, one event after the other.

        ::

            async with client.subscribe(types=["completed"], cluster=True) as events:
                async for event in events:
                    print(event.job)

        In force once it is entered. A reader that is slow loses the oldest events; `Event.missed` says how many.
        What is inserted in a caller's transaction is heard of at its commit, with `cluster=True`.

        Args:
            types: Only these: `inserted`, `started`, `completed`, `failed`, `snoozed`, `cancelled`, `discarded`,
                `rescued`, `stale`, `interrupted`, `queue_paused`, `queue_resumed`.
            kinds: Only of jobs of these kinds.
            cluster: Of all processes, instead of this client alone. Events are hints there: what is told while the
                connection is lost is not heard of.

        Raises:
            ConfigError: If there is no such type; on entering, if notifications never arrive.
            DatabaseUnavailableError: On entering, if the database does not answer.
        """
        return Subscription(self._database, self.events, self.jobs, types=types, kinds=kinds, cluster=cluster)

    # Working

    async def start(self, *, queues: Mapping[str, int | None] | None = None) -> None:
        """Start working; does nothing if it is started.

        Args:
            queues: Work only these queues, each with so many workers (`None`: as configured). By default all.

        Raises:
            UnknownQueueError: If one of `queues` is not configured.
            ConfigError: If the client has no workers, or the pool it was given is too small.
            SchemaError: If the schema is not migrated.
            DatabaseUnavailableError: If the database can't be reached.
        """
        await self._started(queues)

    async def _started(self, queues: Mapping[str, int | None] | None) -> Engine:
        if self._engine is not None:
            return self._engine
        if not self.workers:
            raise ConfigError("this client has no workers to start: pass Client(workers=…), or do not start it")
        self._check_workers()
        pools = self._pools(queues)
        self._database.check_room_for_engine()
        await self.open()
        await Migrations(self._database).check()
        if self._engine is None:  # nobody else started it while this call waited
            self._engine = self._make_engine(pools, works_all=queues is None)
            token = _current.set(self)
            with entered(NOTHING):  # a job has its own context, not that of whoever started the client
                self._engine.start()  # its tasks inherit what is set here, and with it the current client
            _current.reset(token)
            _log.info(
                "Working %d kinds in %d queues",
                len(self.workers),
                len(pools),
                extra={"client": self.id, "schema": self._database.schema},
            )
        return self._engine

    async def stop(self, timeout: Duration | None = None) -> None:
        """Stop working: finish what runs, cancel it after `timeout`, release what was cut off; may be repeated.

        What is cut off goes back to `available` and loses no attempt. A second call with a timeout of 0 while
        one is under way cancels at once.

        Args:
            timeout: How long running jobs may still take (seconds if a number); by default `stop_timeout`.
        """
        grace = self._stop_timeout if timeout is None else _setting("timeout", timeout, not_negative)
        if self._engine is None:
            return
        if self._stopping is not None:
            if not grace:
                self._engine.hurry()
            await self._stopping.wait()
            return
        self._stopping = anyio.Event()
        try:
            await self._engine.stop(grace)
            left = {"left_behind": self._engine.left_behind} if self._engine.left_behind else {}
            _log.info("Stopped", extra={"client": self.id, **left})
        finally:
            self._engine = None
            self._stopping.set()
            self._stopping = None

    async def run(
        self,
        *,
        queues: Mapping[str, int | None] | None = None,
        drain: bool = False,
        horizon: Duration = 60.0,
        max_time: Duration | None = None,
    ) -> bool:
        """Start, work until SIGTERM or SIGINT, and stop; a second signal releases what runs at once.

        A client that was not open before is closed in the end.

        Args:
            queues: Work only these queues, as in `start`.
            drain: End when no job that this client can work is available, running, parked or due within `horizon`.
            horizon: How far ahead `drain` looks (seconds if a number).
            max_time: End after this time (seconds if a number).

        Returns:
            Whether the jobs under way could end; not so after a second signal.
        """
        ahead = _setting("horizon", horizon, not_negative)
        limit = None if max_time is None else _setting("max_time", max_time, positive).total_seconds()
        was_open = self._database.is_open
        try:
            return await Ending().run(
                lambda: self._started(queues), self.stop, drain_horizon=ahead if drain else None, max_time=limit
            )
        finally:
            await (self.stop() if was_open else self.close())

    # The steps of these

    def _check_workers(self) -> None:
        """Check every known class against the task table."""
        for kind, args_class in self.workers.classes.items():
            self.config.check_class(args_class, kind)

    def _pools(self, queues: Mapping[str, int | None] | None) -> Mapping[str, QueueConfig]:
        """Give the queues to work."""
        configured = self.config.all_queues
        if queues is None:
            return configured
        pools: dict[str, QueueConfig] = {}
        for name, max_workers in queues.items():
            if name not in configured:
                raise UnknownQueueError(f"no queue {name!r} is configured; {near_matches(name, configured)}")
            pools[name] = configured[name] if max_workers is None else QueueConfig(max_workers=max_workers)
        return pools

    def _make_engine(self, pools: Mapping[str, QueueConfig], *, works_all: bool) -> Engine:
        return Engine(
            self._database,
            self.workers,
            pools,
            self.id,
            self._teller,
            poll_interval=self._poll_interval.total_seconds(),
            heartbeat_interval=self._heartbeat_interval.total_seconds(),
            lease_ttl=self._lease_ttl.total_seconds(),
            concurrency=self._concurrency,
            retention=Retention.of(self.config),
            task=self.config.task,
            works_all=works_all,
            middleware=self._middleware,
            make_cron=partial(self._make_cron, own=self.schedules.own),
        )

    def _make_cron(self, leader: Leader, own: Mapping[str, ScheduleConfig]) -> Cron:
        schedules = self.schedules
        return Cron(self._database, leader, own, schedules.can_make, schedules.make, schedules.insert)


def _setting(name: str, value: Duration, check: Callable[[object], timedelta]) -> timedelta:
    try:
        return check(value)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None
