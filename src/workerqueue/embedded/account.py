"""Who the server runs as: the caller, or for root (whom PostgreSQL refuses) somebody with fewer rights."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from workerqueue.errors import ConfigError

CLONE_NEWUSER = 0x10000000
# Enough to find programs and their libraries. Not the rest: PG* variables would change what initdb and
# postgres do, and the caller's secrets are none of their business.
INHERITED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@dataclass(frozen=True)
class Account:
    """An identity to start programs under.

    Attributes:
        name: `caller`, `namespace` (root under another number inside a user namespace) or `nobody`.
        enter: What the new process does first.
        user: The user id to become; `None` to stay.
        group: The group id to become; `None` to stay.
    """

    name: Literal["caller", "namespace", "nobody"]
    enter: Callable[[], None] | None = None
    user: int | None = None
    group: int | None = None

    def __str__(self) -> str:
        names = {"caller": "you", "namespace": "an ordinary user", "nobody": "user nobody"}
        return f"{names[self.name]}, as whom PostgreSQL runs here,"

    def spawn(
        self,
        command: Sequence[str],
        *,
        stdout: int | IO[bytes],
        stderr: int | IO[bytes],
        keep: Sequence[int] = (),
    ) -> subprocess.Popen[bytes]:
        """Start a program in a session of its own, where the terminal's Ctrl-C does not reach it."""
        return subprocess.Popen(  # noqa: S603 - the programs come from this room's own finders
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            pass_fds=keep,
            start_new_session=True,
            cwd="/",  # the caller's folder may be closed to this account
            env=_environment(),
            preexec_fn=self.enter,
            user=self.user,
            group=self.group,
            extra_groups=None if self.user is None else (),
        )

    def run(self, command: Sequence[str], *, seconds: float, keep: Sequence[int] = ()) -> tuple[int, str]:
        """Run a program to its end; its exit code (-9 past the deadline) and all it printed.

        Raises:
            OSError: The program can't be started under this account.
        """
        with self.spawn(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, keep=keep) as process:
            try:
                printed, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                printed, _ = process.communicate()
            except BaseException:
                process.kill()
                raise
        return process.returncode, printed.decode(errors="replace").strip()

    def can_reach(self, path: Path) -> bool:
        """Tell whether this account may enter a folder; tried for real, so that every kind of right counts."""
        code, _ = self.run(["/bin/sh", "-c", 'cd "$1"', "sh", str(path)], seconds=10)
        return code == 0

    def give(self, path: Path) -> None:
        """Make this account the owner of a file or folder."""
        if self.user is not None and self.group is not None:
            os.chown(path, self.user, self.group)


def account() -> Account:
    """Choose who the server runs as.

    Root gets a user namespace, in which it owns its files under another number; where the system refuses
    one (many containers do), `nobody`.
    """
    if sys.platform == "win32" or os.geteuid() != 0:
        return Account("caller")
    return namespace() or nobody()


def namespace() -> Account | None:
    """Root as user 1000 of a user namespace, or `None` where the system refuses."""
    candidate = Account("namespace", enter=_namespace_entry())
    try:
        code, _ = candidate.run(["/bin/sh", "-c", ":"], seconds=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return candidate if code == 0 else None


def nobody() -> Account:
    """The user every system has for programs that should own nothing else."""
    import pwd  # not on Windows, where the package is still imported

    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise ConfigError(
            "PostgreSQL refuses to run as root, and there is neither a user namespace nor a user 'nobody' to run "
            "it as; start this as an ordinary user, or give a server with WORKERQUEUE_DATABASE_URL"
        ) from None
    return Account("nobody", user=entry.pw_uid, group=entry.pw_gid)


def _namespace_entry() -> Callable[[], None]:
    # Looked up here, because between fork and exec nothing may be imported or loaded.
    unshare = getattr(ctypes.CDLL(None, use_errno=True), "unshare", None)

    def enter() -> None:
        if unshare is None or unshare(CLONE_NEWUSER) != 0:
            raise OSError("no user namespace")
        for name, line in (("setgroups", b"deny"), ("uid_map", b"1000 0 1"), ("gid_map", b"1000 0 1")):
            file = os.open(f"/proc/self/{name}", os.O_WRONLY)
            os.write(file, line)
            os.close(file)

    return enter


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}
