"""What can be run by name: profiles, campaigns that look at one thing alone, and `release`, which is most of them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from tests.faults.clocks import campaign as clocks
from tests.faults.figures import Row
from tests.faults.loops import blocking, listening
from tests.faults.memory import campaign as memory
from tests.faults.profiles import PROFILES
from tests.faults.report import Figures, Report
from tests.faults.run import run

CAMPAIGNS: Final[Mapping[str, Callable[[int], Awaitable[list[Row]]]]] = {
    "listening": listening.run,
    "blocking": blocking.run,
    "memory": memory.run,
    "clocks": clocks.run,
}
"""What has a workload of its own."""

RELEASE: Final = ("kills", "freezes", "stops", "server", "outage", "commits", "limits", *CAMPAIGNS)
"""About an hour on 2 cores."""

NAMES: Final = (*PROFILES, *CAMPAIGNS, "release")


def parts(name: str) -> tuple[str, ...]:
    """Give what a name stands for."""
    return RELEASE if name == "release" else (name,)


async def run_part(name: str, seed: int) -> Report | Figures:
    """Run a profile or a campaign."""
    if name in PROFILES:
        return await run(name, PROFILES[name], seed)
    began = time.monotonic()
    rows = await CAMPAIGNS[name](seed)
    return Figures(name, seed, time.monotonic() - began, rows)
