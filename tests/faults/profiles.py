"""The profiles: how many jobs and processes, and how often each fault strikes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypedDict


class _Lease(TypedDict):
    lease_ttl: float
    heartbeat_interval: float
    stalling: float
    blocking: float


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
    outage: float = 600.0
    """How long an outage of the server lasts."""
    ruled: bool = False
    """Whether queue, kinds and parts of kinds have limits; then strict order holds in dynamic queues as well."""


PATIENT: Final[_Lease] = {"lease_ttl": 10, "heartbeat_interval": 3, "stalling": 0.001, "blocking": 0}
"""The client's defaults; what outlasts such a lease occupies a slot for long, so there is less of it."""

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
            "restart": 1,
            "kill_server": 1,
            "cut": 3,
            "cut_commit": 6,
            "cut_answer": 6,
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
            "restart": 10,
            "kill_server": 10,
            "cut": 60,
            "cut_commit": 200,
            "cut_answer": 200,
            "hush": 20,
            "kill_inserter": 20,
        },
        pause=(0.5, 2.0),
        workers=4,
        drain=120,
    ),
    # The parts of `release`, each with one sort of fault, so that each can be run by itself; `parts` has the others.
    "kills": Profile(
        jobs=1_000_000,
        rate=1_000,  # each leaves a row of its own, and 200 starts of Python take their share of two cores
        faults={"kill": 200},
        pause=(0.5, 3.0),
        largest=500,
        workers=4,
        inserters=4,
        slots=50,
        poll_interval=1,
        stop_timeout=5,
        length=0.02,
        drain=900,
        **PATIENT,
    ),
    # With a lease of 10 s a thousand freezes would take hours; those who are awake must judge meanwhile.
    "freezes": Profile(
        jobs=100_000,
        rate=200,
        faults={"freeze": 1_000},
        pause=(0.3, 0.7),
        workers=8,
        slots=10,
        lease_ttl=2,
        heartbeat_interval=0.4,
        drain=120,
    ),
    "stops": Profile(jobs=60_000, rate=200, faults={"term": 500}, pause=(0.2, 0.8), workers=6, **PATIENT),
    "server": Profile(
        jobs=120_000,
        rate=200,
        faults={"terminate": 200, "crash": 200, "kill_server": 20},
        pause=(0.5, 1.5),
        workers=4,
        drain=120,
        **PATIENT,
    ),
    "outage": Profile(
        jobs=12_000,
        rate=100,
        faults={"outage": 1},
        pause=(10, 20),
        workers=4,
        drain=120,
        **PATIENT,
    ),
    "limits": Profile(
        jobs=100_000,
        rate=220,
        faults={"kill": 150, "freeze": 20, "terminate": 60, "cut": 40},
        pause=(0.5, 2.5),
        workers=8,
        slots=10,
        lease_ttl=2,
        heartbeat_interval=0.4,
        length=0.05,
        drain=600,
        ruled=True,
    ),
    "commits": Profile(
        jobs=100_000,
        rate=300,
        faults={"cut_commit": 1_000, "cut_answer": 1_000},
        pause=(0.05, 0.2),
        workers=4,
        inserters=4,
        drain=120,
        **PATIENT,
    ),
}
