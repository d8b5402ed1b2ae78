"""The history checker: one query a check, which gives what must not be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.faults.ledger import script
from workerqueue.database import Connection

CHECKS: Final[Mapping[str, str]] = {
    "h1_lost": "an acknowledged insert exists",
    "h1_left": "every job ends: after quiet none is left live",
    "h2_double": "an insert is there once at most",
    "h3_rolled_back": "a rolled-back insert never exists",
    "h3_torn": "a caller's row and its job commit together",
    "h4_no_effect": "a completed run left its effect before",
    "h4_unclaimed": "no effect without a claim",
    "h4_exact": "what is written through complete_tx is there once for each completion, and for nothing else",
    "h5_ends": "an ended job ended once",
    "h5_stale": "no stale write is accepted",
    "h5_saved": "a completed job has the checkpoint of the run that completed it",
    "h5_writer": "only the client that has a run ends it",
    "h6_refused": "no write is refused under a good lease",
    "h8_path": "every change of state is legal",
    "h8_attempts": "starts stay within the attempts; a stop burns none",
    "h8_early": "nothing is ready before its time",
    "h8_rescued_living": "only jobs of the dead are rescued",
    "h8_false_death": "only who was struck is declared dead",
    "h9_overlap": "one job of a dynamic queue at a time",
    "h9_names_left": "nothing is left of a name that is empty",
    "h9_order": "in strict order nothing runs before what came before it is over",
    "h10_limits": "no more run at once than a limit allows",
}
"""What must hold, by the name of the query that finds where it does not. H7 is a figure."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check found."""

    name: str
    promise: str
    violations: int
    examples: list[str]

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return not self.violations


async def check(connection: Connection) -> list[Verdict]:
    """Run every check."""
    return [await _check_one(connection, name, promise) for name, promise in CHECKS.items()]


async def _check_one(connection: Connection, name: str, promise: str) -> Verdict:
    rows = await connection.fetch(script(name))
    return Verdict(name, promise, len(rows), [f"job {row['job']}: {row['what']}" for row in rows[:5]])
