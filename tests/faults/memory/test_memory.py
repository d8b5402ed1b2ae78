"""What the memory campaign says of this code in short, and of a worker process that leaks."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest

from tests.faults.figures import Row
from tests.faults.memory import campaign as memory
from tests.faults.memory.slope import theil_sen

SEED = 1
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")


def not_met(rows: Sequence[Row]) -> list[str]:
    """Give what the figures without a tick are about."""
    return [row.figure for row in rows if not row.met]


async def test_nothing_grows_with_the_jobs() -> None:
    """Failures, retries, snoozes, timeouts, threads and refused inserts leave nothing behind in either process."""
    rows = await memory.run(SEED, 32_000)
    assert not_met(rows) == []
    assert {"tasks", "threads", "file descriptors", "connections"} <= {_subject(row) for row in rows}


@pytest.mark.proof
@pytest.mark.parametrize("leak", ["kept_jobs", "kept_runs"])
async def test_a_leak_is_found_by_its_slope(leak: str) -> None:
    """A worker that keeps every job, or a library that keeps every finished run: bytes and blocks rise."""
    found = not_met(await memory.run(SEED, 16_000, leak=leak))
    assert any("bytes a job" in figure for figure in found), found
    assert any("blocks a job" in figure for figure in found), found
    assert all(figure.startswith("worker") for figure in found), found


@pytest.mark.proof
async def test_connections_that_are_kept_are_found() -> None:
    """One connection and its task for every 500 jobs: too little for the slope, and never flat."""
    found = not_met(await memory.run(SEED, 16_000, leak="kept_connections"))
    for what in ("tasks", "file descriptors", "connections"):
        assert any(f"worker: {what}" in figure for figure in found), found


def test_a_slope_is_not_moved_by_a_third_of_wild_points() -> None:
    """Half a unit a step, with every third point anywhere: the line is found, and its interval holds it."""
    points = [(float(x), x / 2 if x % 3 else 1_000.0 * (x % 7)) for x in range(60)]
    slope = theil_sen(points)
    assert slope.low <= 0.5 <= slope.high
    assert slope.middle == pytest.approx(0.5, abs=0.1)


def test_a_flat_line_has_zero_in_its_interval() -> None:
    """Up and down by one is no slope."""
    slope = theil_sen([(float(x), float((x * 7919) % 3)) for x in range(50)])
    assert slope.low <= 0 <= slope.high


def _subject(row: Row) -> str:
    return row.figure.split(": ", 1)[-1].rsplit(" ", 3)[0]
