"""The folder a cluster lives in: kept or thrown away, and never used by two processes at once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from workerqueue.embedded.account import Account
from workerqueue.embedded.deadline import until
from workerqueue.errors import ConfigError

RELEASE_SECONDS = 20.0  # how long a server whose owner was killed may take to stop
# Not a name for a directory that somebody keeps: what starts with it is removed.
PREFIX = "thrown-away-"


@dataclass(frozen=True)
class Home:
    """A locked folder: `data/`, `password`, `server.log` and `lock` are in it."""

    path: Path
    lock: IO[bytes]

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.path / "data"

    @property
    def password(self) -> Path:
        """The file with the password of the user `postgres`."""
        return self.path / "password"

    @property
    def log(self) -> Path:
        """What the server of the last start said."""
        return self.path / "server.log"


@contextmanager
def kept(directory: Path, account: Account) -> Generator[Home, None, None]:
    """Use a folder that stays.

    Raises:
        ConfigError: Another process uses it, or the server's account can't reach it.
    """
    path = directory.resolve()
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = _lock_file(path)
    except OSError as error:
        raise ConfigError(f"{path} can't hold a PostgreSQL ({error.strerror}); give a directory you own") from None
    with lock:
        _acquire(lock, path)
        if not account.can_reach(path):
            raise ConfigError(
                f"{account} can't reach {path}; give a directory whose parents are open to all (chmod o+x), or "
                "start this as an ordinary user"
            )
        yield Home(path, lock)


@contextmanager
def thrown_away(account: Account) -> Generator[Home, None, None]:
    """Use a fresh folder under `.workerqueue/`, and remove it in the end.

    What earlier processes left because they were killed is removed at the start.
    """
    owner = os.getpid()
    path, lock = _fresh(account)
    with lock:
        try:
            yield Home(path, lock)
        finally:
            if os.getpid() == owner:  # not a fork that leaves the context while its parent goes on
                # A file that appears meanwhile, from a server that had to be killed, is the next start's to remove.
                shutil.rmtree(path, ignore_errors=True)


def _fresh(account: Account) -> tuple[Path, IO[bytes]]:
    # Locked under another name first: a sweep that saw it unlocked would remove it.
    unlocked = Path(tempfile.mkdtemp(prefix="new-", dir=_parent(account)))
    lock = _lock_file(unlocked)
    _acquire(lock, unlocked)
    if account.user is not None:
        unlocked.chmod(0o711)
    path = unlocked.with_name(PREFIX + unlocked.name.removeprefix("new-"))
    return unlocked.rename(path), lock


def _parent(account: Account) -> Path:
    """`.workerqueue/` of the current directory; the system's temporary one where that can't be used."""
    parent = Path.cwd() / ".workerqueue"
    with suppress(OSError):
        parent.mkdir(exist_ok=True)
        _sweep(parent)
    usable = os.access(parent, os.W_OK) and account.can_reach(parent)
    return parent if usable else Path(tempfile.gettempdir()).resolve()


def _sweep(parent: Path) -> None:
    for path in parent.glob(f"{PREFIX}*"):
        try:
            with _lock_file(path) as lock:
                if _try_lock(lock):
                    shutil.rmtree(path, ignore_errors=True)
        except OSError:  # another user's, or another sweep was faster
            continue


def _lock_file(path: Path) -> IO[bytes]:
    file = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    return os.fdopen(file, "r+b", buffering=0)


def _acquire(lock: IO[bytes], path: Path) -> None:
    """Take the lock, waiting only while a server stops whose owner is gone."""

    def taken_or_in_use() -> bool:
        return _try_lock(lock) or _is_alive(_owner(lock))

    if not until(taken_or_in_use, seconds=RELEASE_SECONDS, pause=0.02):
        raise ConfigError(f"the PostgreSQL in {path} outlived its owner, process {_owner(lock)}; stop it first")
    if not _try_lock(lock):
        raise ConfigError(f"{path} is in use by process {_owner(lock)}; stop that process, or give another directory")
    lock.seek(0)
    lock.truncate()
    lock.write(str(os.getpid()).encode())


def _try_lock(lock: IO[bytes]) -> bool:
    # A lock of the open file, not of the process: the server inherits the file, so the lock is free only
    # when the owner *and* the server are gone. Taking it again is no error.
    import fcntl  # not on Windows, where the package is still imported

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(lock: IO[bytes]) -> int | None:
    lock.seek(0)
    written = lock.read().decode(errors="replace")
    return int(written) if written.isdecimal() else None


def _is_alive(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
