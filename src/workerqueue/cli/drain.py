"""`workerqueue drain QUEUE --wait`: waits until a queue has no live job, as before a deployment or a move."""

from __future__ import annotations

from typing import Annotated, Final

import anyio
import typer

from workerqueue.cli.output import print_json
from workerqueue.cli.problems import Failure, WrongUse
from workerqueue.cli.settings import DEFAULT_SCHEMA, ConfigFolder, DatabaseUrl, Json, Schema, find_url, load_config
from workerqueue.client import Client
from workerqueue.durations import positive
from workerqueue.queue_view import Queue

PAUSE: Final = 0.5
"""Seconds between two looks."""


def drain(
    queue: Annotated[str, typer.Argument(metavar="QUEUE", help="A configured queue, or a dynamic name.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait until no job is left; without it look once.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to --wait at most.")] = 3600.0,
    database_url: DatabaseUrl = None,
    config: ConfigFolder = None,
    schema: Schema = DEFAULT_SCHEMA,
    as_json: Json = False,
) -> None:
    """Exit 0 once a queue has no job that is available, scheduled, pending, retryable or running; else 1."""
    try:
        limit = positive(timeout).total_seconds()
    except ValueError as error:
        raise WrongUse(f"--timeout: {error}") from None
    client = Client(find_url(database_url), config=load_config(config), schema=schema)

    async def look() -> Queue:
        async with client:
            found = await client.queues.get(queue)
            if found.counts.live and not found.clients:
                typer.echo(f"nobody works {found.pool}: its jobs wait for a client that does", err=True)
            with anyio.move_on_after(limit):
                while wait and found.counts.live:
                    await anyio.sleep(PAUSE)
                    found = await client.queues.get(queue)
            return found

    found = anyio.run(look)
    counts = found.counts
    if as_json:
        print_json(found)
    elif not counts.live:
        typer.echo(f"{queue} has no live job")
    if counts.live:
        raise Failure(
            f"{queue} has {counts.live} live jobs: {counts.available} available, {counts.scheduled} scheduled, "
            f"{counts.pending} pending, {counts.retryable} retryable, {counts.running} running"
        )
