"""A picture per question, as SVG; the same figures give the same file."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Protocol, cast

from benchmarks.figures import number
from benchmarks.report import Answer

CURVES: Final = {
    "snapshot": ("tenth of the jobs", "jobs/s"),
    "delayed": ("share of the jobs, %", "ms after due"),
}
"""Benchmarks that are shown as curves, with the names of their axes."""

COLOUR: Final = "#3b6ea5"
# Ids in the SVG are hashes: salted, they are the same in every run. Text stays text.
LOOK: Final = {"svg.hashsalt": "workerqueue", "svg.fonttype": "none", "font.size": 9}


class _Axes(Protocol):
    """What is used here of matplotlib, which is not installed where the types are checked."""

    def barh(self, y: Sequence[str], width: Sequence[float], *, xerr: object, color: str) -> object: ...
    def text(self, x: float, y: float, s: str, *, va: str) -> object: ...
    def plot(self, x: Sequence[int], y: Sequence[float], *, label: str) -> object: ...
    def set_title(self, label: str, *, loc: str) -> object: ...
    def set_xlabel(self, label: str) -> object: ...
    def set_ylabel(self, label: str) -> object: ...
    def set_ylim(self, *, bottom: float) -> object: ...
    def margins(self, *, x: float) -> object: ...
    def invert_yaxis(self) -> object: ...
    def legend(self) -> object: ...


class _Figure(Protocol):
    def add_subplot(self) -> _Axes: ...
    def savefig(self, path: Path, *, metadata: object, bbox_inches: str) -> None: ...


class _Matplotlib(Protocol):
    @property
    def rcParams(self) -> dict[str, object]: ...  # noqa: N802 - matplotlib's name


class _FigureModule(Protocol):
    def Figure(self, *, figsize: tuple[float, float]) -> _Figure: ...  # noqa: N802 - matplotlib's name


def can_draw() -> bool:
    """Tell whether matplotlib is installed: it comes with the group `bench`."""
    return find_spec("matplotlib") is not None


def draw(answers: Sequence[Answer], bars: dict[str, Sequence[str]], folder: Path) -> dict[str, Path]:
    """Draw what can be drawn.

    Args:
        answers: What came of the benchmarks.
        bars: The figures that each shows as bars.
        folder: Where the pictures go.

    Returns:
        The pictures, by benchmark.
    """
    cast("_Matplotlib", import_module("matplotlib")).rcParams.update(LOOK)
    folder.mkdir(parents=True, exist_ok=True)
    pictures: dict[str, Path] = {}
    for answer in answers:
        path = folder / f"{answer.name}.svg"
        if answer.name in CURVES and answer.samples.curves:
            _draw_curves(answer, path)
        elif any(answer.samples.spread(name) for name in bars[answer.name]):
            _draw_bars(answer, bars[answer.name], path)
        else:
            continue
        pictures[answer.name] = path
    return pictures


def _draw_bars(answer: Answer, names: Sequence[str], path: Path) -> None:
    """Draw medians as bars, from the smallest to the largest value as whiskers."""
    figures = [
        (each, spread) for each in answer.figures if each.name in names if (spread := answer.samples.spread(each.name))
    ]
    labels = [f"{figure.says} ({figure.unit})" for figure, _ in figures]
    medians = [spread.median for _, spread in figures]
    whiskers = [
        [spread.median - spread.low for _, spread in figures],
        [spread.high - spread.median for _, spread in figures],
    ]
    drawing, axes = _new(1.2 + 0.4 * len(figures))
    axes.barh(labels, medians, xerr=whiskers, color=COLOUR)
    for place, (_, spread) in enumerate(figures):
        axes.text(spread.high, place, f"  {number(spread.median)}", va="center")
    axes.invert_yaxis()
    axes.margins(x=0.15)
    _save(drawing, axes, answer, path)


def _draw_curves(answer: Answer, path: Path) -> None:
    """Draw each repeat as a line."""
    drawing, axes = _new(3.2)
    for label, values in answer.samples.curves.items():
        axes.plot(range(1, len(values) + 1), values, label=label)
    along, up = CURVES[answer.name]
    axes.set_xlabel(along)
    axes.set_ylabel(up)
    axes.set_ylim(bottom=0)
    axes.legend()
    _save(drawing, axes, answer, path)


def _new(height: float) -> tuple[_Figure, _Axes]:
    # Not pyplot, which keeps every figure and looks for a screen.
    drawing = cast("_FigureModule", import_module("matplotlib.figure")).Figure(figsize=(7.0, height))
    return drawing, drawing.add_subplot()


def _save(drawing: _Figure, axes: _Axes, answer: Answer, path: Path) -> None:
    axes.set_title(answer.title, loc="left")
    drawing.savefig(path, metadata={"Date": None}, bbox_inches="tight")
