"""`workerqueue migrate up | down | status | sql`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import anyio
import typer

from workerqueue.cli.output import print_json, print_table
from workerqueue.cli.settings import DEFAULT_SCHEMA, DatabaseUrl, Json, Schema, find_url
from workerqueue.database import Database, Migration, Migrations, migrations_script

T = TypeVar("T")

app = typer.Typer(help="Bring the schema up to date, take it back, or look at it.")

To = Annotated[int | None, typer.Option("--to", min=0, help="The version to end at.")]


@app.command("up")
def up(to: To = None, database_url: DatabaseUrl = None, schema: Schema = DEFAULT_SCHEMA, as_json: Json = False) -> None:
    """Apply what is missing (default: everything)."""
    steps = _with_migrations(database_url, schema, lambda migrations: migrations.up(to))
    _report(steps, "applied", f"schema {schema} is up to date", as_json=as_json)


@app.command("down")
def down(
    to: To = None, database_url: DatabaseUrl = None, schema: Schema = DEFAULT_SCHEMA, as_json: Json = False
) -> None:
    """Take back the last step, or every step above --to; jobs in dropped tables are gone."""
    steps = _with_migrations(database_url, schema, lambda migrations: migrations.down(to))
    _report(steps, "taken back", f"nothing is applied in schema {schema} above that", as_json=as_json)


@app.command("status")
def status(database_url: DatabaseUrl = None, schema: Schema = DEFAULT_SCHEMA, as_json: Json = False) -> None:
    """Print every step and when it was applied."""
    steps = _with_migrations(database_url, schema, lambda migrations: migrations.status())
    if as_json:
        print_json(steps)
        return
    print_table(
        ["version", "name", "applied"],
        [
            [step.version, step.name, f"{step.applied_at:%Y-%m-%d %H:%M:%S %Z}" if step.applied_at else None]
            for step in steps
        ],
    )


@app.command("sql")
def sql(schema: Schema = DEFAULT_SCHEMA) -> None:
    """Print the SQL of every step, to be run by hand in one transaction."""
    typer.echo(migrations_script(schema), nl=False)


def _with_migrations(database_url: str | None, schema: str, do: Callable[[Migrations], Awaitable[T]]) -> T:
    async def connected() -> T:
        database = Database(find_url(database_url), schema, name="workerqueue migrate")
        await database.open()
        try:
            return await do(Migrations(database))
        finally:
            await database.close()

    return anyio.run(connected)


def _report(steps: list[Migration], done: str, otherwise: str, *, as_json: bool) -> None:
    if as_json:
        print_json(steps)
        return
    for step in steps:
        typer.echo(f"{done} {step.version:03} {step.name}")
    if not steps:
        typer.echo(f"nothing to do: {otherwise}")
