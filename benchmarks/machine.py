"""Where the figures were taken: commit, machine, versions."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.connection import Connection
from benchmarks.loop import NAME as LOOP
from benchmarks.process import ROOT

SETTINGS = (
    *("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size", "checkpoint_timeout"),
    *("autovacuum", "wal_level", "wal_compression", "data_checksums", "max_connections", "shared_preload_libraries"),
)


@dataclass(frozen=True)
class Machine:
    """What a reader must know to compare figures."""

    commit: str
    cores: int
    memory_gb: float
    cpu: str
    postgresql: str
    python: str
    asyncpg: str
    loop: str
    settings: dict[str, str]

    def as_dict(self) -> dict[str, object]:
        """Give it for JSON."""
        return asdict(self)


async def describe(connection: Connection) -> Machine:
    """Look at this machine and at the server."""
    return Machine(
        commit=_commit(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        cpu=_cpu(),
        postgresql=str(await connection.fetchval("show server_version")),
        python=platform.python_version(),
        asyncpg=version("asyncpg"),
        loop=LOOP,
        settings={name: str(await connection.fetchval(f"show {name}")) for name in SETTINGS},
    )


def _commit() -> str:
    """Give the commit, and say so when the files are not what it holds."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", "src", "benchmarks")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit} with changes not committed" if changed else commit


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()  # noqa: S603 - constants


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
