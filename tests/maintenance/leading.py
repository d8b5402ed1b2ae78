"""Leaders for chores that a test calls for."""

from __future__ import annotations

from workerqueue.database import Database
from workerqueue.maintenance.leader import Leader


class Always(Leader):
    """Believes to lead, whatever anybody else believes."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, lambda: 1)
        self.believes = True

    @property
    def is_leading(self) -> bool:
        """Say so."""
        return self.believes
