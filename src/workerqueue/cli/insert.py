"""`workerqueue insert KIND JSON`: inserts one job by its kind's name."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Annotated

import anyio
import typer

from workerqueue.args import InsertOpts
from workerqueue.cli.output import job_as_json, print_json
from workerqueue.cli.problems import Failure
from workerqueue.cli.settings import (
    DEFAULT_SCHEMA,
    ConfigFolder,
    DatabaseUrl,
    Json,
    Schema,
    TasksModule,
    load_config,
    load_workers,
)
from workerqueue.client import Client
from workerqueue.job import Job, JobState
from workerqueue.options import Payload

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def insert(
    kind: Annotated[str, typer.Argument(help="The kind, such as startRun.")],
    args: Annotated[str, typer.Argument(metavar="JSON", help='Its args, such as {"id": "run_1"}.')] = "{}",
    queue: Annotated[str | None, typer.Option("--queue", help="A configured queue.")] = None,
    priority: Annotated[int | None, typer.Option("--priority", help="Smaller runs first.")] = None,
    scheduled_at: Annotated[
        str | None,
        typer.Option("--scheduled-at", help="When: 2026-11-22T09:00:00+01:00, or from now: 90s, 5m, 2h, 1d."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is finalized; exit 1 if it failed.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0, help="Seconds to --wait at most.")] = 3600.0,
    database_url: DatabaseUrl = None,
    config: ConfigFolder = None,
    tasks: TasksModule = None,
    schema: Schema = DEFAULT_SCHEMA,
    as_json: Json = False,
) -> None:
    """Insert one job."""
    payload = parse_args(args)
    opts = InsertOpts(
        queue=queue, priority=priority, scheduled_at=None if scheduled_at is None else parse_time(scheduled_at)
    )
    client = Client(database_url, config=load_config(config), workers=load_workers(tasks), schema=schema)

    async def insert_and_wait() -> Job[Payload]:
        async with client:
            job = (await client.insert_kind(kind, payload, opts)).job
            return await client.jobs.wait(job, timeout) if wait else job

    job = anyio.run(insert_and_wait)
    if as_json:
        print_json(job_as_json(job))
    else:
        typer.echo(f"job {job.id} {job.kind} {job.state} in {job.queue}")
    if wait and job.state is not JobState.COMPLETED:
        error = f": {job.errors[-1].type}: {job.errors[-1].error}" if job.errors else ""
        raise Failure(f"job {job.id} was {job.state}{error}")


def parse_args(text: str) -> dict[str, object]:
    """Read a JSON object.

    Raises:
        typer.BadParameter: If it is none.
    """
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"the args are not JSON: {error}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter(f"the args are a JSON object such as {{}}, got {type(value).__name__}")
    return {str(key): each for key, each in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - JSON


def parse_time(text: str) -> datetime | timedelta:
    """Read an ISO date with its zone, or a time from now such as `90s`.

    Raises:
        typer.BadParameter: If it is neither.
    """
    number, unit = text[:-1], text[-1:]
    if unit in _UNITS and number.replace(".", "", 1).isdecimal():
        return timedelta(seconds=float(number) * _UNITS[unit])
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"--scheduled-at: expected 2026-11-22T09:00:00+01:00, or a time from now such as 90s or 5m, got {text!r}"
        ) from None
