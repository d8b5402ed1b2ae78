"""A server from binaries: its cluster made or found again, then run."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from workerqueue.embedded.account import Account
from workerqueue.embedded.binaries import Binaries
from workerqueue.embedded.fork import close_in_forks
from workerqueue.embedded.home import Home, kept, thrown_away
from workerqueue.embedded.postmaster import Cluster, running
from workerqueue.embedded.server import Request, Server
from workerqueue.errors import ConfigError

INITDB_SECONDS = 60.0
# macOS has no C.UTF-8; both sort by bytes.
LOCALE = "C" if sys.platform == "darwin" else "C.UTF-8"


@contextmanager
def started(
    link: Literal["local", "wheel"], binaries: Binaries, account: Account, request: Request
) -> Generator[Server, None, None]:
    """Run a server from these binaries until the context ends.

    Raises:
        ConfigError: The directory can't be used, or the server did not start.
    """
    directory = request.directory
    folder = thrown_away(account) if directory is None else kept(directory, account)
    with folder as home:
        password = _made(home, binaries, account)
        cluster = Cluster(binaries, account, home.data, home.log, home.lock)
        with running(cluster, request.settings) as port:
            close_in_forks(home.lock)  # not before: the server inherits it
            url = f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
            yield Server(url=url, link=link, version=binaries.version, owned=True)


def _made(home: Home, binaries: Binaries, account: Account) -> str:
    """Make the cluster, or check that the one found fits; its password."""
    if not home.data.exists():
        return _make(home, binaries, account)
    try:
        made_by = (home.data / "PG_VERSION").read_text().strip()
        password = home.password.read_text()
    except OSError as error:
        raise ConfigError(
            f"{error.filename} can't be read ({error.strerror}); restore it, or remove {home.path} to start anew"
        ) from None
    if made_by != str(binaries.major):
        raise ConfigError(
            f"{home.data} was made by PostgreSQL {made_by}, and {binaries.folder} holds {binaries.version}; choose "
            f"the other with WORKERQUEUE_POSTGRES=local or wheel, or remove {home.path} to start anew"
        )
    return password


def _make(home: Home, binaries: Binaries, account: Account) -> str:
    password = secrets.token_hex(16)
    _write_password(home.password, password, account)
    # Made beside its place and then moved: an initdb that was interrupted is not taken for a cluster.
    unfinished = home.path / "data.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    account.give(unfinished)
    _initdb(unfinished, home, binaries, account)
    unfinished.rename(home.data)
    return password


def _write_password(path: Path, password: str, account: Account) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(password)
    account.give(path)


def _initdb(data: Path, home: Home, binaries: Binaries, account: Account) -> None:
    options = ["--no-sync", f"--locale={LOCALE}", "--encoding=UTF8", "--username=postgres"]
    options += ["-A", "scram-sha-256", f"--pwfile={home.password}", "-D", str(data)]
    command = [str(binaries.folder / "initdb"), *options]
    code, printed = account.run(command, seconds=INITDB_SECONDS, keep=[home.lock.fileno()])
    if code != 0:
        raise ConfigError(
            f"{command[0]} could not make a cluster in {home.path} (exit code {code}); it says what to change:\n"
            f"{printed}"
        )
