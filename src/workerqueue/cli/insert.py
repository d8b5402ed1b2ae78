"""`workerqueue insert KIND JSON`: inserts one job by its kind's name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Final, cast
from uuid import UUID

import anyio
import typer

from workerqueue.args import InsertOpts
from workerqueue.cli.output import job_as_json, print_json
from workerqueue.cli.problems import Failure, WrongUse
from workerqueue.cli.settings import (
    DEFAULT_SCHEMA,
    ConfigFolder,
    DatabaseUrl,
    Json,
    Schema,
    TasksModule,
    find_url,
    load_config,
    load_workers,
)
from workerqueue.client import Client
from workerqueue.durations import positive
from workerqueue.errors import JobWaitTimeout
from workerqueue.job import Job, JobState
from workerqueue.options import Payload

_UNITS: Final[Mapping[str, int]] = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_JSON_TYPES: Final[Mapping[type, str]] = {
    list: "a list",
    str: "text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def insert(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="The kind, such as startRun.")],
    args: Annotated[str, typer.Argument(metavar="[JSON]", help='Its args, such as {"id": "run_1"}.')] = "{}",
    queue: Annotated[str | None, typer.Option("--queue", help="A configured queue.")] = None,
    priority: Annotated[int | None, typer.Option("--priority", help="Smaller runs first.")] = None,
    scheduled_at: Annotated[
        str | None,
        typer.Option("--scheduled-at", help="When: 2026-11-22T09:00:00+01:00, or from now: 90s, 5m, 2h, 1d."),
    ] = None,
    job_key: Annotated[
        str | None,
        typer.Option("--job-key", help="A key that one live job has at a time; another gives the one there."),
    ] = None,
    insert_id: Annotated[
        UUID | None,
        typer.Option("--insert-id", help="A UUID of this insert; a second one with it makes no second job."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is finalized; exit 1 if it failed.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to --wait at most.")] = 3600.0,
    database_url: DatabaseUrl = None,
    config: ConfigFolder = None,
    tasks: TasksModule = None,
    schema: Schema = DEFAULT_SCHEMA,
    as_json: Json = False,
) -> None:
    """Insert one job."""
    payload = parse_args(args)
    limit = _limit(timeout)
    opts = InsertOpts(
        queue=queue,
        priority=priority,
        scheduled_at=None if scheduled_at is None else parse_time(scheduled_at),
        job_key=job_key,
        insert_id=insert_id,
    )
    client = Client(find_url(database_url), config=load_config(config), workers=load_workers(tasks), schema=schema)

    async def insert_and_wait() -> Job[Payload]:
        async with client:
            job = (await client.insert_kind(kind, payload, opts)).job
            if not wait:
                return job
            if not as_json:
                typer.echo(_line(job))  # before waiting, so that its id is known after a Ctrl-C
            try:
                return await client.jobs.wait(job.id, limit)
            except JobWaitTimeout:
                return await client.jobs.get(job.id) or job

    job = anyio.run(insert_and_wait)
    if as_json:
        print_json(job_as_json(job))
    else:
        typer.echo(_line(job))
    if wait:
        _fail_unless_completed(job, limit)


def parse_args(text: str) -> dict[str, object]:
    """Read a JSON object.

    Raises:
        WrongUse: If it is none.
    """
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WrongUse(f"the args are not JSON: {error} (quote it for the shell: '{{\"id\": 1}}')") from None
    if not isinstance(value, dict):
        raise WrongUse(f"the args are a JSON object such as {{}}, got {_JSON_TYPES[type(value)]}")
    return cast("dict[str, object]", value)


def parse_time(text: str) -> datetime | timedelta:
    """Read an ISO date with its zone, or a time from now such as `90s`.

    Raises:
        WrongUse: If it is neither.
    """
    number, unit = text[:-1], text[-1:]
    try:
        if unit in _UNITS and number.replace(".", "", 1).isdecimal():
            return timedelta(seconds=float(number) * _UNITS[unit])
        when = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise WrongUse(
            f"--scheduled-at: expected 2026-11-22T09:00:00+01:00, or a time from now such as 90s or 5m, got {text!r}"
        ) from None
    if when.tzinfo is None:
        raise WrongUse(f"--scheduled-at: got the naive {text}; give it a zone, such as {text}Z")
    return when


def _limit(timeout: float) -> timedelta:
    try:
        return positive(timeout)
    except ValueError as error:
        raise WrongUse(f"--timeout: {error}") from None


def _line(job: Job[Payload]) -> str:
    return f"job {job.id} {job.kind} {job.state} in {job.queue}"


def _fail_unless_completed(job: Job[Payload], limit: timedelta) -> None:
    if not job.state.is_final:
        raise Failure(f"job {job.id} is still {job.state} after {limit.total_seconds():g} s")
    if job.state is not JobState.COMPLETED:
        error = f": {job.errors[-1].type}: {job.errors[-1].error}" if job.errors else ""
        raise Failure(f"job {job.id} was {job.state}{error}")
