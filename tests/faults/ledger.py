"""Brings what the processes noted and what the database recorded into tables, so that checks are queries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from tests.faults.journal import read
from tests.faults.kinds import LIMITS
from tests.faults.nemesis import Strike
from workerqueue.database import Connection
from workerqueue.job import TRANSITIONS


def script(name: str) -> str:
    """Read one of the harness's statements."""
    return files("tests.faults").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


async def prepare(connection: Connection, *, ruled: bool = False) -> None:
    """Make the harness's tables and the audit; the queue's schema is there."""
    await connection.execute(script("ledger"))
    if ruled:
        rules = [(name, None if name == "all" else name, name == "stalling", most) for name, most in LIMITS.items()]
        await _load(connection, "rule", ((*rule, True) for rule in rules))


async def gather(
    connection: Connection,
    *,
    inserters: Sequence[Path],
    workers: Sequence[Path],
    external: Path,
    strikes: Sequence[Strike],
) -> None:
    """Load everything that was noted."""
    # JSON comes without types; the tables are what checks them.
    inserted = cast("list[dict[str, Any]]", list(read(inserters)))
    worked = cast("list[dict[str, Any]]", list(read(workers)))
    outside = cast("list[dict[str, Any]]", list(read([external])))
    await _load(connection, "intent", _intents(inserted))
    await _load(connection, "ack", _acknowledged(inserted))
    await _load(connection, "outcome", _outcomes(worked))
    await _load(connection, "external", ((each["job"], each["lease"], _time(each["at"])) for each in outside))
    await _load(connection, "strike", ((each.kind, each.pid, _time(each.at), _time(each.until)) for each in strikes))
    await _load(connection, "transition", {(step.source, step.target) for step in TRANSITIONS})
    await connection.execute(script("gather"))


def _intents(entries: Iterable[dict[str, Any]]) -> Iterator[tuple[object, ...]]:
    return ((token, entry["how"]) for entry in entries if "how" in entry for token in entry["tokens"])


def _acknowledged(entries: Iterable[dict[str, Any]]) -> Iterator[tuple[object, ...]]:
    for entry in entries:
        if "ids" in entry:
            yield from zip(entry["tokens"], entry["ids"], strict=True)


def _outcomes(entries: Iterable[dict[str, Any]]) -> Iterator[tuple[object, ...]]:
    names = ("job", "lease", "state", "accepted")
    return ((*(entry[name] for name in names), _time(entry["at"])) for entry in entries if "lease" in entry)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


async def _load(connection: Connection, table: str, rows: Iterable[tuple[object, ...]]) -> None:
    await connection.copy_records_to_table(table, schema_name="faults", records=rows)
