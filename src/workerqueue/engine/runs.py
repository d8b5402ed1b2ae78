"""One job while it is worked, and why it may be cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial

from workerqueue.args import JobArgs
from workerqueue.database import Claimed
from workerqueue.engine.deadlines import NEVER, Deadlines
from workerqueue.engine.saving import Saving
from workerqueue.job import Job
from workerqueue.worker import Registration

SaveState = Callable[[Claimed, str | None, str | None], Awaitable[None]]
"""Saves progress and checkpoint of a run."""


class Interruption(Enum):
    """Why the engine cut a run off."""

    TIMEOUT = "timeout"
    STOP = "stop"
    ASKED = "asked"
    """Somebody asked the run to stop."""
    LOST = "lost"
    """The client was declared dead: what comes of the run is no longer taken."""


@dataclass(frozen=True, slots=True)
class Keeper:
    """What all runs of a client have in common."""

    watch: Deadlines
    patience: float
    """Seconds that a run has to end once it is cut off; after that it is stuck."""
    on_stuck: Callable[[Run], None]
    save_state: SaveState


@dataclass(slots=True, eq=False)
class Run:
    """One job while it is worked."""

    stored: Claimed
    job: Job[JobArgs]
    registration: Registration
    task: asyncio.Task[object]
    timeout: float
    """Seconds."""
    keeper: Keeper
    deadline: float = NEVER
    is_late_for_good: bool = False
    """Whether its deadline is the job's own, behind which nobody wants it any more."""
    interruption: Interruption | None = None
    cancellations: int = 0
    in_tx: bool = False
    """Whether its worker has completed it in a transaction of its own."""
    is_abandoned: bool = False
    """Whether it was ended without its worker: what that still makes of it counts for nothing."""
    saving: Saving | None = None

    def expire(self) -> None:
        """Cut it off at its deadline; if it has been already, it is stuck."""
        if self.interruption is None:
            self.interrupt(Interruption.TIMEOUT)
        else:
            self.keeper.on_stuck(self)

    def interrupt(self, why: Interruption) -> None:
        """Cancel the worker; the first reason counts."""
        self.interruption = self.interruption or why
        self.cancellations += 1
        self.task.cancel()
        self.limit(self.keeper.patience)

    def limit(self, seconds: float) -> None:
        """Have it end in so many seconds."""
        self.deadline = self.task.get_loop().time() + seconds
        self.keeper.watch.note(self.deadline)

    def save(self, *, progress: str | None = None, checkpoint: str | None = None) -> Awaitable[None]:
        """Save what its worker says of it."""
        if self.saving is None:
            self.saving = Saving(partial(self.keeper.save_state, self.stored), self.task.get_loop())
        return self.saving.save(progress=progress, checkpoint=checkpoint)
