"""What a campaign stands on: a server of its own, target processes, and the jobs it gives each of them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import asyncpg

from tests.faults.journal import read
from tests.faults.loops.target import NO_TIMEOUT, TargetSpec
from tests.faults.server import Restartable
from tests.faults.specs import URL
from tests.waiting import eventually
from workerqueue import Client, InsertOpts, JobArgs, migrate
from workerqueue.database import Pool

PATIENCE: Final = 60.0
"""Seconds until a process is well, a job has ended, or the harness itself is broken."""
WORKS = "select exists (select from workerqueue.client where id = $1 and ended_at is null)"
ENDED = "select created_at, attempted_at from workerqueue.job_all where id = $1 and finalized_at is not null"
WELL = "select id from workerqueue.job_all where state = 'completed' and attempt = 1 and errors is null"


class Run(NamedTuple):
    """One job's way, by the database's clock."""

    created_at: datetime
    attempted_at: datetime

    @property
    def picked_up_after(self) -> float:
        """Seconds from its insert to its claim."""
        return (self.attempted_at - self.created_at).total_seconds()


@dataclass(eq=False)
class Target:
    """One worker process, whose queue has its name."""

    name: str
    process: Process
    log: Path

    async def stop(self) -> None:
        """Stop it, as a deployment does."""
        self.process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(self.process.wait(), PATIENCE)
        if code != 0:
            raise RuntimeError(f"{self.name} ended with exit code {code}: {self.log.read_text()[-2_000:]}")


@dataclass(eq=False)
class Ground:
    """A server, its targets, and all that was inserted."""

    folder: Path
    url: str
    """Straight to the server."""
    pool: Pool
    client: Client
    targets: list[Target] = field(default_factory=list[Target])
    inserted: list[int] = field(default_factory=list[int])

    @property
    def journal(self) -> Path:
        """Where the targets note their runs."""
        return self.folder / "runs.jsonl"

    async def start(self, spec: TargetSpec, url: str) -> Target:
        """Start a target that goes to the server by this URL, and wait until it works."""
        path, log = self.folder / f"{spec.name}.json", self.folder / f"{spec.name}.log"
        path.write_text(spec.model_dump_json())
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.faults.loops.target", str(path), str(os.getpid())),
                env=os.environ | {URL: url},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        target = Target(spec.name, process, log)
        self.targets.append(target)
        await eventually(lambda: self.pool.fetchval(WORKS, spec.name), within=PATIENCE)
        return target

    async def insert(self, target: Target, args: JobArgs) -> int:
        """Give a target a job."""
        opts = InsertOpts(queue=target.name, timeout=NO_TIMEOUT)
        job = (await self.client.insert(args, opts)).job.id
        self.inserted.append(job)
        return job

    async def until_ended(self, job: int, within: float = PATIENCE) -> Run:
        """Wait until a job is finalized."""
        (row,) = await eventually(lambda: self.pool.fetch(ENDED, job), within=within)
        return Run(**row)

    def noted(self, what: str) -> Counter[object]:
        """Count, by job, how often a run was noted as begun or ended."""
        return Counter(entry["job"] for entry in read([self.journal]) if what in entry)

    async def not_once(self) -> int:
        """Count the jobs that did not run exactly once, from a first attempt to its completion."""
        well: set[object] = {row["id"] for row in await self.pool.fetch(WELL)}
        began, ended = self.noted("began"), self.noted("ended")
        return sum(not (job in well and began[job] == ended[job] == 1) for job in self.inserted)

    async def kill_all(self) -> None:
        """Leave nothing behind."""
        for target in self.targets:
            if target.process.returncode is None:
                target.process.kill()
                await target.process.wait()


@asynccontextmanager
async def ground() -> AsyncGenerator[Ground]:
    """Make a server with the tables, and no target yet; leave none of it behind."""
    with TemporaryDirectory(prefix="workerqueue-campaign-", ignore_cleanup_errors=True) as folder:
        server = Restartable(Path(folder) / "postgres")
        await server.start()
        try:
            await migrate(server.url)
            async with (
                asyncpg.create_pool(server.url, min_size=0, max_size=10) as pool,
                Client(server.url, strict=False) as client,
            ):
                made = Ground(Path(folder), server.url, pool, client)
                made.journal.touch()
                try:
                    yield made
                finally:
                    await made.kill_all()
        finally:
            await server.close()
