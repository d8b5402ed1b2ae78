"""Looking at processes, and running a Python in another process or as another user."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

import workerqueue

PATHS = [Path(workerqueue.__file__).parents[1], Path(asyncpg.__file__).parents[1]]


def is_running(pid: int) -> bool:
    """Tell whether a process lives; one that ended and waits to be asked does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:  # no /proc here, or it ended just now
        return not Path("/proc/self").exists()
    return state != "Z"


def children() -> set[int]:
    """The processes this one started itself that still run.

    Not what those started in turn: the server of the whole test run starts and ends autovacuum workers as it likes.
    """
    if not Path("/proc/self").exists():
        pytest.skip("listing processes needs /proc")
    found: set[int] = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(stat.parent.name))
        except (FileNotFoundError, ProcessLookupError):  # ended while we looked
            continue
    return found


def command_line(pid: int) -> str:
    """What a process was started as."""
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def server_pid(folder: Path) -> int:
    """The pid that the server of a cluster wrote down."""
    return int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])


def thrown_away(parent: Path) -> list[Path]:
    """The throw-away clusters below a folder."""
    return sorted((parent / ".workerqueue").glob("thrown-away-*"))


@contextmanager
def python(
    script: str, cwd: Path, *, user: int | None = None, program: str = sys.executable
) -> Generator[subprocess.Popen[str], None, None]:
    """Run a script in another process, killed in the end if it still runs."""
    environment = {"PYTHONPATH": os.pathsep.join(map(str, PATHS)), "PATH": os.environ["PATH"]}
    process = subprocess.Popen(
        [program, "-W", "error", "-c", script],
        cwd=cwd,
        env=environment,
        user=user,
        group=user,
        extra_groups=None if user is None else (),
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: subprocess.Popen[str]) -> str:
    """Wait for the first line a script prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()
