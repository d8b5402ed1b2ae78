"""Bugs by which a process's own clock would decide: the clock campaign must find every one."""

# pyright: reportPrivateUsage=false
# A bug is seeded where the code keeps to itself.

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from unittest.mock import patch

from workerqueue import option_values, options
from workerqueue.database import jobs, statements

NOW: Final = "statement_timestamp()"


def apply(name: str) -> None:
    """Seed a bug into this process."""
    MUTANTS[name]()


def _none() -> None:
    pass


def _by_process(*names: str) -> None:
    """Let the process say what time it is, wherever one of these statements compares with it."""
    statement = statements.statement

    def altered(asked: str, schema: str) -> str:
        text = statement(asked, schema)
        own = f"timestamptz '{datetime.now(UTC).isoformat()}'"
        return text.replace(f"< {NOW}", f"< {own}").replace(f"<= {NOW}", f"<= {own}") if asked in names else text

    for name in names:
        if altered(name, "any") == statement(name, "any"):
            raise RuntimeError(f"{name} has changed, and this mutant changes nothing in it any more")
    patch.object(jobs, "statement", altered).start()


def _due_by_process() -> None:
    _by_process("promote_due_jobs")


def _dead_by_process() -> None:
    _by_process("beat", "rescue_jobs")


def _delay_by_process() -> None:
    due = option_values.due_option

    def by_own_clock(*settings: datetime | timedelta | float | None) -> tuple[datetime | None, timedelta]:
        at, delay = due(*settings)
        return (datetime.now(UTC) + delay, timedelta()) if at is None and delay else (at, delay)

    patch.object(options, "due_option", by_own_clock).start()


MUTANTS: Final[Mapping[str, Callable[[], None]]] = {
    "none": _none,
    "due_by_process": _due_by_process,
    "dead_by_process": _dead_by_process,
    "delay_by_process": _delay_by_process,
}
