"""`workerqueue jobs list | get | cancel | retry | release | delete`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

import typer

from workerqueue.cli.connected import with_client
from workerqueue.cli.output import job_as_json, print_json, print_table
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
from workerqueue.client import Client
from workerqueue.job import ControlResult, Job
from workerqueue.job_reader import JobPage
from workerqueue.jobs import Jobs
from workerqueue.options import Payload

app = typer.Typer(help="Look at jobs, and handle them by hand.")

Named = Annotated[str, typer.Argument(metavar="JOB", help="Its id; with --key, its key.")]
ByKey = Annotated[bool, typer.Option("--key", help="JOB is a key, of digits too.")]


@app.command("list")
def list_jobs(
    state: Annotated[list[str] | None, typer.Option("--state", help="Only of this state; may be repeated.")] = None,
    kind: Annotated[list[str] | None, typer.Option("--kind", help="Only of this kind; may be repeated.")] = None,
    queue: Annotated[list[str] | None, typer.Option("--queue", help="Only of this queue; may be repeated.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="Only with this tag; may be repeated.")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only of this tenant.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="How many at most, up to 1,000.")] = 100,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Where the page before has ended.")] = None,
    database_url: DatabaseUrl = None,
    config: ConfigFolder = None,
    tasks: TasksModule = None,
    schema: Schema = DEFAULT_SCHEMA,
    as_json: Json = False,
) -> None:
    """Print jobs, live and finalized, newest first."""

    async def look(client: Client) -> JobPage[Payload]:
        return await client.jobs.list(
            states=state, kinds=kind, queues=queue, tags=tag, tenant=tenant, limit=limit, cursor=cursor
        )

    page = with_client(database_url, config, load_workers(tasks), schema, look)
    if as_json:
        print_json([job_as_json(job) for job in page.jobs])
        return
    print_table(
        ["id", "kind", "state", "queue", "attempt", "scheduled at", "last error"], [_row(job) for job in page.jobs]
    )
    if page.next_cursor is not None:
        typer.echo(f"there are more: --cursor {page.next_cursor}")


@app.command("get")
def get(
    job: Named,
    key: ByKey = False,
    database_url: DatabaseUrl = None,
    config: ConfigFolder = None,
    tasks: TasksModule = None,
    schema: Schema = DEFAULT_SCHEMA,
) -> None:
    """Print all that is known of one job, as JSON."""
    found = with_client(
        database_url, config, load_workers(tasks), schema, lambda client: client.jobs.get(_named(job, is_key=key))
    )
    if found is None:
        raise Failure(f"there is no job {job}")
    print_json(job_as_json(found))


@app.command("cancel")
def cancel(
    job: Named,
    key: ByKey = False,
    running: Annotated[bool, typer.Option("--running", help="Ask one that runs to stop.")] = False,
    database_url: DatabaseUrl = None,
    schema: Schema = DEFAULT_SCHEMA,
    as_json: Json = False,
) -> None:
    """Cancel a job that waits."""
    how: Literal["request", "refuse"] = "request" if running else "refuse"
    _control(job, key, database_url, schema, as_json, lambda jobs, named: jobs.cancel(named, running=how))


@app.command("retry")
def retry(
    job: Named,
    key: ByKey = False,
    database_url: DatabaseUrl = None,
    schema: Schema = DEFAULT_SCHEMA,
    as_json: Json = False,
) -> None:
    """Make a job available now that waits for its time or has ended."""
    _control(job, key, database_url, schema, as_json, lambda jobs, named: jobs.retry(named))


@app.command("release")
def release(
    job: Named,
    key: ByKey = False,
    database_url: DatabaseUrl = None,
    schema: Schema = DEFAULT_SCHEMA,
    as_json: Json = False,
) -> None:
    """Make a parked job available."""
    _control(job, key, database_url, schema, as_json, lambda jobs, named: jobs.release(named))


@app.command("delete")
def delete(
    job: Named,
    key: ByKey = False,
    database_url: DatabaseUrl = None,
    schema: Schema = DEFAULT_SCHEMA,
    as_json: Json = False,
) -> None:
    """Delete a job that does not run, live or finalized."""
    _control(job, key, database_url, schema, as_json, lambda jobs, named: jobs.delete(named), done="deleted")


def _control(
    job: str,
    is_key: bool,
    database_url: str | None,
    schema: str,
    as_json: bool,
    do: Callable[[Jobs, int | str], Awaitable[ControlResult[Payload]]],
    done: str = "",
) -> None:
    """Do something with a job, and say what became of it; exit 1 where it was refused."""
    named = _named(job, is_key=is_key)
    result = with_client(database_url, None, load_workers(None), schema, lambda client: do(client.jobs, named))
    if as_json:
        shown = None if result.job is None else job_as_json(result.job)
        print_json({"ok": result.ok, "state": result.state, "reason": result.reason, "job": shown})
    elif result.ok and result.job is not None:
        typer.echo(f"job {result.job.id} {result.job.kind} {done or result.state} in {result.job.queue}")
    if not result.ok:
        raise Failure(f"job {job}: {'there is none' if result.reason == 'not_found' else f'it is {result.reason}'}")


def _named(job: str, *, is_key: bool) -> int | str:
    if is_key:
        return job
    if not (job.isascii() and job.isdecimal()):
        raise typer.BadParameter(f"expected a job's id, got {job!r}; a key needs --key")
    return int(job)


def _row(job: Job[Payload]) -> list[object]:
    error = f"{job.errors[-1].type}: {job.errors[-1].error}"[:60] if job.errors else None
    return [job.id, job.kind, job.state, job.queue, f"{job.attempt}/{job.max_attempts}", _time(job), error]


def _time(job: Job[Payload]) -> str:
    return f"{job.scheduled_at:%Y-%m-%d %H:%M:%S}"
