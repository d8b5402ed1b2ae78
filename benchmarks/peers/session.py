"""One adapter's process, from our side: what it is asked goes to its input, what it answers comes from its output."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import IO, Final

from benchmarks.peers.environment import last_line, python_of
from benchmarks.peers.protocol import URL, Answer, Request
from benchmarks.peers.systems import System
from benchmarks.process import ROOT

PATIENCE: Final = 120.0
"""Seconds after which an answer will not come."""
LONGEST: Final = 1 << 20
"""Bytes of an answer: it may hold the times of many pick-ups."""


class AdapterError(Exception):
    """An adapter answered with an error, or ended without an answer."""


class Session:
    """Asks an adapter. Several requests may be on their way; they are answered in their order."""

    def __init__(self, process: Process, errors: IO[bytes]) -> None:
        if process.stdin is None or process.stdout is None:
            raise TypeError("the process has no pipes")
        self._process = process
        self._errors = errors
        self._input = process.stdin
        self._output = process.stdout
        self._asked: deque[asyncio.Future[Answer]] = deque()
        self._ended = False

    async def ask(self, request: Request) -> Answer:
        """Ask, and wait for the answer."""
        try:
            return await asyncio.wait_for(self.begin(request), PATIENCE)
        except TimeoutError as error:
            raise AdapterError(f"no answer within {PATIENCE:g} s") from error

    def begin(self, request: Request) -> asyncio.Future[Answer]:
        """Ask, and give what the answer will be."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        # Whoever asks for more than it waits for need not hear of each.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self._ended:
            answer.set_exception(self._ending())
        else:
            self._asked.append(answer)
            self._input.write(json.dumps(asdict(request)).encode() + b"\n")
        return answer

    async def read(self) -> None:
        """Hand out the answers, until there are no more."""
        while line := await self._output.readline():
            answer = Answer(**json.loads(line))
            asked = self._asked.popleft()
            if asked.done():  # nobody waits any longer
                continue
            if answer.error is not None:
                asked.set_exception(AdapterError(answer.error))
            else:
                asked.set_result(answer)
        await self._process.wait()
        self._ended = True
        for asked in self._asked:
            if not asked.done():
                asked.set_exception(self._ending())

    def _ending(self) -> AdapterError:
        self._errors.seek(0)
        said = last_line(self._errors.read().decode(errors="replace"))
        return AdapterError(said or f"the adapter ended with {self._process.returncode}")


@asynccontextmanager
async def opened(system: System, url: str) -> AsyncGenerator[Session]:
    """Start an adapter on a database; it is killed in the end, whatever it does then."""
    with tempfile.TemporaryFile() as errors:
        process = await _start(system, url, errors)
        session = Session(process, errors)
        reading = asyncio.create_task(session.read())
        try:
            yield session
        finally:
            reading.cancel()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _start(system: System, url: str, errors: IO[bytes]) -> Process:
    try:
        return await asyncio.create_subprocess_exec(
            *(str(python_of(system)), "-m", system.module),
            cwd=ROOT,
            env={**os.environ, URL: url},
            stdin=PIPE,
            stdout=PIPE,
            stderr=errors,
            limit=LONGEST,
            start_new_session=True,
        )
    except OSError as error:
        raise AdapterError(f"{system.name} can't be started: {error.strerror}") from error
