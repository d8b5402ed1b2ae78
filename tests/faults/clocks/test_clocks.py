"""What the clock campaign says of this code, and of this code where a process's own clock decides."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence

import pytest

from tests.faults.clocks import campaign as clocks
from tests.faults.clocks.skewed import Clock
from tests.faults.figures import Row

SEED = 1
"""With it the client whose clock is ahead leads."""
HOUR = 3600.0
READINGS = """
import sys
from tests.faults.clocks.skewed import Clock, install
install(Clock(ahead=float(sys.argv[1])))

import asyncpg, calendar, json, logging, time, workerqueue
from datetime import UTC, date, datetime

made = datetime.fromtimestamp(0, UTC)
assert isinstance(made, datetime) and isinstance(made + (made - made), datetime)
print(json.dumps({
    "time": time.time(),
    "time_ns": time.time_ns() / 1e9,
    "clock_gettime": time.clock_gettime(time.CLOCK_REALTIME),
    "gmtime": calendar.timegm(time.gmtime()),
    "localtime": time.mktime(time.localtime()),
    "now": datetime.now().timestamp(),
    "now in UTC": datetime.now(UTC).timestamp(),
    "utcnow": datetime.utcnow().replace(tzinfo=UTC).timestamp(),
    "today": datetime.today().timestamp(),
    "log": logging.LogRecord("", 0, "", 0, "", None, None).created,
    "day": time.mktime(date.today().timetuple()) + (time.time() - time.mktime(date.today().timetuple())),
    "monotonic": time.monotonic(),
}))
"""


def not_met(rows: Sequence[Row]) -> list[str]:
    """Give the figures without a tick."""
    return [row.figure for row in rows if not row.met]


async def test_wrong_clocks_make_nothing_early_late_or_dead() -> None:
    """Clocks 90 minutes behind and ahead, fast, and jumping by 30 minutes: only the database's counts."""
    rows = await clocks.run(SEED, 40)
    # How late a start is hangs on the machine; one that is left when everything else has ended hangs on a clock.
    assert [figure for figure in not_met(rows) if "from due to started" not in figure] == []
    assert all(row.times for row in rows)


@pytest.mark.proof
@pytest.mark.parametrize(
    ("mutant", "found_by"),
    [
        ("due_by_process", "starts before their time"),
        ("dead_by_process", "declared dead"),
        ("delay_by_process", "due when nobody asked for"),
    ],
)
async def test_a_process_that_goes_by_its_own_clock_is_found(mutant: str, found_by: str) -> None:
    """What is due, who is dead, when a delay ends: whichever a process decides by its own clock, a figure shows it."""
    found = not_met(await clocks.run(SEED, 15, mutant=mutant))
    assert any(found_by in figure for figure in found), found


@pytest.mark.parametrize("ahead", [-1.5 * HOUR, 1.5 * HOUR, 400 * 24 * HOUR])
def test_everything_that_tells_the_time_is_wrong(ahead: float) -> None:
    """By the same amount, in a library that is imported later as well; intervals are what they were."""
    true, monotonic = time.time(), time.monotonic()
    command = [sys.executable, "-W", "ignore", "-c", READINGS, str(ahead)]
    readings = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout)
    took = time.monotonic() - monotonic
    assert 0 <= readings.pop("monotonic") - monotonic <= took
    wrong = {name: value - true for name, value in readings.items() if not -2 <= value - true - ahead <= took + 2}
    assert wrong == {}


def test_a_clock_drifts_and_jumps_there_and_back() -> None:
    """Ahead, back, behind, and back again; a fast one gains with time."""
    jumping = Clock(jump=1800, every=2)
    assert [jumping.reading(1000, at) - 1000 for at in (0, 2, 4, 6, 8)] == [0, 1800, 0, -1800, 0]
    assert Clock(ahead=60, rate=1.01).reading(1000, 100) == pytest.approx(1061)


def test_a_clock_is_made_wrong_before_anything_could_keep_the_true_one() -> None:
    """A library that has been imported may hold on to what told the time then."""
    command = [sys.executable, "-c", "import workerqueue\nfrom tests.faults.clocks.skewed import *\ninstall(Clock())"]
    refused = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert refused.returncode != 0
    assert "may keep the true one" in refused.stderr
