"""Workers for child processes, which import them from here."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from workerqueue import Job, JobArgs, JobCancel, JobSnooze, current_client, current_context
from workerqueue.errors import ConfigError

MEMORY_LIMIT = 256 * 1024 * 1024


class Crunch(JobArgs):
    way: str = "return"
    n: int = 0

    @classmethod
    def kind(cls) -> str:
        return "crunch"


class Small(Crunch):
    @classmethod
    def kind(cls) -> str:
        return "small"


class OddError(Exception):
    """Can be written, and not read again."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


class Unpicklable(Exception):  # noqa: N818 - a name to look for
    """Can't even be written."""

    def __init__(self) -> None:
        super().__init__("holds a lambda")
        self.held = lambda: None


def crunch(job: Job[Crunch]) -> object:
    """Do in a child process what the args say."""
    return WAYS[job.args.way](job)


def _whoami(job: Job[Crunch]) -> object:
    return {"pid": os.getpid(), "n": job.args.n, "context": current_context().said}


def _loop(_: Job[Crunch]) -> object:
    while True:
        sum(range(1_000))


def _ignore(_: Job[Crunch]) -> object:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        with suppress(BaseException):
            time.sleep(60)


def _fail(job: Job[Crunch]) -> object:
    raise ValueError(f"bad {job.args.n}")


def _fail_oddly(_: Job[Crunch]) -> object:
    raise OddError(1, 2)


def _fail_uncopied(_: Job[Crunch]) -> object:
    raise Unpicklable


def _cancel(_: Job[Crunch]) -> object:
    raise JobCancel("not wanted")


def _snooze(_: Job[Crunch]) -> object:
    raise JobSnooze(3600)


def _save(job: Job[Crunch]) -> object:
    if job.last_checkpoint is None:
        job.progress(0.5)
        job.checkpoint({"pid": os.getpid()})
        raise ValueError
    return job.last_checkpoint


def _find_client(_: Job[Crunch]) -> object:
    try:
        return current_client().id
    except ConfigError as error:
        return str(error)


WAYS: dict[str, Callable[[Job[Crunch]], object]] = {
    "return": _whoami,
    "loop": _loop,
    "ignore": _ignore,
    "segfault": lambda _: ctypes.string_at(0),
    "kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda _: os._exit(3),
    "sys.exit": lambda _: sys.exit(3),
    "raise": _fail,
    "odd": _fail_oddly,
    "unpicklable": _fail_uncopied,
    "cancel": _cancel,
    "snooze": _snooze,
    "nan": lambda _: float("nan"),
    "memory": lambda _: len(bytearray(4 * MEMORY_LIMIT)),
    "save": _save,
    "client": _find_client,
}


def small(job: Job[Small]) -> object:
    """The same, with little memory."""
    return crunch(job)
