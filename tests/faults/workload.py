"""What an inserter inserts: a list of operations that follows from the seed, and from nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from random import Random

from tests.faults.kinds import KINDS, Marked
from tests.faults.profiles import Profile
from workerqueue import InsertOpts


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of the client: what is inserted, and how."""

    number: int
    how: str
    """`insert`, `insert_many`, `insert_tx`, or `rollback`: an `insert_tx` whose transaction is rolled back."""
    jobs: list[tuple[Marked, InsertOpts]]

    @property
    def tokens(self) -> list[str]:
        """What tells these jobs from all others."""
        return [args.token for args, _ in self.jobs]


def operations(seed: int, inserter: int, profile: Profile) -> Iterator[Operation]:
    """Give one inserter's operations, in order."""
    random = Random(f"{seed}/{inserter}")  # noqa: S311 - repeatable, not a secret
    left, number = profile.jobs // profile.inserters, 0
    while left > 0:
        how = random.choices(["insert", "insert_many", "insert_tx", "rollback"], [6, 2, 3, 1])[0]
        count = min(left, random.randint(2, profile.largest) if how == "insert_many" else 1)
        jobs = [_job(random, f"{inserter}-{number}-{place}") for place in range(count)]
        yield Operation(number, how, jobs)
        left -= count
        number += 1


def _job(random: Random, token: str) -> tuple[Marked, InsertOpts]:
    kind = random.choices(KINDS, [5, 1, 2, 2, 2])[0]
    later = timedelta(seconds=random.uniform(0.1, 2.0)) if random.random() < 0.1 else None
    return kind(token=token), InsertOpts(scheduled_at=later, priority=random.choice([1, 1, 1, 5]))
