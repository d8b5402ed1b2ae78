"""`workerqueue queues list | get | pause | resume | set | add | remove`."""

from __future__ import annotations

from typing import Annotated

import typer

from workerqueue.cli.connected import with_client
from workerqueue.cli.output import print_json, print_table
from workerqueue.cli.settings import DEFAULT_SCHEMA, ConfigFolder, DatabaseUrl, Json, Schema
from workerqueue.queue_view import Queue
from workerqueue.queues import KEEP

app = typer.Typer(help="Look at queues, pause and resume them, change what a running fleet has.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="A configured queue, or a dynamic name such as runs-42.")]
NameOrAll = Annotated[str, typer.Argument(metavar="NAME", help="A queue, a dynamic name, or '*': all of them.")]
MaxWorkers = Annotated[int | None, typer.Option("--max-workers", help="Jobs at once in one process.")]
GlobalLimit = Annotated[int | None, typer.Option("--global-limit", help="Jobs at once in all processes together.")]
Rate = Annotated[str | None, typer.Option("--rate", help="Starts in a time at most, such as 100/m.")]
Burst = Annotated[int | None, typer.Option("--burst", help="How many of these at once.")]


@app.command("list")
def list_queues(
    database_url: DatabaseUrl = None,
    config: ConfigFolder = None,
    schema: Schema = DEFAULT_SCHEMA,
    as_json: Json = False,
) -> None:
    """Print every queue: its jobs by state, its workers, and whether it is paused."""
    found = with_client(database_url, config, None, schema, lambda client: client.queues.list())
    _print(found, as_json=as_json)


@app.command("get")
def get(
    name: Name,
    database_url: DatabaseUrl = None,
    config: ConfigFolder = None,
    schema: Schema = DEFAULT_SCHEMA,
    as_json: Json = False,
) -> None:
    """Print one queue, configured or dynamic."""
    _print_one(with_client(database_url, config, None, schema, lambda client: client.queues.get(name)), as_json=as_json)


@app.command("pause")
def pause(
    name: NameOrAll, database_url: DatabaseUrl = None, config: ConfigFolder = None, schema: Schema = DEFAULT_SCHEMA
) -> None:
    """Start none of its jobs any more, in any process; running ones finish, inserts go on."""
    done = with_client(database_url, config, None, schema, lambda client: client.queues.pause(name))
    typer.echo(f"paused {name}" if done else f"{name} was paused before")


@app.command("resume")
def resume(
    name: NameOrAll, database_url: DatabaseUrl = None, config: ConfigFolder = None, schema: Schema = DEFAULT_SCHEMA
) -> None:
    """End a pause; '*' resumes every queue, however it was paused."""
    done = with_client(database_url, config, None, schema, lambda client: client.queues.resume(name))
    typer.echo(f"resumed {name}" if done else f"{name} was not paused")


@app.command("set")
def set_queue(
    name: Name,
    max_workers: MaxWorkers = None,
    global_limit: GlobalLimit = None,
    rate: Rate = None,
    burst: Burst = None,
    reset: Annotated[bool, typer.Option("--reset", help="First go back to what is configured, in everything.")] = False,
    database_url: DatabaseUrl = None,
    config: ConfigFolder = None,
    schema: Schema = DEFAULT_SCHEMA,
    as_json: Json = False,
) -> None:
    """Change what a queue has in all running processes; what is not named stays as it is."""
    rest = None if reset else KEEP
    changed = with_client(
        database_url,
        config,
        None,
        schema,
        lambda client: client.queues.set(
            name,
            max_workers=rest if max_workers is None else max_workers,
            global_limit=rest if global_limit is None else global_limit,
            rate=rest if rate is None else rate,
            burst=rest if burst is None else burst,
        ),
    )
    _print_one(changed, as_json=as_json)


@app.command("add")
def add(
    name: Name,
    max_workers: Annotated[int, typer.Option("--max-workers", help="Jobs at once in one process.")] = 100,
    global_limit: GlobalLimit = None,
    rate: Rate = None,
    burst: Burst = None,
    database_url: DatabaseUrl = None,
    config: ConfigFolder = None,
    schema: Schema = DEFAULT_SCHEMA,
    as_json: Json = False,
) -> None:
    """Add a queue that every process works from now on which works all queues."""
    added = with_client(
        database_url,
        config,
        None,
        schema,
        lambda client: client.queues.add(
            name, max_workers=max_workers, global_limit=global_limit, rate=rate, burst=burst
        ),
    )
    _print_one(added, as_json=as_json)


@app.command("remove")
def remove(
    name: Name, database_url: DatabaseUrl = None, config: ConfigFolder = None, schema: Schema = DEFAULT_SCHEMA
) -> None:
    """Remove a queue that was added, once it has no live job."""
    with_client(database_url, config, None, schema, lambda client: client.queues.remove(name))
    typer.echo(f"removed {name}")


def _print_one(queue: Queue, *, as_json: bool) -> None:
    if as_json:
        print_json(queue)
    else:
        _print([queue], as_json=False)


def _print(queues: list[Queue], *, as_json: bool) -> None:
    if as_json:
        print_json(queues)
        return
    print_table(
        [
            "queue",
            "pool",
            "available",
            "scheduled",
            "pending",
            "running",
            "retryable",
            "workers",
            "limits",
            "clients",
            "",
        ],
        [
            [
                queue.name,
                queue.pool,
                queue.counts.available,
                queue.counts.scheduled,
                queue.counts.pending,
                queue.counts.running,
                queue.counts.retryable,
                queue.max_workers,
                _limits(queue),
                queue.clients,
                _note(queue),
            ]
            for queue in queues
        ],
    )


def _limits(queue: Queue) -> str | None:
    limits = queue.limits
    said = [f"{limits.global_limit} at once"] if limits.global_limit is not None else []
    if limits.rate is not None:
        said.append(limits.rate if limits.burst is None else f"{limits.rate} burst {limits.burst}")
    return ", ".join(said) or None


def _note(queue: Queue) -> str:
    if queue.paused:
        return "paused"
    return "nobody works it" if queue.counts.live and not queue.clients else ""
