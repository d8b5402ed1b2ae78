"""Child processes for CPU-bound workers: each works one job at a time, and is killed to end it.

Theory. A child is made by `spawn`, so it has none of this process's connections, locks and threads. Functions and jobs
go down its pipe by pickle, what comes back is its own word: nothing of that passes through the database. Whatever ends
a child (a crash of the interpreter, the memory limit of the system, a kill) fails the one job it had.
"""

from __future__ import annotations

import math
import multiprocessing
import pickle
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar, cast

from anyio import CapacityLimiter, to_thread

from workerqueue.args import JobArgs
from workerqueue.engine.child import Began, Raised, Returned, Saved, Work, serve
from workerqueue.job import Job, Saver

R = TypeVar("R")

REAP: Final = 5.0
"""Seconds to wait for a killed child to be gone."""


class WorkerDiedError(Exception):
    """The error recorded for an attempt whose process ended under it."""


class ChildError(Exception):
    """An error of a child process that can't be copied here; its subclass has the error's name."""


class ChildTrace(Exception):  # noqa: N818 - stands where a trace is shown, as concurrent.futures does it
    """Where in the child its error was raised."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Processes:
    """The children of one client: as many as jobs have run at once, kept for the next ones until the client stops."""

    def __init__(self) -> None:
        self._idle: dict[int | None, list[_Child]] = {}
        self._all: set[_Child] = set()
        self._threads = CapacityLimiter(math.inf)

    async def run(self, work: Work, job: Job[JobArgs], saver: Saver, memory_limit: int | None) -> object:
        """Work a job in a child, and give what its worker returned or raise what it raised.

        Raises:
            WorkerDiedError: If the child ended under it.
        """
        message = pickle.dumps((work, replace(job)))
        idle = self._idle.setdefault(memory_limit, [])
        child = await self._hand(message, idle, memory_limit)
        try:
            reply = await self._talk(child, saver)
        except BaseException:
            self._end(child)
            raise
        if isinstance(reply, Raised) and reply.kind == MemoryError.__name__:
            self._end(child)  # what it could not have, it may still hold a part of
        else:
            idle.append(child)
        if isinstance(reply, Returned):
            return reply.output
        raise _error_of(reply)

    def close(self) -> None:
        """End all children."""
        for child in self._all:
            child.kill()  # takes about a millisecond
        self._all.clear()
        self._idle.clear()

    async def _hand(self, message: bytes, idle: list[_Child], memory_limit: int | None) -> _Child:
        """Hand a job to a child that takes it: one that did nothing may have been killed meanwhile.

        Raises:
            WorkerDiedError: If not even a new one takes it.
        """
        while True:
            is_new = not idle
            child = await self._start(memory_limit) if is_new else idle.pop()
            try:
                if await self._in_thread(partial(child.begin, message)):
                    return child
            except BaseException:
                self._end(child)
                raise
            self._end(child)
            if is_new:
                raise WorkerDiedError(child.obituary())

    async def _start(self, memory_limit: int | None) -> _Child:
        def start() -> _Child:
            child = _Child(memory_limit)
            self._all.add(child)  # here, so that one that nobody waits for any more is ended with the others
            return child

        return await self._in_thread(start)

    async def _talk(self, child: _Child, saver: Saver) -> Returned | Raised:
        """Save for a child until it has an answer."""
        reply = await self._in_thread(child.listen)
        while isinstance(reply, Saved):
            refusal: Exception | None = None
            try:
                await saver.save(progress=reply.progress, checkpoint=reply.checkpoint)
            except Exception as error:  # noqa: BLE001 - it is the worker's to hear
                refusal = error
            reply = await self._in_thread(partial(child.ask, pickle.dumps(refusal)))
        return reply

    def _end(self, child: _Child) -> None:
        self._all.discard(child)
        child.kill()

    async def _in_thread(self, function: Callable[[], R]) -> R:
        return await to_thread.run_sync(function, abandon_on_cancel=True, limiter=self._threads)


class _Child:
    """One process and the pipe to it; made in a thread, since it takes a while."""

    def __init__(self, memory_limit: int | None) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=serve, args=(theirs, memory_limit), name="workerqueue", daemon=True)
        self._process.start()
        theirs.close()

    def begin(self, message: bytes) -> bool:
        """Send a job, and say whether its worker is called; for a thread, as what follows."""
        try:
            self._pipe.send_bytes(message)
            return isinstance(self._pipe.recv(), Began)
        except (EOFError, OSError):
            return False

    def ask(self, message: bytes) -> Returned | Raised | Saved:
        """Send a message, and wait for the reply.

        Raises:
            WorkerDiedError: If the process ended instead.
        """
        with suppress(OSError):  # what has ended has nothing to say
            self._pipe.send_bytes(message)
        return self.listen()

    def listen(self) -> Returned | Raised | Saved:
        """Wait for what it says.

        Raises:
            WorkerDiedError: If the process ended instead.
        """
        try:
            return cast("Returned | Raised | Saved", self._pipe.recv())
        except (EOFError, OSError):
            raise WorkerDiedError(self.obituary()) from None

    def obituary(self) -> str:
        """Say how it ended."""
        self._process.join(REAP)
        return f"the process that ran it {_end_of(self._process.exitcode)}"

    def kill(self) -> None:
        """End it at once; whoever waits for its answer hears of it."""
        self._process.kill()
        self._process.join(REAP)


def _end_of(code: int | None) -> str:
    if code is None:
        return "closed its pipe"
    if code >= 0:
        return f"exited with {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _error_of(raised: Raised) -> BaseException:
    error: BaseException | None = None
    if raised.pickled is not None:
        error = cast("BaseException", pickle.loads(raised.pickled))  # noqa: S301 - from our own child
    if error is None:
        error = cast("type[ChildError]", type(raised.kind, (ChildError,), {}))(raised.text)
    error.__cause__ = ChildTrace(raised.trace)
    return error
