"""The shipped task table and args classes are the catalog's, cell by cell.

`tests/golden/catalog.md` is a verbatim copy of the two tables in the catalog's section 1. A change of the
configuration, of an args class or of the copy fails here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import UnionType
from typing import Annotated, Literal, NamedTuple, Union, get_args, get_origin

import pytest

from tasks import workers
from tests.tasks.examples import EXAMPLES
from workerqueue import Config, JobArgs
from workerqueue.options import Resolver

ROOT = Path(__file__).parents[2]
GOLDEN = (ROOT / "tests/golden/catalog.md").read_text()

NONE = "–"


class Field(NamedTuple):
    """One field of the column `args`."""

    name: str
    type: str
    json_name: str


class GoldenRow(NamedTuple):
    """One row of the catalog, as the catalog spells it."""

    number: str
    kind: str
    args: str
    queue: str
    dynamic_queue: str
    priority: str
    max_attempts: str
    timeout: str


# Reading the golden tables


def cells(line: str) -> list[str]:
    """Split one line of a Markdown table; an escaped bar belongs to its cell."""
    return [cell.strip().strip("`").replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def table(first_cell: str) -> Iterator[list[str]]:
    """Read the body of the table whose header starts with a cell."""
    lines = iter(GOLDEN.splitlines())
    for line in lines:
        if line.startswith(f"| {first_cell} |"):
            break
    next(lines)
    for line in lines:
        if not line.startswith("|"):
            return
        yield cells(line)


ALL_ROWS = [GoldenRow(*row) for row in table("#")]
ROWS = [row for row in ALL_ROWS if row.number != NONE]
UNLISTED = next(row for row in ALL_ROWS if row.number == NONE)
QUEUES = {name: int(max_workers) for row in table("queue") for name, max_workers in (row[0:2], row[3:5]) if name}

# `name: type`, then in parentheses the JSON name or a remark.
_FIELD = re.compile(r"(?P<name>\w+): (?P<type>.+?)(?: \((?P<note>[^)]*)\))?")


def golden_fields(column: str) -> list[Field]:
    """Read the column `args`."""
    return [golden_field(part) for part in column.split("; ")]


def golden_field(text: str) -> Field:
    """Read one field; its JSON name is its own name where the catalog gives no other."""
    match = _FIELD.fullmatch(text)
    assert match, f"can't read the field {text!r}"
    note = match["note"] or ""
    # Other remarks say what an id is of: "(run)", "(an *execution's* id, not the run's)".
    renamed = re.fullmatch(r"[a-z]+[A-Z]\w*", note)
    return Field(match["name"], match["type"], note if renamed else match["name"])


# Spelling our classes as the catalog does


def fields_of(args_class: type[JobArgs]) -> list[Field]:
    """Spell the fields of an args class as the column `args` does."""
    return [
        Field(name, spelled(field.annotation), field.alias or name) for name, field in args_class.model_fields.items()
    ]


def spelled(annotation: object) -> str:
    """Spell a type as the catalog does."""
    if annotation is None or annotation is type(None):
        return "None"
    if getattr(annotation, "__name__", None) == "JsonValue":
        return "Any"
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return spelled(parts[0])
    if origin is Literal:
        return " | ".join(f'"{value}"' for value in parts)
    if origin in (Union, UnionType):
        members = [spelled(part) for part in parts]
        return "Any" if "Any" in members else " | ".join(members)
    if origin is list:
        return f"list[{spelled(parts[0])}]"
    assert isinstance(annotation, type), f"no spelling for {annotation!r}"
    return annotation.__name__


# The tests


def raw_tasks() -> dict[str, dict[str, object]]:
    """Read the task table as it is written."""
    return tomllib.loads((ROOT / "config/tasks.toml").read_text())


def test_the_golden_copy_is_complete() -> None:
    """The golden copy holds 24 kinds, numbered, and 7 queues."""
    assert [str(number) for number in range(1, 25)] == [row.number for row in ROWS]
    assert len({row.kind for row in ROWS}) == 24
    assert len(QUEUES) == 7


@pytest.mark.req("C6", "C7", "C8", "C9", "C10", "C11")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.kind)
def test_row(row: GoldenRow) -> None:
    """Each row of config/tasks.toml has the catalog's queue, dynamic queue, priority, attempts and timeout."""
    written = raw_tasks()[row.kind]
    settings = {
        "queue": row.queue,
        "max_attempts": int(row.max_attempts),
        "timeout_seconds": int(row.timeout),
        **({} if row.dynamic_queue == NONE else {"dynamic_queue": row.dynamic_queue}),
        **({} if row.priority == UNLISTED.priority else {"priority": int(row.priority)}),
    }
    assert settings == written


@pytest.mark.req("C1", "C2", "C3", "C5")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.kind)
def test_args_class(row: GoldenRow) -> None:
    """Each kind's args class has the catalog's fields: names, types and JSON names."""
    assert golden_fields(row.args) == fields_of(workers.classes[row.kind])


@pytest.mark.req("C7", "C14")
def test_rows_and_classes_match() -> None:
    """Each row has its class and each class its row, and both are the catalog's 24 kinds."""
    kinds = {row.kind for row in ROWS}
    assert kinds == set(raw_tasks())
    assert kinds == set(workers.classes)
    assert {kind: args_class.kind() for kind, args_class in workers.classes.items()} == {kind: kind for kind in kinds}


@pytest.mark.req("C17")
def test_queues() -> None:
    """config/queues.toml has the catalog's seven queues, and says nothing but their max_workers."""
    written = tomllib.loads((ROOT / "config/queues.toml").read_text())
    assert {name: {"max_workers": count} for name, count in QUEUES.items()} == written


@pytest.mark.req("C6", "C13")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.kind)
def test_resolved_row(row: GoldenRow) -> None:
    """An insert without options gets exactly its row's queue, name, priority, attempts and timeout."""
    args = EXAMPLES[row.kind].full
    new = Resolver(Config.load(ROOT / "config")).resolve(args)
    name = None if row.dynamic_queue == NONE else row.dynamic_queue.format(**args.model_dump())
    settings = row.queue, name, int(row.priority), int(row.max_attempts), timedelta(seconds=int(row.timeout))
    assert settings == (new.terms.pool, new.queue, new.terms.priority, new.terms.max_attempts, new.terms.timeout)


@pytest.mark.req("C17")
def test_loaded_queues() -> None:
    """The library reads the seven queues as they are written, and adds none."""
    config = Config.load(ROOT / "config")
    assert {name: queue.max_workers for name, queue in config.all_queues.items()} == QUEUES


@pytest.mark.req("C21")
def test_unlisted_kind() -> None:
    """A kind without a row gets the queue default, priority 1, 3 attempts and 60 seconds."""

    class UnlistedArgs(JobArgs):
        @classmethod
        def kind(cls) -> str:
            return "unlisted"

    new = Resolver(Config.load(ROOT / "config")).resolve(UnlistedArgs())
    row = UNLISTED
    settings = row.queue, None, int(row.priority), int(row.max_attempts), timedelta(seconds=int(row.timeout))
    assert settings == (new.terms.pool, new.queue, new.terms.priority, new.terms.max_attempts, new.terms.timeout)
