"""What a process of the harness is told when it is started; where the database is comes by its environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tests.faults.profiles import Profile

URL = "WORKERQUEUE_DATABASE_URL"


class Spec(BaseModel):
    """One worker or inserter process."""

    model_config = ConfigDict(frozen=True)

    name: str
    seed: int
    number: int
    """Which inserter it is; its workload follows from it and the seed."""
    profile: Profile
    journal: Path
    """Where it notes what it did."""
    external: Path
    """The file that stands for a system outside of the database."""
    mutant: str | None = None
