"""What a process holds at a moment: memory, tasks, threads, descriptors and connections."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.faults.children import Child
from workerqueue.database import Connection

CONNECTIONS = "select count(*) from pg_stat_activity where application_name like 'workerqueue ' || $1::text || '%'"
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Inside:
    """What only the process itself can tell."""

    done: int
    """Jobs that have gone through it."""
    tasks: int
    blocks: int
    """Blocks of memory that Python has given out."""


@dataclass(frozen=True, slots=True)
class Sample(Inside):
    """One look at a process."""

    is_quiet: bool
    """Whether nothing was under way, and what could be collected was."""
    rss: int
    """Bytes."""
    threads: int
    descriptors: int
    connections: int


def look_inside(done: int, *, collect: bool) -> str:
    """Say what this process holds; with `collect`, once everything that nobody reaches is gone."""
    if collect:
        gc.collect()
    return json.dumps(asdict(Inside(done, len(asyncio.all_tasks()), sys.getallocatedblocks())))


async def look(child: Child, client: str, connection: Connection, *, quiet: bool) -> Sample:
    """Look at a process, whose client has this id, from within and from without."""
    inside = json.loads(await child.ask("settle" if quiet else "look"))
    process = Path(f"/proc/{child.pid}")
    return Sample(
        **inside,
        is_quiet=quiet,
        rss=int((process / "statm").read_text().split()[1]) * PAGE,
        threads=len(list((process / "task").iterdir())),
        descriptors=len(list((process / "fd").iterdir())),
        connections=await connection.fetchval(CONNECTIONS, client),
    )
