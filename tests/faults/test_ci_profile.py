"""What the fault harness says of this code, and of this code with bugs seeded into it."""

from __future__ import annotations

import pytest

from tests.faults.mutants import MUTANTS
from tests.faults.profiles import PROFILES
from tests.faults.run import run

SEED = 1


@pytest.mark.timeout(240)
async def test_every_invariant_holds_whatever_breaks() -> None:
    """Kills, freezes, stops, lost connections and crashes of the server: nothing is lost, nothing stale is accepted."""
    report = await run("ci", PROFILES["ci"], SEED)
    assert report.holds, report.table()
    assert len(report.plan) == sum(PROFILES["ci"].faults.values())


@pytest.mark.proof
@pytest.mark.parametrize("name", ["complete_first"])
async def test_the_checker_finds_a_seeded_bug(name: str) -> None:
    """A checker that finds nothing proves nothing: with this bug in the code it must."""
    report = await run(name, MUTANTS[name].profile, SEED, name)
    assert not report.holds, report.table()
