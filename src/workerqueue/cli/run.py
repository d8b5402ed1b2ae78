"""`workerqueue run`: works jobs until it is told to stop."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated

import anyio
import typer

from workerqueue.cli.child import LEASH as LEASH  # `dev` takes it from here
from workerqueue.cli.child import follow_leash, say_ready
from workerqueue.cli.logs import show_logs
from workerqueue.cli.loop import LoopNote, choose_loop, run_on
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
from workerqueue.cli.supervise import PROCESS, REFUSED, SUPERVISOR, Supervisor, name_lines
from workerqueue.client import Client
from workerqueue.durations import positive


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
        typer.Option(
            "--queues", help="Work only these: `email=2,default` (with how many workers, if given), in each process."
        ),
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", min=1, help="The most jobs at once over all queues, in each process.")
    ] = None,
    processes: Annotated[
        int,
        typer.Option("--processes", min=1, help="How many processes work; --queues and --concurrency hold for each."),
    ] = 1,
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
    follow_leash()
    limit = None if max_time is None else _limit(max_time)
    if processes > 1:
        options = {
            "--config": config,
            "--tasks": tasks,
            "--schema": schema,
            "--queues": queues,
            "--concurrency": concurrency,
            "--horizon": horizon,
            "--log-level": log_level,
        }
        given = [f"{name}={value}" for name, value in options.items() if value is not None]
        given += ["--drain"] if drain else []
        _supervise(Supervisor(given, _environment(database_url), processes, drain=drain, max_time=limit))
        return
    pools = None if queues is None else parse_queues(queues)
    client = Client(
        find_url(database_url),
        config=load_config(config),
        workers=need_workers(tasks),
        schema=schema,
        concurrency=concurrency,
    )

    async def work() -> bool:
        async with client:
            await client.start(queues=pools)
            say_ready()
            return await client.run(drain=drain, horizon=horizon, max_time=limit)

    _work(work)


def _supervise(supervisor: Supervisor) -> None:
    name_lines(SUPERVISOR)
    code = anyio.run(supervisor.run)
    if code == REFUSED:
        raise SystemExit(REFUSED)  # the process that refused has said why
    if code:
        raise Failure("not every process ended softly")


def _work(work: Callable[[], Awaitable[bool]]) -> None:
    """Work on the chosen loop, and fail if what ran could not end."""
    loop = choose_loop()
    for handler in logging.getLogger().handlers:
        handler.addFilter(LoopNote(loop))
    if number := os.environ.get(PROCESS):
        name_lines(number)
    if not run_on(loop, work):
        raise Failure("stopped by a second signal; what ran was released")


def _environment(database_url: str | None) -> dict[str, str]:
    """Give the environment of the processes; the URL holds a password, which `ps` shows in arguments."""
    url = find_url(database_url)
    return {**os.environ, **({} if url is None else {"WORKERQUEUE_DATABASE_URL": url})}


def _limit(max_time: float) -> float:
    try:
        return positive(max_time).total_seconds()
    except ValueError as error:
        raise WrongUse(f"--max-time: {error}") from None


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
