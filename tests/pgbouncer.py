"""A PgBouncer for tests: the binary on this machine, before the test's PostgreSQL."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import SplitResult, unquote, urlsplit

import pytest

KEEPS_STATEMENTS = (1, 21)
"""The first version that can keep prepared statements in transaction mode."""
STARTS_WITHIN = 40.0


class PgBouncer:
    """One pooler on a free port of its own, as a user without rights: it refuses to run as root."""

    def __init__(
        self, database_url: str, folder: Path, *, mode: str, sessions: int, statements: int, in_turn: bool
    ) -> None:
        self._parts = urlsplit(database_url)
        self._port = _free_port()
        self._ini = folder / "pgbouncer.ini"
        self._process: subprocess.Popen[bytes] | None = None
        users = folder / "users.txt"
        user, password = unquote(self._parts.username or ""), unquote(self._parts.password or "")
        _write(users, f'"{user}" "{password}"\n')
        kept = f"max_prepared_statements = {statements}\n" if _version() >= KEEPS_STATEMENTS else ""
        _write(
            self._ini,
            _settings(self._parts, self._port, users, mode, sessions) + kept + f"server_round_robin = {in_turn:d}\n",
        )

    @property
    def url(self) -> str:
        """Where PostgreSQL is, through the pooler."""
        place = f"{self._parts.username}:{self._parts.password}@127.0.0.1:{self._port}"
        return self._parts._replace(netloc=place).geturl()

    def start(self) -> None:
        """Start, and wait until it answers."""
        user = pwd.getpwnam("nobody") if os.getuid() == 0 else None
        self._process = subprocess.Popen(
            [_binary(), "-q", self._ini],
            stderr=subprocess.DEVNULL,
            user=user and user.pw_uid,
            group=user and user.pw_gid,
            extra_groups=[] if user else None,
        )
        deadline = monotonic() + STARTS_WITHIN
        while not _answers(self._port):
            assert self._process.poll() is None, "pgbouncer ended"
            assert monotonic() < deadline, "pgbouncer does not answer"
            sleep(0.01)

    def stop(self) -> None:
        """End at once, with every connection."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def pgbouncer(
    database_url: str, *, mode: str = "transaction", sessions: int = 2, statements: int = 0, in_turn: bool = False
) -> Generator[PgBouncer]:
    """Run a pooler with so many server sessions, that keeps so many prepared statements; skip where there is none."""
    if not _binary():
        pytest.skip("no pgbouncer on PATH: `make pgbouncer` installs it where apt-get can")
    if statements and _version() < KEEPS_STATEMENTS:
        pytest.skip("this pgbouncer keeps no prepared statements; 1.21 and newer do")
    with tempfile.TemporaryDirectory(prefix="pgbouncer-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        bouncer = PgBouncer(database_url, folder, mode=mode, sessions=sessions, statements=statements, in_turn=in_turn)
        bouncer.start()
        try:
            yield bouncer
        finally:
            bouncer.stop()


def _settings(parts: SplitResult, port: int, users: Path, mode: str, sessions: int) -> str:
    return f"""
[databases]
* = host={parts.hostname} port={parts.port or 5432}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = {mode}
default_pool_size = {sessions}
"""


@cache
def _binary() -> str:
    # Debian's is where only root's PATH leads.
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin") or ""


@cache
def _version() -> tuple[int, int]:
    said = subprocess.run([_binary(), "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    assert found, said
    return int(found[1]), int(found[2])


def _write(file: Path, text: str) -> None:
    """Write a file that only the pooler can read: it holds the password of the test's server."""
    file.touch(0o600)
    if os.getuid() == 0:
        shutil.chown(file, "nobody")
    file.write_text(text)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _answers(port: int) -> bool:
    with socket.socket() as there:
        return there.connect_ex(("127.0.0.1", port)) == 0
