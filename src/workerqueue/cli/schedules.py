"""`workerqueue schedules list | next | pause | resume | run | delete`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from workerqueue.cli.connected import with_client
from workerqueue.cli.output import print_json, print_table
from workerqueue.cli.problems import Failure
from workerqueue.cli.settings import (
    DEFAULT_SCHEMA,
    ConfigFolder,
    DatabaseUrl,
    Json,
    Schema,
    TasksModule,
    load_workers,
)
from workerqueue.schedules import Schedule

app = typer.Typer(help="Look at schedules, pause and resume them, run one now.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]


@app.command("list")
def list_schedules(
    database_url: DatabaseUrl = None,
    tasks: TasksModule = None,
    schema: Schema = DEFAULT_SCHEMA,
    as_json: Json = False,
) -> None:
    """Print every schedule, and when it fires next."""
    found = with_client(database_url, None, load_workers(tasks), schema, lambda client: client.schedules.list())
    if as_json:
        print_json([_as_json(each) for each in found])
        return
    print_table(
        ["schedule", "kind", "cron", "timezone", "missed", "next", "last", ""],
        [
            [
                each.name,
                each.kind,
                each.cron,
                each.timezone,
                each.missed,
                _time(each.next_at),
                _time(each.last_at),
                "paused" if each.paused else each.last_error or "",
            ]
            for each in found
        ],
    )


@app.command("next")
def next_times(
    name: Name,
    count: Annotated[int, typer.Option("--count", min=1, max=1000, help="How many.")] = 10,
    database_url: DatabaseUrl = None,
    schema: Schema = DEFAULT_SCHEMA,
    as_json: Json = False,
) -> None:
    """Print the next times of a schedule, in UTC."""
    times = with_client(database_url, None, None, schema, lambda client: client.schedules.get(name)).times(count)
    if as_json:
        print_json([each.isoformat() for each in times])
        return
    for each in times:
        typer.echo(each.isoformat())


@app.command("pause")
def pause(name: Name, database_url: DatabaseUrl = None, schema: Schema = DEFAULT_SCHEMA) -> None:
    """Fire it no more until it is resumed."""
    with_client(database_url, None, None, schema, lambda client: client.schedules.pause(name))
    typer.echo(f"paused {name}")


@app.command("resume")
def resume(name: Name, database_url: DatabaseUrl = None, schema: Schema = DEFAULT_SCHEMA) -> None:
    """Fire it again, from its next time on."""
    resumed = with_client(database_url, None, None, schema, lambda client: client.schedules.resume(name))
    typer.echo(f"resumed {name}, next at {_time(resumed.next_at)} UTC")


@app.command("run")
def run(
    name: Name,
    database_url: DatabaseUrl = None,
    config: ConfigFolder = None,
    tasks: TasksModule = None,
    schema: Schema = DEFAULT_SCHEMA,
) -> None:
    """Insert its job now, beside its times."""
    job = with_client(database_url, config, load_workers(tasks), schema, lambda client: client.schedules.run(name)).job
    typer.echo(f"job {job.id} {job.kind} {job.state} in {job.queue}")


@app.command("delete")
def delete(name: Name, database_url: DatabaseUrl = None, schema: Schema = DEFAULT_SCHEMA) -> None:
    """Delete it; what is in the code or the configuration comes back at a start."""
    if not with_client(database_url, None, None, schema, lambda client: client.schedules.delete(name)):
        raise Failure(f"no schedule {name!r}")
    typer.echo(f"deleted {name}")


def _as_json(schedule: Schedule) -> dict[str, object]:
    shown = ("name", "kind", "cron", "timezone", "args", "missed", "paused", "next_at", "last_at", "last_error")
    return {name: getattr(schedule, name) for name in shown}


def _time(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y-%m-%d %H:%M:%S}"
