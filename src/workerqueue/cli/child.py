"""A `workerqueue run` as a child process: both ends of the leash that ends it when its parent is gone."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
from anyio.abc import Process

LEASH: Final = "WORKERQUEUE_LEASH"
"""Set for a child: stop when standard input ends, which it does when the parent is gone, however it went."""


class Child:
    """A started child process, as its parent sees it.

    Args:
        process: The process.
        leash: The parent's end of its standard input.
    """

    def __init__(self, process: Process, leash: socket.socket) -> None:
        self._process = process
        self._leash = leash

    @property
    def pid(self) -> int:
        """Its number with the operating system."""
        return self._process.pid

    async def is_ready(self) -> bool:
        """Wait until it says that it is ready, or lets go of its end of the leash, as it does when it ends."""
        await anyio.wait_readable(self._leash)
        try:
            return self._leash.recv(1) != b""
        except ConnectionError:
            return False

    async def wait(self) -> int:
        """Wait until it has ended, and give its exit code; minus its number for a signal."""
        return await self._process.wait()

    def terminate(self) -> None:
        """Send SIGTERM, unless it has ended.

        It stands for SIGINT too, which ends a process that still starts with a traceback.
        """
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)


@asynccontextmanager
async def child(command: Sequence[str], environment: Mapping[str, str]) -> AsyncGenerator[Child]:
    """Start a child on a leash; it is killed if it still runs in the end."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            # A session of its own, so that Ctrl-C reaches the child once, through us.
            process = await anyio.open_process(
                command,
                env={**environment, LEASH: "1"},
                stdin=theirs.fileno(),
                stdout=None,
                stderr=None,
                start_new_session=True,
            )
        async with process:
            yield Child(process, ours)


def follow_leash() -> None:
    """In a process that is on a leash, stop when its parent is gone."""
    if os.environ.get(LEASH):
        threading.Thread(target=_stop_at_the_end_of_input, daemon=True).start()


def say_ready() -> None:
    """In a process that is on a leash, tell the parent that everything needed is there."""
    if os.environ.get(LEASH):
        with suppress(OSError):  # the parent is gone, or the input is none of ours to write to
            os.write(0, b"1")


def _stop_at_the_end_of_input() -> None:
    with suppress(OSError):  # a parent that went without hearing us resets the connection
        while os.read(0, 4096):  # not sys.stdin: Python can't end while a thread reads from that
            pass
    os.kill(os.getpid(), signal.SIGTERM)
