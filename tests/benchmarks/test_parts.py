"""The parts that measure, judge and draw are right."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.connection import FOLDER, connect
from benchmarks.figures import Figure, Samples, Spread, number, percentile, verdict
from benchmarks.measure import Meter, children_of, find_postmaster, process_cpu, resident_bytes
from benchmarks.plots import can_draw, draw
from benchmarks.process import ROOT
from benchmarks.report import Answer
from benchmarks.sizes import TINY
from benchmarks.tally import EVERY, MARK, RECORD, SharedTally, Tally, gathered

FASTER = Figure("rate", "so fast", "jobs/s", at_least=100)
SMALLER = Figure("late", "so late", "ms", at_most=10)


@pytest.mark.parametrize(
    ("figure", "values", "said"),
    [
        (FASTER, [90, 100, 300], "met"),
        (FASTER, [90, 75, 300], "missed by 10 (10%)"),
        (FASTER, [], "not measured"),
        (SMALLER, [10], "met"),
        (SMALLER, [15], "missed by 5 (50%)"),
        (Figure("early", "none early", "jobs", at_most=0), [2], "missed by 2"),
        (Figure("also", "not wanted", "jobs"), [2], ""),
    ],
)
def test_a_figure_is_judged_by_its_median(figure: Figure, values: list[float], said: str) -> None:
    """It is met, or missed by so much and such a part of what was wanted."""
    assert verdict(figure, Spread(values) if values else None) == said


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (0.51234, "0.512"), (12, "12"), (65_432.1, "65,432")])
def test_numbers_have_three_digits(value: float, text: str) -> None:
    """Digits that mean nothing are not printed."""
    assert number(value) == text


def test_percentiles_are_values_that_were_seen() -> None:
    """The 99th of a hundred is the second largest, the 100th the largest."""
    values = [float(n) for n in range(100, 0, -1)]

    assert [percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50, 99, 100]
    assert percentile([7.0], 0.5) == 7


async def test_the_servers_cpu_is_seen(database_url: str) -> None:
    """What a session burns is found in the server's CPU, while the session lives and after it has ended."""
    connection, meter = await connect(database_url), await connect(database_url)
    postmaster = await find_postmaster(meter)
    if postmaster is None:
        pytest.skip("the server runs elsewhere")
    backend = await connection.fetchval("select pg_backend_pid()")
    assert backend in children_of(postmaster)

    async with Meter(meter, postmaster).cost() as cost:
        await connection.execute("select count(*) from generate_series(1, 2000000)")
        used = process_cpu(backend)
        await connection.close()
    await meter.close()

    assert cost.server_cpu is not None
    assert used > 0
    assert cost.server_cpu >= used - 0.05  # two ticks and what the session had used to open
    assert cost.client_cpu < cost.seconds + 0.05


def test_a_process_that_is_gone_used_nothing() -> None:
    """Processes may end between two looks."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    assert process_cpu(ended.pid) == 0
    assert resident_bytes(os.getpid()) > 1e6


def test_a_tally_looks_at_the_clock_at_every_tenth() -> None:
    """It is done at the last job, which it names, and gives a rate for each tenth."""
    tally = Tally(40)
    for job in range(1, 40):
        tally.hit(job)
    assert not tally.done.is_set()
    tally.hit(40)

    assert tally.done.is_set()
    assert (40, 40, 10) == (tally.count, tally.last_job, len(tally.tenths()))


def test_processes_are_rated_while_all_of_them_work(tmp_path: Path) -> None:
    """What one of several processes worked alone, before the others came or after they left, does not count."""

    def leave(name: str, start: float, rate: int, jobs: int) -> None:
        marks = b"".join(MARK.pack(start + n / rate) for n in range(EVERY, jobs + 1, EVERY))
        (tmp_path / name).write_bytes(RECORD.pack(jobs, start, start + jobs / rate) + marks + bytes(80))

    leave("1.tally", 100.0, 1_000, 4_000)
    leave("2.tally", 102.0, 500, 2_000)
    together = gathered(tmp_path)

    assert (6_000, 2_000 / 6_000) == (together.jobs, together.smaller_share)
    assert together.rate == pytest.approx(1_500, rel=0.1)


def test_a_process_leaves_its_tally(tmp_path: Path) -> None:
    """Its jobs can be read while it lives, and one process alone is rated from its first job to its last."""
    tally = SharedTally(str(tmp_path))
    for _ in range(EVERY + 1):
        tally.hit()
    (worked,) = gathered(tmp_path).each

    assert (EVERY + 1, 1) == (worked.jobs, len(worked.marks))
    assert worked.first <= worked.marks[0] <= worked.last


@pytest.mark.skipif(not can_draw(), reason="matplotlib comes with the group `bench`")
def test_the_same_figures_give_the_same_picture(tmp_path: Path) -> None:
    """A picture changes only when its figures do."""
    samples = Samples({"rate": [1.0, 2.0]}, {"repeat 1": [1.0, 2.0]})
    answers = [Answer(name, "how fast", TINY, 2, [FASTER], samples, 1.0) for name in ("single", "snapshot")]
    drawn = [draw(answers, {"single": ["rate"], "snapshot": []}, tmp_path / folder) for folder in ("a", "b")]

    assert [set(each) for each in drawn] == [{"single", "snapshot"}] * 2
    for name in ("single", "snapshot"):
        assert drawn[0][name].read_bytes() == drawn[1][name].read_bytes()


def test_every_file_says_what_it_is() -> None:
    """Python files begin with a docstring, statements with a comment, and each statement is read by somebody."""
    python = sorted((ROOT / "benchmarks").glob("*.py"))
    sources = "".join(file.read_text(encoding="utf-8") for file in python)
    statements = sorted(FOLDER.glob("*.sql"))

    assert [file.name for file in python if not file.read_text(encoding="utf-8").startswith('"""')] == []
    assert [file.name for file in statements if not file.read_text(encoding="utf-8").startswith("-- ")] == []
    assert [file.stem for file in statements if f'"{file.stem}"' not in sources] == []
    pinned = (ROOT / "requirements" / "bench.txt").read_text(encoding="utf-8")
    assert [line for line in pinned.splitlines() if "://" in line or "--index" in line] == []
