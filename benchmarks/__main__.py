"""The command: `python -m benchmarks NAME [--json] [--short] [--url URL] [--repeat N]`."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from benchmarks.bench import opened
from benchmarks.catalog import BENCHMARKS
from benchmarks.figures import Samples
from benchmarks.loop import run
from benchmarks.machine import Machine, describe
from benchmarks.plots import can_draw, draw
from benchmarks.process import ROOT
from benchmarks.report import Answer, about, as_json, as_page, as_text
from benchmarks.server import started
from benchmarks.sizes import FULL, SHORT, TINY, Sizes


class Options(argparse.Namespace):
    """What the command line says."""

    name: str
    json: bool
    short: bool
    tiny: bool
    url: str | None
    repeat: int | None
    out: Path

    @property
    def sizes(self) -> Sizes:
        """The form that was asked for."""
        return TINY if self.tiny else SHORT if self.short else FULL


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for, and give the exit code: 1 if a benchmark failed."""
    options = _parsed(arguments)
    names = list(BENCHMARKS) if options.name == "all" else [options.name]
    with started(options.url) as server:
        machine, answers = run(_measured(server.url, names, options))
    if options.json:
        print(as_json(machine, answers))
    if options.name == "all":
        _write(machine, answers, options.out)
    return 1 if any(answer.error for answer in answers) else 0


async def measured(url: str, name: str, sizes: Sizes, repeat: int) -> Answer:
    """Run one benchmark; one that fails says so, and keeps nobody from the next."""
    benchmark = BENCHMARKS[name]
    samples = Samples()
    error: str | None = None
    gc.collect()  # what the last one left is not this one's to collect
    began = perf_counter()
    try:
        async with opened(url, sizes, repeat) as bench:
            await benchmark.measure(bench, samples)
    except Exception as raised:  # noqa: BLE001 - hours of the other benchmarks are not lost for it
        error = _first_of(raised)
    return Answer(name, benchmark.TITLE, sizes, repeat, benchmark.FIGURES, samples, perf_counter() - began, error)


async def _measured(url: str, names: Sequence[str], options: Options) -> tuple[Machine, list[Answer]]:
    async with opened(url, options.sizes, 1) as bench:
        machine = await describe(bench.sql)
    show = _show if not options.json else _hint
    show(about(machine))
    answers: list[Answer] = []
    for name in names:
        answers.append(await measured(url, name, options.sizes, options.repeat or options.sizes.repeat))
        show(f"\n{as_text(answers[-1])}")
    return machine, answers


def _show(text: str) -> None:
    print(text, flush=True)


def _hint(text: str) -> None:
    # JSON has standard output to itself; whoever waits still sees how far it is.
    print(text, file=sys.stderr, flush=True)


def _write(machine: Machine, answers: Sequence[Answer], out: Path) -> None:
    """Write the page and, where they can be drawn, the pictures."""
    pictures: dict[str, str] = {}
    page = out / "benchmarks" / "RESULTS.md"
    if can_draw():
        bars = {name: benchmark.PICTURE for name, benchmark in BENCHMARKS.items()}
        drawn = draw(answers, bars, out / "docs" / "benchmarks")
        pictures = {name: f"../docs/benchmarks/{path.name}" for name, path in drawn.items()}
    else:
        _hint("no pictures: matplotlib is not installed (`make bench` installs requirements/bench.txt)")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(as_page(machine, answers, pictures), encoding="utf-8")
    _hint(f"wrote {page}")


def _first_of(error: BaseException) -> str:
    """Say what went wrong; of a group, its first error."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - of anything
    return " ".join(f"{type(error).__name__}: {error}".split())  # pyright: ignore[reportUnknownArgumentType]


def _parsed(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Ask one question of workerqueue.")
    parser.add_argument("name", metavar="NAME", choices=[*BENCHMARKS, "all"], help=f"{', '.join(BENCHMARKS)} or all")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--short", action="store_true", help="fewer jobs and repeats")
    parser.add_argument("--url", help="measure this server, as it is; by default one is started")
    parser.add_argument("--repeat", type=_count, help="how often everything is measured")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)  # for the tests
    parser.add_argument("--out", type=Path, default=ROOT, help=argparse.SUPPRESS)
    return parser.parse_args(arguments, Options())


def _count(text: str) -> int:
    if (count := int(text)) < 1:
        raise ValueError(text)
    return count


if __name__ == "__main__":
    sys.exit(main())
