"""How a client inserts: one or many, by itself or in the caller's transaction, through the middleware there is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar, cast

from workerqueue.args import InsertOpts, JobArgs, kind_of
from workerqueue.bulk import insert_many, insert_with
from workerqueue.database import Connection, Database, Happened, Runner, in_callers_transaction
from workerqueue.errors import ConfigError, DatabaseError, UnknownQueueError
from workerqueue.events import Event
from workerqueue.inserter import Inserter
from workerqueue.job import InsertResult
from workerqueue.middleware import Insert, Middleware, around_inserts, wrapping_inserts
from workerqueue.once import Results
from workerqueue.options import NewJob, Payload, Resolver
from workerqueue.queues import Queues
from workerqueue.telling import Teller
from workerqueue.worker import Workers

A = TypeVar("A", bound=JobArgs)
T = TypeVar("T")

Insertable = JobArgs | tuple[JobArgs, InsertOpts]
"""What `insert_many` takes: args, alone or with their options."""

Write = Callable[[Sequence[NewJob]], Awaitable[Results]]
"""Inserts jobs that have been resolved."""


class Inserting:
    """Inserts jobs into one schema of one database."""

    def __init__(
        self,
        database: Database,
        resolver: Resolver,
        queues: Queues,
        workers: Workers,
        middleware: Sequence[Middleware],
        teller: Teller,
        insert_timeout: float,
    ) -> None:
        self.workers = workers
        self.queues = queues
        self._database = database
        self._resolver = resolver
        self._teller = teller
        self._insert_timeout = insert_timeout
        self._inserter = Inserter(database, insert_timeout)
        self._middleware_of_inserts = wrapping_inserts(middleware)

    async def insert(self, args: A, opts: InsertOpts | None = None) -> InsertResult[A]:
        """Insert one job, durably when this returns.

        Raises:
            InsertError: If args or options are refused; nothing is stored.
            DatabaseUnavailableError: If the database does not take it within `insert_timeout`.
            SchemaError: If the schema is not migrated.
        """
        if self._middleware_of_inserts:
            return cast("InsertResult[A]", (await self._through([(args, opts)], self._write_one))[0])
        # As in `_write_one`, which would cost a list and a call for each of many callers.
        result = await self._inserter.insert(await self._knowing(lambda: self._resolver.resolve(args, opts)))
        if self._database.jobs.is_heard or self._teller.is_heard("inserted"):
            await self._tell([result])
        return cast("InsertResult[A]", result)

    async def insert_tx(self, tx: Connection, args: A, opts: InsertOpts | None = None) -> InsertResult[A]:
        """Insert one job in the caller's own transaction: it commits with the caller's rows or not at all.

        Args:
            tx: An asyncpg connection on which a transaction is open.
            args: The job's input.
            opts: How to insert it.

        Raises:
            NotInTransactionError: If no transaction is open on `tx`.
            InsertError: If args or options are refused.
        """
        write = self._writer_in(in_callers_transaction(tx))
        if self._middleware_of_inserts:
            return cast("InsertResult[A]", (await self._through([(args, opts)], write))[0])
        job = await self._knowing(lambda: self._resolver.resolve(args, opts))
        return cast("InsertResult[A]", (await write([job]))[0])

    async def insert_many(self, jobs: Iterable[Insertable]) -> list[InsertResult[JobArgs]]:
        """Insert any number of jobs, all or none; the results are in the order of the input.

        Raises:
            InsertError: If one of them is refused; none is stored.
            DatabaseUnavailableError: If the database does not take them.
        """
        if self._middleware_of_inserts:
            return cast("list[InsertResult[JobArgs]]", await self._through(map(_with_opts, jobs), self._write_many))
        try:
            results = await insert_many(self._database, self._resolved(jobs), self._insert_timeout)
        except UnknownQueueError:
            if isinstance(jobs, Iterator) or not await self._learn_queues():
                raise
            results = await insert_many(self._database, self._resolved(jobs), self._insert_timeout)
        if self._is_heard:
            await self._tell(results)
        return cast("list[InsertResult[JobArgs]]", results)

    async def insert_many_tx(self, tx: Connection, jobs: Iterable[Insertable]) -> list[InsertResult[JobArgs]]:
        """Insert any number of jobs in the caller's own transaction; the results are in the order of the input.

        Raises:
            NotInTransactionError: If no transaction is open on `tx`.
            InsertError: If one of them is refused; none is stored.
        """
        write = self._writer_in(in_callers_transaction(tx))
        given = list(jobs)
        if self._middleware_of_inserts:
            return cast("list[InsertResult[JobArgs]]", await self._through(map(_with_opts, given), write))
        # Resolved before the first is written: what is refused must leave nothing in a transaction that goes on.
        resolved = await self._knowing(lambda: list(self._resolved(given)))
        return cast("list[InsertResult[JobArgs]]", await write(resolved))

    async def insert_kind(
        self, kind: str, payload: Mapping[str, object], opts: InsertOpts | None = None
    ) -> InsertResult[Payload]:
        """Insert a job by its kind's name; the payload is validated where the kind's class is known.

        Raises:
            UnknownKindError: If nobody here knows the kind, with near matches.
            InsertError: If payload or options are refused.
            DatabaseUnavailableError: If the database does not take it within `insert_timeout`.
        """
        if self._middleware_of_inserts:
            wanted = Insert(kind, cast("Payload", payload), opts or InsertOpts())
            return (await self._around([wanted], self._write_one))[0]
        job = await self._knowing(lambda: self._resolver.resolve_plain(kind, payload, opts, self.workers.classes))
        return (await self._write_one([job]))[0]

    # The steps of these

    async def _through(self, jobs: Iterable[tuple[JobArgs, InsertOpts | None]], write: Write) -> Results:
        return await self._around(
            [Insert(kind_of(type(args)), args, opts or InsertOpts()) for args, opts in jobs], write
        )

    async def _around(self, jobs: Sequence[Insert], write: Write) -> Results:
        """Insert jobs through the middleware.

        Raises:
            ConfigError: If it does not answer each of them.
        """

        async def insert(jobs: Sequence[Insert]) -> Results:
            return await write(await self._knowing(lambda: [self._resolve(each) for each in jobs]))

        results = await around_inserts(self._middleware_of_inserts, insert)(jobs)
        if len(results) != len(jobs):
            raise ConfigError(f"middleware: expected a result for each of {len(jobs)} inserts, got {len(results)}")
        return list(results)

    def _resolve(self, wanted: Insert) -> NewJob:
        if isinstance(wanted.args, JobArgs):
            return self._resolver.resolve(wanted.args, wanted.opts)
        return self._resolver.resolve_plain(wanted.kind, wanted.args, wanted.opts, self.workers.classes)

    async def _write_one(self, jobs: Sequence[NewJob]) -> Results:
        results = [await self._inserter.insert(job) for job in jobs]
        if self._is_heard:
            await self._tell(results)
        return results

    async def _write_many(self, jobs: Sequence[NewJob]) -> Results:
        results = await insert_many(self._database, iter(jobs), self._insert_timeout)
        if self._is_heard:
            await self._tell(results)
        return results

    def _writer_in(self, runner: Runner) -> Write:
        """Give what inserts in a caller's transaction."""

        async def write(jobs: Sequence[NewJob]) -> Results:
            results = await write_quietly(jobs)
            if self._database.jobs.is_heard:
                await self._teller.send_in(runner, _told(results))
            return results

        async def write_quietly(jobs: Sequence[NewJob]) -> Results:
            if len(jobs) != 1 or not jobs[0].is_plain:
                return await insert_with(self._database, runner, iter(jobs), self._insert_timeout)
            ids, at = await self._database.jobs.insert_job(runner, jobs[0], self._insert_timeout)
            return [InsertResult(jobs[0], ids[0], at)]

        return write

    @property
    def _is_heard(self) -> bool:
        return self._database.jobs.is_heard or self._teller.is_heard("inserted")

    async def _tell(self, results: Results) -> None:
        """Tell of jobs that have just been inserted, here and elsewhere."""
        for each in results:
            if not each.duplicate:
                self._teller.tell_here(Event.of_job("inserted", each.job))
        if self._database.jobs.is_heard and (told := _told(results)):
            with suppress(DatabaseError):  # they are inserted, whoever hears of it
                async with self._database.acquire() as connection:
                    await self._teller.send(connection, told)

    async def _knowing(self, resolve: Callable[[], T]) -> T:
        """Resolve inserts; where a queue is unknown, again with those that were added at run time."""
        try:
            return resolve()
        except UnknownQueueError:
            if not await self._learn_queues():
                raise
            return resolve()

    async def _learn_queues(self) -> bool:
        """Ask which queues were added at run time; say whether there are some that were not known here."""
        try:
            added = await self.queues.added(self._insert_timeout)
        except DatabaseError:
            return False
        known, self._resolver.added = self._resolver.added, added
        return not added <= known

    def _resolved(self, jobs: Iterable[Insertable]) -> Iterator[NewJob]:
        for each in jobs:
            args, opts = _with_opts(each)
            yield self._resolver.resolve(args, opts)


def _told(results: Results) -> list[Happened]:
    return [Happened("inserted", each.job.id, each.job.kind) for each in results if not each.duplicate]


def _with_opts(given: Insertable) -> tuple[JobArgs, InsertOpts | None]:
    return given if isinstance(given, tuple) else (given, None)
