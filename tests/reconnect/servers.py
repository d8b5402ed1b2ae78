"""Servers that a test may kill: each at a port of its own that it comes back to, one the other's replica if need be."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from unittest.mock import patch

import pytest

from workerqueue.embedded.account import account
from workerqueue.embedded.binaries import Binaries, in_wheel, on_machine
from workerqueue.embedded.cluster import started
from workerqueue.embedded.deadline import until
from workerqueue.embedded.postmaster import free_port
from workerqueue.embedded.server import Request, Server

# No fsync: what a killed server has written is the kernel's. Commits do wait for that, unlike in other tests.
SETTINGS = {"fsync": "off", "max_connections": "60", "wal_level": "replica", "max_wal_senders": "4"}
PATIENCE = 30.0


def binaries() -> Binaries:
    """Find the programs of a server, or skip the test."""
    for find in (on_machine, in_wheel):
        found = find(account())
        if isinstance(found, Binaries):
            return found
    pytest.skip("there are no server programs here to start and kill a server of our own")


class OwnServer:
    """One cluster at one port."""

    def __init__(self, directory: Path, settings: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.port = free_port()
        self._settings = {**SETTINGS, **(settings or {})}
        self._running: AbstractContextManager[Server] | None = None
        self.url = ""

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.directory / "data"

    def start(self) -> None:
        """Start it, or start it again."""
        request = Request(self.directory, self._settings)
        self._running = started("local", binaries(), account(), request)
        with patch("workerqueue.embedded.postmaster.free_port", return_value=self.port):
            self.url = self._running.__enter__().url

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End it: at once (SIGQUIT), or with its sessions closed and its replicas served (SIGINT)."""
        status = self.data / "postmaster.pid"
        if self._running is None:
            return
        if status.exists():
            os.kill(int(status.read_text().splitlines()[0]), how)
            assert until(lambda: not status.exists() or not _is_alive(status), seconds=PATIENCE)
        running, self._running = self._running, None
        running.__exit__(None, None, None)

    def replica(self, directory: Path) -> OwnServer:
        """Make a server that follows this one; not started yet."""
        copier = binaries().folder / "pg_basebackup"
        if not copier.exists():
            pytest.skip("there is no pg_basebackup here")
        made = OwnServer(directory, {"hot_standby": "on"})
        command = [str(copier), "-d", self.url, "-D", str(made.data), "-R", "-X", "stream", "-c", "fast"]
        made.data.mkdir(parents=True, mode=0o700)
        account().give(made.data)
        shutil.copy(self.directory / "password", directory / "password")
        code, printed = account().run(command, seconds=PATIENCE)
        assert code == 0, printed
        return made

    def promote(self) -> None:
        """Make a replica the primary."""
        program = binaries().folder / "pg_ctl"
        code, printed = account().run([str(program), "promote", "-D", str(self.data), "-w"], seconds=PATIENCE)
        assert code == 0, printed


def _is_alive(status: Path) -> bool:
    try:
        pid = int(status.read_text().splitlines()[0])
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError, ValueError):
        return False
    return state != "Z"
