"""The engine: its parts joined, started together and stopped in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from time import monotonic
from typing import Final

import anyio

from workerqueue.config import QueueConfig, TaskConfig
from workerqueue.database import (
    CHANGED,
    RESIGNED,
    SCHEDULED,
    STOP,
    SUBSCRIBED,
    Claimed,
    Database,
    Finished,
    Rescued,
    Runner,
    let_others_run,
)
from workerqueue.durations import as_timedelta
from workerqueue.engine.completer import Completer
from workerqueue.engine.executor import Executor
from workerqueue.engine.heartbeat import Calls
from workerqueue.engine.notifier import pass_on_hints
from workerqueue.engine.presence import Presence
from workerqueue.engine.producer import Producer
from workerqueue.engine.rules import Rules
from workerqueue.engine.run_events import event_of_run
from workerqueue.engine.runs import Interruption, Run
from workerqueue.engine.slots import Slots
from workerqueue.errors import DatabaseError, StaleRunError
from workerqueue.events import Event
from workerqueue.maintenance.chores import run_chores
from workerqueue.maintenance.cron import Cron
from workerqueue.maintenance.leader import Leader
from workerqueue.maintenance.retention import Retention
from workerqueue.middleware import Middleware
from workerqueue.outcome import INTERRUPTED, STOPPED, Outcome
from workerqueue.telling import Teller
from workerqueue.worker import Workers

_log = logging.getLogger("workerqueue.engine")

CANCEL_GRACE: Final = 5.0
"""Seconds that cancelled workers have to clean up before their jobs are released all the same."""

HURRIED_GRACE: Final = 0.1
"""The same when there is no time: enough for a worker that does nothing but end."""

SILENCE_GRACE: Final = 3.0
"""Seconds that a stop waits in all for a database that does not answer, beside its grace for what runs."""
CLAIM_SHARE: Final = 1.0
"""Of these for a claim under way: what it takes and nobody hears of is rescued."""
GOODBYE_SHARE: Final = 0.5
"""Of these to say that the client has stopped."""


class Engine:
    """Works the jobs of one client's pools, from `start` to `stop`; an engine is used once.

    Args:
        database: Where the jobs are.
        workers: Who works which kind.
        queues: The pools, and how many workers each has.
        client: The client's id, written on what it claims.
        teller: Told of everything that happens to a run.
        poll_interval: Seconds between looks at the database when nothing is heard from it.
        heartbeat_interval: Seconds between two signs of life.
        lease_ttl: Seconds without one after which a client is dead, and its jobs are freed.
        concurrency: The most jobs at once over all pools; `None` leaves it to the pools.
        retention: How long finalized jobs are kept, while this client leads.
        task: Gives a kind's row of the task table.
        works_all: Whether it works the queues that are added at run time, too.
        middleware: What is around all work, the outermost first.
        make_cron: Makes what fires schedules, given who leads.
    """

    def __init__(
        self,
        database: Database,
        workers: Workers,
        queues: Mapping[str, QueueConfig],
        client: str,
        teller: Teller,
        *,
        poll_interval: float,
        heartbeat_interval: float,
        lease_ttl: float,
        concurrency: int | None,
        retention: Retention,
        task: Callable[[str], TaskConfig],
        works_all: bool,
        middleware: Sequence[Middleware],
        make_cron: Callable[[Leader], Cron],
    ) -> None:
        self._database = database
        self._teller = teller
        self._workers = workers
        self._poll_interval = poll_interval
        self._lease_ttl = lease_ttl
        self._retention = retention
        self._kinds = workers.kinds
        max_ages = {kind: task(kind).max_age for kind in self._kinds}
        self._executor = Executor(
            workers,
            client,
            {kind: as_timedelta(age) for kind, age in max_ages.items() if age is not None},
            middleware,
            self._save_state,
            self._stuck,
        )
        rules = Rules(queues, {kind: task(kind) for kind in self._kinds}, works_all=works_all)

        def open_pool(name: str) -> Slots:
            return Slots(name, rules.max_workers(name), self._work)

        self._pools = {name: open_pool(name) for name in queues}
        self._presence = Presence(
            database,
            client,
            list(queues),
            self._kinds,
            heartbeat_interval=heartbeat_interval,
            lease_ttl=lease_ttl,
            on_lost=self._lost,
            calls=Calls(
                on_queues=lambda: self._producer.change_rules(),
                on_stop=self._stop_runs,
                on_heard=teller.hear_of_subscribers,
                on_rescued=self._tell_rescued,
            ),
        )
        self._leader = Leader(database, lambda: self._presence.registered)
        self._cron = make_cron(self._leader)
        self._producer = Producer(
            database,
            self._pools,
            self._kinds,
            rules,
            client,
            self._presence,
            self._give_back,
            open_pool,
            poll_interval=poll_interval,
            concurrency=concurrency,
        )
        self._completer = Completer(database, self._producer.turns, self._written)
        self._freed = asyncio.Event()
        self._abandoned = 0
        self._hurried = False
        self._grace: anyio.CancelScope | None = None
        self._patience = SILENCE_GRACE
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> int:
        """How many jobs are being worked."""
        return sum(slots.busy for slots in self._pools.values())

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being worked or written, and the last look found nothing to claim."""
        return self._producer.is_dry and self.running == 0 and self._completer.backlog == 0

    @property
    def left_behind(self) -> int:
        """How many runs did not end when they were cancelled, and were ended without their workers."""
        return self._abandoned

    async def complete_in(self, runner: Runner, job: int, outcome: Outcome) -> None:
        """Complete a job that is run here in a transaction of its worker's.

        Raises:
            StaleRunError: If it is not run here, or the run is not its current one any more.
        """
        run = self._executor.find(job)
        if run is None:
            raise StaleRunError(f"job {job} is not run by this client now: complete_tx is for the worker that runs it")
        if job not in await self._database.jobs.record_outcomes(runner, [Finished(run.stored, outcome)]):
            raise StaleRunError(f"this run of job {job} is not its current one any more: roll back what it did")
        run.in_tx = True

    def start(self) -> None:
        """Start working; returns at once."""
        self._task = asyncio.create_task(self._run(), name="workerqueue engine")
        self._task.add_done_callback(_log_failure)

    async def has_work(self, horizon: timedelta) -> bool:
        """Tell whether a job is left that this engine can work: ready, running, parked or due within the horizon."""
        try:
            async with self._database.acquire() as connection:
                return await self._database.jobs.has_work(
                    connection, pools=list(self._pools), kinds=self._kinds, horizon=horizon
                )
        except DatabaseError:  # away for now; what it would say is not known
            return True

    async def wait(self) -> None:
        """Wait until the engine has ended, and raise what ended it if it was not `stop`."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def stop(self, grace: timedelta) -> None:
        """Stop: claim no more, wait for what runs, cancel it after `grace`, and release what still runs then.

        What was cut off goes back to `available` and loses no attempt. Nothing of this client is left `running`,
        not even when the stop itself is cancelled: then it goes on without grace.
        """
        try:
            await self._stop_starting()
            _log.info("Waiting for %s", _jobs(self.running), extra={"running": self.running})
            await self._wait_for_runs(grace.total_seconds())
        except BaseException:
            self.hurry()
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await self._stop_starting()
                await self._cut_off(CANCEL_GRACE if grace else HURRIED_GRACE)
                await self._write_the_rest()
                await self._ask(self._presence.end, self._patience)
                await self._end()

    def hurry(self) -> None:
        """End the waiting of a `stop`, under way or to come: cancel now."""
        self._hurried = True
        if self._grace is not None:
            self._grace.cancel()

    async def _stop_starting(self) -> None:
        await self._ask(self._producer.stop, CLAIM_SHARE)
        for slots in self._pools.values():
            for job in slots.take_back():
                self._give_back(job)

    def _give_back(self, job: Claimed) -> None:
        """Release a job that was claimed and has not been started."""
        self._completer.add(Finished(job, INTERRUPTED))

    def _stop_runs(self, ids: Collection[int]) -> None:
        """Stop what runs of these jobs, and what was claimed and has not been started; what is not here is others'."""
        self._executor.interrupt(ids, Interruption.ASKED)
        for slots in self._pools.values():
            for job in slots.take_back(which=lambda job: job.id in ids):
                self._completer.add(Finished(job, STOPPED))

    def _stuck(self, run: Run, outcome: Outcome) -> bool:
        """End a run whose worker does not end; not if the pool has given up too many already."""
        job = run.stored
        extra = {"task_kind": job.kind, "job_id": job.id, "queue": job.queue or job.pool}
        if not self._pools[job.pool].give_up(run.task):
            _log.critical("A worker is stuck, and so are too many others: restart this process", extra=extra)
            return False
        _log.error("A worker is stuck: it was cut off and does not end; its slot works on without it", extra=extra)
        self._abandoned += 1
        self._completer.add(Finished(job, outcome))
        self._producer.slot_freed(job.pool)
        self._freed.set()
        return True

    async def _save_state(self, run: Claimed, progress: str | None, checkpoint: str | None) -> None:
        """Save what a worker says of its run.

        Raises:
            StaleRunError: If it is not its job's current one any more.
        """
        async with self._database.acquire() as connection:
            is_current = await self._database.jobs.save_state(connection, run, progress=progress, checkpoint=checkpoint)
        if not is_current:
            raise StaleRunError(f"this run of job {run.id} is not its current one any more")

    def _lost(self) -> None:
        """Drop what is in hand: this client was declared dead, and others have its jobs."""
        for slots in self._pools.values():
            slots.take_back()
        self._executor.interrupt_all(Interruption.LOST)

    async def _cut_off(self, grace: float) -> None:
        """Cancel what runs; release what does not end, and leave its worker to itself."""
        if not self.running:
            return
        _log.warning("Cancelling %s that did not end in time", _jobs(self.running))
        self._executor.interrupt_all(Interruption.STOP)
        await self._wait_for_runs(grace)
        for run in self._executor.runs:
            run.is_abandoned = True
            self._abandoned += 1
            self._completer.add(Finished(run.stored, INTERRUPTED))

    async def _write_the_rest(self) -> None:
        if not await self._ask(self._completer.close, self._patience - GOODBYE_SHARE):
            _log.error("%d outcomes could not be written: the database is away", self._completer.backlog)
        elif self._producer.turns.waiting:
            await self._ask(self._let_others_run, self._patience - GOODBYE_SHARE)

    async def _let_others_run(self) -> None:
        try:
            async with self._database.acquire() as connection:
                await let_others_run(self._database, connection, self._producer.turns.waiting)
        except DatabaseError as error:
            _log.debug("the next jobs of some dynamic queues are left to the leader: %s", error)

    async def _ask(self, step: Callable[[], Awaitable[None]], seconds: float) -> bool:
        """Take a step that needs the database, within what a stop has left for that; say whether it was done."""
        began = anyio.current_time()
        with anyio.move_on_after(min(seconds, self._patience)) as asking:
            await step()
        self._patience -= anyio.current_time() - began
        return not asking.cancelled_caught

    async def _wait_for_runs(self, seconds: float) -> None:
        with anyio.move_on_after(HURRIED_GRACE if self._hurried else seconds) as self._grace:
            while self.running:
                self._freed.clear()
                await self._freed.wait()
        self._grace = None

    async def _run(self) -> None:
        async with anyio.create_task_group() as parts:
            parts.start_soon(self._completer.run)
            parts.start_soon(self._teller.run)
            parts.start_soon(self._producer.run)
            parts.start_soon(pass_on_hints, self._database, self._hear)
            parts.start_soon(
                run_chores,
                self._database,
                self._leader,
                self._cron,
                self._retention,
                self._poll_interval,
                self._lease_ttl,
            )

    def _hear(self, what: str | None) -> None:
        """Take a notification: the pool that has work, all of them, or what else happened."""
        if what == RESIGNED:
            self._leader.look_again()
        elif what == SUBSCRIBED:
            self._teller.has_subscriber()
        elif what == SCHEDULED:
            self._cron.look_again()
        elif what == CHANGED:
            self._producer.change_rules()
        elif what is not None and what.startswith(STOP):
            self._stop_runs({int(what.removeprefix(STOP))})
        else:
            self._producer.hint(what)

    async def _end(self) -> None:
        for slots in self._pools.values():
            await slots.close()
        self._executor.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _work(self, stored: Claimed, task: asyncio.Task[None]) -> None:
        """Take one job from its claim to the completer."""
        self._emit("started", stored)
        started = monotonic()
        outcome = await self._executor.execute(stored, task)
        if outcome is None:
            return  # it was given up because it would not end
        self._completer.add(Finished(stored, outcome, monotonic() - started))
        if self._completer.is_full:
            await self._completer.wait_for_room()
        self._producer.slot_freed(stored.pool)
        self._freed.set()

    def _written(self, finished: Finished, accepted: bool) -> None:
        self._producer.run_written()
        event = finished.outcome.event if accepted else "stale"
        if finished.outcome.in_tx and not accepted:  # its own transaction was committed before this was written
            event = "completed"
            self._producer.turns.see_to([finished.job.queue] if finished.job.queue is not None else [])
        self._emit(event, finished.job, finished)

    def _emit(self, event: str, job: Claimed, finished: Finished | None = None) -> None:
        if self._teller.is_heard(event):
            self._teller.tell(event_of_run(event, job, finished, self._workers))

    def _tell_rescued(self, rescued: Rescued) -> None:
        for type_, job, kind in rescued.happened:
            if self._teller.is_heard(type_):
                self._teller.tell(Event(type_, job, kind, ""))


def _jobs(count: int) -> str:
    return f"{count} running job{'' if count == 1 else 's'}"


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.critical("the engine failed and works no more", exc_info=error)
