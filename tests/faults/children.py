"""Processes of the harness that are asked and answer: a word and a number go in, one line of JSON comes out."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.faults.specs import URL

PATIENCE: Final = 30.0
"""Seconds in which a process answers, and ends when it is told to."""


class Child:
    """A process that was started here."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    async def ask(self, question: str, number: int = 0) -> str:
        """Ask, and give the answer."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("this process was started without pipes")
        self._process.stdin.write(f"{question} {number}\n".encode())
        async with asyncio.timeout(PATIENCE):
            answer = await self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"process {self.pid} has ended: {self.last_words}")
        return answer.decode()

    async def wait(self, within: float) -> None:
        """Wait until it has ended by itself, and well."""
        async with asyncio.timeout(within):
            code = await self._process.wait()
        if code:
            raise RuntimeError(f"process {self.pid} ended with exit code {code}: {self.last_words}")

    async def stop(self) -> None:
        """Stop it as a supervisor would, by force if it doesn't heed."""
        if self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), PATIENCE)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def kill(self) -> None:
        """Leave nothing of it."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    @property
    def last_words(self) -> str:
        """The end of what it said."""
        return self._log.read_text(errors="replace")[-2_000:]


@asynccontextmanager
async def started(*command: str, url: str, log: Path) -> AsyncGenerator[Child]:
    """Run a module with its arguments, told where the database is and whose child it is; it ends with this block."""
    with log.open("ab") as said:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", *command, str(os.getpid())),
            env=os.environ | {URL: url},
            stdin=PIPE,
            stdout=PIPE,
            stderr=said,
        )
    child = Child(process, log)
    try:
        yield child
    finally:
        await child.kill()


async def answer(reply: Callable[[str, int], Awaitable[str]]) -> None:
    """Answer every question, in the process that is asked, until whoever asks is gone."""
    loop = asyncio.get_running_loop()
    questions = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(questions), sys.stdin)
    while line := await questions.readline():
        question, number = line.decode().split()
        sys.stdout.write(await reply(question, int(number)) + "\n")
        sys.stdout.flush()
