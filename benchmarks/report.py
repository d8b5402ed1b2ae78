"""What is shown of a benchmark: a table, a JSON document, and the page `RESULTS.md`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.figures import Figure, Samples, verdict
from benchmarks.machine import Machine
from benchmarks.sizes import Sizes

PAGE_HEAD: Final = """# Results

Written by `python -m benchmarks all` (`make bench`: the short form). Ratios are within one run, their two sides in
turn. Measured: the median over the repeats, and from the smallest to the largest.
"""


@dataclass(frozen=True)
class Answer:
    """What came of one benchmark."""

    name: str
    title: str
    sizes: Sizes
    repeat: int
    figures: Sequence[Figure]
    samples: Samples
    seconds: float
    error: str | None = None

    def as_dict(self) -> dict[str, object]:
        """Give it for JSON."""
        return {
            "benchmark": self.name,
            "title": self.title,
            "form": self.sizes.form,
            "repeat": self.repeat,
            "seconds": round(self.seconds, 3),
            "error": self.error,
            "notes": self.samples.notes,
            "figures": {figure.name: _figure(figure, self.samples) for figure in self.figures},
            "curves": self.samples.curves,
        }


def as_json(machine: Machine, answers: Sequence[Answer]) -> str:
    """Write one document of everything."""
    document = {"machine": machine.as_dict(), "benchmarks": [answer.as_dict() for answer in answers]}
    return json.dumps(document, indent=2)


def as_text(answer: Answer) -> str:
    """Write one benchmark as a table."""
    head = f"{answer.name}: {answer.title} ({answer.sizes.form}, {answer.repeat}×, {answer.seconds:.1f} s)"
    lines = [head, *(f"  {note}" for note in answer.samples.notes)]
    rows = [_row(figure, answer.samples) for figure in answer.figures]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines += ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    if answer.error is not None:
        lines.append(f"  failed: {answer.error}")
    return "\n".join(line.rstrip() for line in lines)


def about(machine: Machine) -> str:
    """Say in two lines where this ran."""
    settings = ", ".join(f"{name}={value}" for name, value in machine.settings.items() if value)
    return (
        f"commit {machine.commit} · {machine.cores} cores, {machine.memory_gb:g} GB, {machine.cpu} · PostgreSQL "
        f"{machine.postgresql} · Python {machine.python} · asyncpg {machine.asyncpg} · {machine.loop}\n{settings}"
    )


def as_page(machine: Machine, answers: Sequence[Answer], pictures: Mapping[str, str]) -> str:
    """Write `RESULTS.md`: the wanted figures first, then each benchmark in full.

    Args:
        machine: Where it ran.
        answers: What came of it.
        pictures: For each benchmark that has one, where its picture lies.
    """
    forms = sorted({f"{answer.sizes.form} form" for answer in answers})
    parts = [PAGE_HEAD, f"**{', '.join(forms)}**\n", _facts(machine), "## What was wanted\n", _wanted(answers)]
    for answer in answers:
        parts += [f"## {answer.name}\n", f"{answer.title}. {answer.repeat} repeats, {answer.seconds:.0f} s.\n"]
        parts += [f"- {note}" for note in answer.samples.notes]
        if answer.error is not None:
            parts.append(f"\nIt failed: `{answer.error}`")
        parts += [
            "",
            _table(["figure", "measured", "unit"], [_row(each, answer.samples)[:3] for each in answer.figures]),
        ]
        if answer.name in pictures:
            parts.append(f"![{answer.title}]({pictures[answer.name]})\n")
    return "\n".join(parts)


def _facts(machine: Machine) -> str:
    rows = [
        ("commit", machine.commit),
        ("machine", f"{machine.cores} cores, shared with PostgreSQL; {machine.memory_gb:g} GB; {machine.cpu}"),
        ("PostgreSQL", machine.postgresql),
        ("Python", f"{machine.python}, asyncpg {machine.asyncpg}, {machine.loop}"),
        ("settings", ", ".join(f"{name}={value}" for name, value in machine.settings.items() if value)),
    ]
    return _table(["what", "which"], rows)


def _wanted(answers: Sequence[Answer]) -> str:
    rows = [
        (
            answer.name,
            f"{figure.says} ({figure.unit})",
            figure.wanted,
            _measured(figure, answer.samples),
            verdict(figure, answer.samples.spread(figure.name)),
        )
        for answer in answers
        for figure in answer.figures
        if figure.is_wanted
    ]
    return _table(["benchmark", "figure", "wanted", "measured", ""], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]]) + "\n"


def _row(figure: Figure, samples: Samples) -> tuple[str, str, str, str]:
    said = verdict(figure, samples.spread(figure.name))
    return figure.says, _measured(figure, samples), figure.unit, f"wanted {figure.wanted}: {said}" if said else ""


def _measured(figure: Figure, samples: Samples) -> str:
    spread = samples.spread(figure.name)
    return "–" if spread is None else str(spread)


def _figure(figure: Figure, samples: Samples) -> dict[str, object]:
    spread = samples.spread(figure.name)
    measured = (
        {}
        if spread is None
        else {"median": spread.median, "min": spread.low, "max": spread.high, "values": list(spread.values)}
    )
    return {
        "says": figure.says,
        "unit": figure.unit,
        "wanted": figure.wanted or None,
        "verdict": verdict(figure, spread) or None,
        **measured,
    }
