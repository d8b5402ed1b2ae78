"""How commands print data: one JSON document, or a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import typer
from pydantic_core import to_json

from workerqueue.job import Job
from workerqueue.redaction import shown


def print_json(document: object) -> None:
    """Print one JSON document; durations are seconds."""
    typer.echo(to_json(document, timedelta_mode="float", indent=2).decode())


def job_as_json(job: Job[object]) -> dict[str, object]:
    """Give a job's attributes by their names, its secrets masked."""
    names = [field.name for field in fields(job) if not field.name.startswith("_")]
    return {name: getattr(job, name) for name in names} | {"args": shown(job.args)}


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows in columns as wide as they need, numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[n]) for row in [list(header), *cells]) for n in range(len(header))]
    numeric = [bool(rows) and all(isinstance(row[n], int | float) for row in rows) for n in range(len(header))]
    for row in [list(header), *cells]:
        padded = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        )
        typer.echo("  ".join(padded).rstrip())


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)
