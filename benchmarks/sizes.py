"""How much each benchmark does: in full, in short, and as little as a test needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Form = Literal["full", "short", "tiny"]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The sizes of one form; the full form's are the ones that the figures are wanted for."""

    form: Form
    repeat: int
    """How often everything is measured."""
    drain: int
    """Jobs of `ceiling`, `drain` and `processes`."""
    dynamic: int
    """Jobs of each case of `dynamic`, `limits`, `rates`."""
    fairness: int
    """Jobs of the flood of `fairness`."""
    lone_inserts: int
    """Inserts of one caller, of each side."""
    shared_inserts: int
    """Inserts of 50 and of 500 callers."""
    bulk: int
    """Rows of `insert_many` and of COPY."""
    tx_inserts: int
    """Inserts in callers' transactions, of each side."""
    sustained_seconds: float
    picks: int
    """Inserts into an idle queue whose pick-up is timed."""
    lost: int
    """Inserts that nobody is told of."""
    poll_interval: float
    """Of the client whose notifications are lost, in seconds."""
    snapshot: int
    finalized: int
    scheduled: int
    claims: int
    """Jobs claimed from the tables with a history and from those without."""
    single: int
    delayed: int
    delayed_seconds: float
    idle_seconds: float
    peers_seconds: float
    """That each workload of `peers` takes a system, about."""
    peers_bulk: int
    """Jobs of a bulk insert of `peers`."""
    peers_picks: int


FULL: Final = Sizes(
    form="full",
    repeat=5,
    drain=100_000,
    dynamic=50_000,
    fairness=100_000,
    lone_inserts=5_000,
    shared_inserts=100_000,
    bulk=200_000,
    tx_inserts=40_000,
    sustained_seconds=20.0,
    picks=300,
    lost=20,
    poll_interval=1.0,
    snapshot=400_000,
    finalized=10_000_000,
    scheduled=1_000_000,
    claims=20_000,
    single=20_000,
    delayed=5_000,
    delayed_seconds=10.0,
    idle_seconds=20.0,
    peers_seconds=5.0,
    peers_bulk=20_000,
    peers_picks=300,
)

SHORT: Final = Sizes(
    form="short",
    repeat=3,
    drain=100_000,
    dynamic=20_000,
    fairness=100_000,
    lone_inserts=2_000,
    shared_inserts=50_000,
    bulk=100_000,
    tx_inserts=20_000,
    sustained_seconds=8.0,
    picks=300,
    lost=5,
    poll_interval=1.0,
    snapshot=100_000,
    finalized=500_000,
    scheduled=50_000,
    claims=10_000,
    single=5_000,
    delayed=5_000,
    delayed_seconds=10.0,
    idle_seconds=20.0,
    peers_seconds=1.0,
    peers_bulk=10_000,
    peers_picks=100,
)

TINY: Final = Sizes(
    form="tiny",
    repeat=1,
    drain=400,
    dynamic=200,
    fairness=400,
    lone_inserts=40,
    shared_inserts=500,
    bulk=500,
    tx_inserts=80,
    sustained_seconds=0.5,
    picks=10,
    lost=2,
    poll_interval=0.2,
    snapshot=400,
    finalized=1_000,
    scheduled=200,
    claims=200,
    single=100,
    delayed=50,
    delayed_seconds=0.5,
    idle_seconds=1.0,
    peers_seconds=0.1,
    peers_bulk=200,
    peers_picks=5,
)
