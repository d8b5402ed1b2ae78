"""What the campaign against listening finds in this code, and in this code with bugs seeded into it."""

from __future__ import annotations

import pytest

from tests.faults.loops.listening import run

SEED = 1
CHECK_INTERVAL = 0.5
CHECK_TIMEOUT = 1.0
"""A sixth of what both take together in production."""


async def test_a_listener_that_is_lost_without_a_word_comes_back() -> None:
    """Jobs are found meanwhile, each runs once, and hints wake the process again; times are only printed."""
    rows = await run(SEED, times=3, processes=3, check_interval=CHECK_INTERVAL, check_timeout=CHECK_TIMEOUT)
    print(*rows, sep="\n")
    assert all(row.met for row in rows if row.limit == "0"), rows
    assert {row.times for row in rows} == {3}


@pytest.mark.proof
@pytest.mark.parametrize(
    ("bug", "found"), [("checks_nothing", "listening again"), ("hears_nothing", "not woken")], ids=str
)
async def test_the_campaign_finds_a_listener_that_is_deaf(bug: str, found: str) -> None:
    """One that believes its connection for ever, and one that is told and tells nobody."""
    rows = await run(
        SEED,
        times=1,
        processes=1,
        check_interval=CHECK_INTERVAL,
        check_timeout=CHECK_TIMEOUT,
        patience=4 * (CHECK_INTERVAL + CHECK_TIMEOUT),
        bug=bug,
    )
    assert any(found in row.figure and not row.met for row in rows), rows
    assert all(row.met for row in rows if "exactly once" in row.figure), rows
