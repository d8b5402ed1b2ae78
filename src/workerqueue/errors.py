"""Every error this library raises: one tree, drawn here (a test holds the drawing).

WorkerQueueError
├── ConfigError
│   ├── DuplicateKindError
│   └── WorkerError
├── InsertError
│   ├── ArgsError
│   ├── OptionError
│   ├── UnknownQueueError (also where a queue is named elsewhere)
│   ├── UnknownKindError
│   └── NotInTransactionError
├── ContextError
├── JobNotFoundError
├── LockHeldError
├── LockLostError
├── StaleRunError
├── UnknownScheduleError
├── JobWaitTimeout (also a TimeoutError)
└── DatabaseError
    ├── DatabaseUnavailableError
    ├── SchemaError
    └── MigrationError

What a worker raises to say how its job ends (`JobCancel` and its kin) is not an error: see `outcome`.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

BRIEF: Final = 300
"""Characters of a value, or of the path to it, that a message repeats at most."""


class WorkerQueueError(Exception):
    """Anything this library refuses or fails at."""


class ConfigError(WorkerQueueError):
    """A configuration, a client or a set of workers that can't be right."""


class DuplicateKindError(ConfigError):
    """Two classes, or two workers, claim the same kind."""


class WorkerError(ConfigError):
    """A function or class that can't be registered as a worker."""


class InsertError(WorkerQueueError):
    """A job was refused before anything was stored."""


class ArgsError(InsertError):
    """Args, metadata or tags that do not validate or that PostgreSQL can't hold.

    Attributes:
        path: Where the offending value is, such as `args.job.events[3].name`.
    """

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(path, problem)  # both, so that the error can be copied to another process

    def __str__(self) -> str:
        path = self.path if len(self.path) <= BRIEF else f"{self.path[:BRIEF]}…"
        return f"{path}: {self.problem}"


class OptionError(InsertError):
    """An insert option with a value it can't have."""


class UnknownQueueError(InsertError):
    """A queue that the configuration does not name."""


class UnknownKindError(InsertError):
    """A kind given by name that has no worker, no row in the task table and no declared class here."""


class NotInTransactionError(InsertError):
    """`insert_tx` was given a connection on which no transaction is open."""


class ContextError(WorkerQueueError):
    """A context that can't be right, or of another tenant than the one it would be set within."""


class JobNotFoundError(WorkerQueueError):
    """There is no job with this id."""


class LockHeldError(WorkerQueueError):
    """A lock or a place of a semaphore is held by others."""


class LockLostError(WorkerQueueError):
    """A lock could not be renewed in time: what was done under it may have met somebody else's work."""


class StaleRunError(WorkerQueueError):
    """A run that is not its job's current one any more wanted to write: what it did must be rolled back."""


class UnknownScheduleError(WorkerQueueError):
    """There is no schedule of that name."""


class JobWaitTimeout(WorkerQueueError, TimeoutError):  # noqa: N818 - the contract's name
    """A job was not finalized in the time given."""


class DatabaseError(WorkerQueueError):
    """PostgreSQL refused a statement; the message never repeats a value."""


class DatabaseUnavailableError(DatabaseError):
    """PostgreSQL did not answer before the deadline, or the connection was lost."""


class SchemaError(DatabaseError):
    """The schema is not there, or not at the version this library needs."""


class MigrationError(DatabaseError):
    """A migration that can't be applied or taken back."""


def brief(value: object) -> str:
    """Show a value in a message, whatever its size."""
    shown = repr(value[: BRIEF + 1] if isinstance(value, str) else value)
    return shown if len(shown) <= BRIEF else f"{shown[:BRIEF]}…"


def near_matches(name: str, known: Iterable[str]) -> str:
    """Name what was probably meant, as the end of an error message."""
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(repr(match) for match in close)}?"
    return f"known are {', '.join(repr(each) for each in names)}" if names else "none is known"
