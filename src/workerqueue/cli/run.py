"""`workerqueue run`: works jobs until it is told to stop."""

from __future__ import annotations

import os
import signal
import threading
from enum import StrEnum
from typing import Annotated, Final

import anyio
import typer

from workerqueue.cli.logs import show_logs
from workerqueue.cli.problems import Failure, WrongUse
from workerqueue.cli.settings import (
    DEFAULT_SCHEMA,
    ConfigFolder,
    DatabaseUrl,
    Schema,
    TasksModule,
    find_url,
    load_config,
    need_workers,
)
from workerqueue.client import Client

LEASH: Final = "WORKERQUEUE_LEASH"
"""Set by `workerqueue dev`: stop when standard input ends, which it does when dev is gone, however it went."""


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
    log_level: Annotated[
        Level, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
    ] = Level.INFO,
) -> None:
    """Work jobs until SIGTERM or Ctrl-C; a second signal releases what runs at once."""
    show_logs(log_level)
    pools = None if queues is None else parse_queues(queues)
    client = Client(
        find_url(database_url),
        config=load_config(config),
        workers=need_workers(tasks),
        schema=schema,
        concurrency=concurrency,
    )

    async def work() -> bool:
        return await client.run(queues=pools, drain=drain, horizon=horizon, max_time=max_time)

    if os.environ.get(LEASH):
        threading.Thread(target=_stop_at_the_end_of_input, daemon=True).start()
    if not anyio.run(work):
        raise Failure("stopped by a second signal; what ran was released")


def parse_queues(text: str) -> dict[str, int | None]:
    """Read `email=2,default` as queues and their workers.

    Raises:
        WrongUse: If it is not of that form, or names a queue twice.
    """
    pools: dict[str, int | None] = {}
    for entry in text.split(","):
        name, _, count = entry.strip().partition("=")
        if not name or (count and not (count.isdecimal() and 0 < int(count) <= 10_000)):
            raise WrongUse(f"--queues: expected name or name=workers (1 to 10,000), got {entry.strip()!r}")
        if name in pools:
            raise WrongUse(f"--queues: {name!r} is named twice")
        pools[name] = int(count) if count else None
    return pools


def _stop_at_the_end_of_input() -> None:
    while os.read(0, 4096):  # not sys.stdin: Python can't end while a thread reads from that
        pass
    os.kill(os.getpid(), signal.SIGTERM)
