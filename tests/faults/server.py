"""A PostgreSQL of the harness's own that can be stopped without mercy and started again."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from workerqueue.embedded import Server, postgres
from workerqueue.errors import ConfigError

SETTINGS = {
    "max_connections": "200",
    "fsync": "on",
    "log_min_messages": "fatal",
    "recovery_init_sync_method": "syncfs",  # a second less for each of hundreds of recoveries
}

ORPHANS_GONE: Final = 30.0
"""Seconds in which the processes of a server that was killed have ended; until then it can't be started anew."""


class Restartable:
    """One cluster; its port changes with every start.

    Args:
        directory: Where it is kept.
        settings: Settings of the server beside the harness's own.
    """

    def __init__(self, directory: Path, **settings: str) -> None:
        self._directory = directory
        self._settings = SETTINGS | settings
        self._stack = ExitStack()
        self._choice: str | None = None
        self.url = ""

    async def start(self) -> None:
        """Start it, after a crash with what the log holds."""
        server = await asyncio.to_thread(self._enter)
        self.url = server.url

    async def crash(self) -> None:
        """Stop it as a loss of power would: nothing is written any more."""
        os.kill(self._pid(), signal.SIGQUIT)
        await self.close()

    async def kill(self) -> None:
        """Kill its first process, which can't even tell the others to end: they find out by themselves."""
        os.kill(self._pid(), signal.SIGKILL)
        await self.close()

    async def close(self) -> None:
        """Stop it, if it has not stopped by itself."""
        stack, self._stack = self._stack, ExitStack()
        await asyncio.to_thread(stack.close)

    def _enter(self) -> Server:
        if self._choice is None:
            try:
                server = self._open("local")
                self._choice = "local"
            except ConfigError:
                server = self._open("wheel")
                self._choice = "wheel"
            return server
        deadline = monotonic() + ORPHANS_GONE
        while True:
            try:
                return self._open(self._choice)
            except ConfigError:  # what a killed server has left behind has not noticed yet
                if monotonic() > deadline:
                    raise
                sleep(0.1)

    def _open(self, choice: str) -> Server:
        return self._stack.enter_context(postgres(choice=choice, directory=self._directory, settings=self._settings))

    def _pid(self) -> int:
        (status,) = self._directory.rglob("postmaster.pid")
        return int(status.read_text().split("\n", 1)[0])
