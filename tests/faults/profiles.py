"""The profiles: how many jobs and processes, and how often each fault strikes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Profile:
    """What one run of the harness does; all times in seconds."""

    jobs: int
    """Inserted in all, the rolled-back ones included."""
    rate: float
    """Jobs a second that the inserters aim at together; the faults fall into that time."""
    faults: Mapping[str, int] = field(default_factory=dict[str, int])
    """How often each fault of `nemesis` strikes."""
    pause: tuple[float, float] = (0.2, 1.0)
    """Between two faults."""
    largest: int = 20
    """The most jobs that one `insert_many` brings."""
    workers: int = 3
    inserters: int = 2
    slots: int = 20
    """Jobs at once in one worker process."""
    lease_ttl: float = 1.5
    heartbeat_interval: float = 0.3
    poll_interval: float = 0.5
    stop_timeout: float = 1.0
    length: float = 0.1
    """What a job takes on average."""
    stalling: float = 0.03
    """The share of the stalling kind's jobs that outlast a lease."""
    blocking: float = 0.01
    """The share of the stalling kind's jobs that block the event loop for longer than a lease."""
    drain: float = 30.0
    """How long, after the last fault, what is left may take to end."""
    rerun: float = 15.0
    """How long after a kill the jobs of the dead may take to run again (p99)."""


PROFILES: Final[Mapping[str, Profile]] = {
    "ci": Profile(
        jobs=2_600,
        rate=110,
        faults={
            "kill": 4,
            "freeze": 4,
            "term": 3,
            "terminate": 4,
            "crash": 1,
            "restart": 2,
            "cut": 3,
            "cut_commit": 6,
            "hush": 1,
            "kill_inserter": 2,
        },
    ),
    "nightly": Profile(
        jobs=100_000,
        rate=130,
        faults={
            "kill": 120,
            "freeze": 100,
            "term": 60,
            "terminate": 60,
            "crash": 20,
            "restart": 20,
            "cut": 60,
            "cut_commit": 200,
            "hush": 20,
            "kill_inserter": 20,
        },
        pause=(0.5, 2.0),
        workers=4,
        drain=120,
    ),
    # Kills alone, as often as in the release profile, whose freezes take hours.
    "kills": Profile(
        jobs=500_000,
        rate=1_500,
        faults={"kill": 200},
        pause=(0.5, 3.0),
        largest=500,
        workers=4,
        inserters=4,
        slots=50,
        lease_ttl=10,
        heartbeat_interval=3,
        poll_interval=1,
        stop_timeout=5,
        length=0.02,
        stalling=0.001,
        blocking=0,
        drain=900,
    ),
    "release": Profile(
        jobs=1_000_000,
        rate=1_500,
        faults={
            "kill": 200,
            "freeze": 1_000,
            "term": 500,
            "terminate": 200,
            "crash": 200,
            "restart": 20,
            "cut": 200,
            "cut_commit": 500,
            "hush": 100,
            "kill_inserter": 50,
        },
        pause=(0.5, 3.0),
        largest=500,
        workers=4,
        inserters=4,
        slots=50,
        lease_ttl=10,
        heartbeat_interval=3,
        poll_interval=1,
        stop_timeout=5,
        drain=1_800,
    ),
}
