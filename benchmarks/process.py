"""Processes that a benchmark starts: `workerqueue run` and inserters, always ended."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from benchmarks.bench import Bench

ROOT: Final = Path(__file__).resolve().parents[1]


@asynccontextmanager
async def started(
    bench: Bench, module: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> AsyncGenerator[Process]:
    """Start `python -m module` on the server that is measured; it is killed in the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        cwd=ROOT,
        # By the environment, where the list of processes does not show the password.
        env={**os.environ, "WORKERQUEUE_DATABASE_URL": bench.url, **(environment or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        # The whole group: a supervisor that is killed can't end its own processes.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def run_arguments(schema: str, *more: str) -> list[str]:
    """Give the arguments of a `workerqueue run` over the benchmarks' jobs."""
    return ["run", "--tasks", "benchmarks.jobs", "--schema", schema, "--log-level", "error", *more]


def run_knows(option: str) -> bool:
    """Tell whether this version's `workerqueue run` has an option."""
    command = [sys.executable, "-m", "workerqueue", "run", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)  # noqa: S603 - our own command
    return option in shown.stdout
