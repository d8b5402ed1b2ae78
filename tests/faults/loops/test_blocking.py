"""What the campaign of blocked event loops finds in this code, and in this code with a bug seeded into it."""

from __future__ import annotations

import pytest

from tests.faults.loops.blocking import run

SEED = 1
LEASE = 3.0


async def test_a_blocked_loop_is_no_death_to_anybody() -> None:
    """Blocked for three leases: nobody is declared dead, nothing is rescued, and the log names the worker."""
    rows = await run(SEED, 3 * LEASE, processes=3, blocked=2, lease_ttl=LEASE, heartbeat_interval=LEASE / 10)
    print(*rows, sep="\n")
    assert all(row.met for row in rows if row.limit == "0"), rows
    assert {row.times for row in rows} == {2}


@pytest.mark.proof
async def test_the_campaign_finds_a_heartbeat_in_the_loop_of_the_workers() -> None:
    """Which a worker can stop: others take its client for dead, its jobs run again, and nobody is left to say why."""
    lease = LEASE / 3
    rows = await run(
        SEED,
        3 * lease,
        processes=2,
        blocked=1,
        lease_ttl=lease,
        heartbeat_interval=lease / 10,
        bug="beat_in_the_loop",
    )
    broken = [row.figure for row in rows if not row.met]
    assert any("declared dead" in figure for figure in broken), rows
    assert any("exactly once" in figure for figure in broken), rows
    assert any("does not name" in figure for figure in broken), rows
