"""What a run prints: a table for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tests.faults.checks import Verdict
from tests.faults.figures import Row, Totals


@dataclass(frozen=True, slots=True)
class Report:
    """One run: what was done, measured and found."""

    profile: str
    seed: int
    mutant: str | None
    seconds: float
    plan: Sequence[str]
    totals: Totals
    figures: Sequence[Row]
    verdicts: Sequence[Verdict]

    @property
    def holds(self) -> bool:
        """Whether every invariant held; what took too long on a busy machine is not one."""
        return all(verdict.holds for verdict in self.verdicts)

    @property
    def broken(self) -> list[str]:
        """The checks that found something."""
        return [verdict.name for verdict in self.verdicts if not verdict.holds]

    def json(self) -> str:
        """Give it as one JSON object."""
        return json.dumps(asdict(self) | {"holds": self.holds}, indent=2)

    def table(self) -> str:
        """Give it as two tables in Markdown."""
        total = self.totals
        head = (
            f"profile {self.profile}, seed {self.seed}, {self.seconds:.0f} s: {total.jobs} jobs, {total.starts} starts,"
            f" {total.completed} completed, {total.discarded} discarded, {total.declared_dead} clients declared dead,"
            f" pick-up p99 {total.pickup_p99:.2f} s"
        )
        checks = [(each.name, each.promise, str(each.violations), _yes(each.holds)) for each in self.verdicts]
        examples = [f"{each.name}: {example}" for each in self.verdicts for example in each.examples]
        return "\n".join(
            [
                head,
                "",
                *_figures(self.figures),
                "",
                *_lines(("check", "promise", "violations", "holds"), checks),
                *examples,
            ]
        )


@dataclass(frozen=True, slots=True)
class Figures:
    """One campaign, which has no history to check: its figures are its checks."""

    profile: str
    seed: int
    seconds: float
    figures: Sequence[Row]

    @property
    def holds(self) -> bool:
        """Whether every figure was reached."""
        return all(row.met for row in self.figures)

    def json(self) -> str:
        """Give it as one JSON object."""
        return json.dumps(asdict(self) | {"holds": self.holds}, indent=2)

    def table(self) -> str:
        """Give it as a table in Markdown."""
        head = f"campaign {self.profile}, seed {self.seed}, {self.seconds:.0f} s"
        return "\n".join([head, "", *_figures(self.figures)])


def _figures(rows: Sequence[Row]) -> list[str]:
    cells = [(row.fault, str(row.times), row.figure, row.limit, _yes(row.met)) for row in rows]
    return _lines(("fault", "how often", "figure", "limit", "met"), cells)


def _yes(met: bool) -> str:
    return "yes" if met else "NO"


def _lines(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[place]) for row in [head, *rows]) for place in range(len(head))]
    cells = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in [head, *rows]]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return [lines[0], f"|{'|'.join('-' * (width + 2) for width in widths)}|", *lines[1:]]
