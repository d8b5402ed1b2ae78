"""`workerqueue run`: works jobs until it is told to stop."""

from __future__ import annotations

import os
import sys
import threading
from enum import StrEnum
from typing import Annotated

import anyio
import typer

from workerqueue.cli.logs import show_logs
from workerqueue.cli.problems import Failure
from workerqueue.cli.settings import (
    DEFAULT_SCHEMA,
    ConfigFolder,
    DatabaseUrl,
    Schema,
    TasksModule,
    load_config,
    need_workers,
)
from workerqueue.client import Client


class Level(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def run(
    database_url: DatabaseUrl = None,
    config: ConfigFolder = None,
    tasks: TasksModule = None,
    schema: Schema = DEFAULT_SCHEMA,
    queues: Annotated[
        str | None,
        typer.Option("--queues", help="Work only these: `email=2,default` (with how many workers, if given)."),
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", min=1, help="The most jobs at once over all queues.")
    ] = None,
    drain: Annotated[bool, typer.Option("--drain", help="End when nothing is left to work.")] = False,
    horizon: Annotated[
        float, typer.Option("--horizon", min=0, help="Seconds ahead in which a due job holds up --drain.")
    ] = 60.0,
    max_time: Annotated[float | None, typer.Option("--max-time", min=0, help="End after so many seconds.")] = None,
    log_level: Annotated[Level, typer.Option("--log-level", help="How much to log.")] = Level.INFO,
) -> None:
    """Work jobs until SIGTERM or Ctrl-C; a second signal releases what runs at once."""
    show_logs(log_level)
    client = Client(
        database_url,
        config=load_config(config),
        workers=need_workers(tasks),
        schema=schema,
        concurrency=concurrency,
    )
    pools = None if queues is None else parse_queues(queues)

    async def work() -> bool:
        return await client.run(queues=pools, drain=drain, horizon=horizon, max_time=max_time)

    softly = anyio.run(work)
    _leave_threads_behind(softly)
    if not softly:
        raise Failure("stopped by a second signal; what ran was released")


def parse_queues(text: str) -> dict[str, int | None]:
    """Read `email=2,default` as queues and their workers.

    Raises:
        typer.BadParameter: If it is not of that form.
    """
    pools: dict[str, int | None] = {}
    for entry in text.split(","):
        name, _, count = entry.strip().partition("=")
        if not name or (count and not (count.isdecimal() and 0 < int(count) <= 10_000)):
            raise typer.BadParameter(f"--queues: expected name or name=workers (1 to 10,000), got {entry.strip()!r}")
        pools[name] = int(count) if count else None
    return pools


def _leave_threads_behind(softly: bool) -> None:
    """End the process although threads of workers still run: their jobs are released, and Python would wait."""
    others = [each for each in threading.enumerate() if each is not threading.main_thread() and not each.daemon]
    if others:
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(0 if softly else 1)
