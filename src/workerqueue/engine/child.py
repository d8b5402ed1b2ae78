"""What runs in a child process: one job after the other, as they come down a pipe, until the parent ends."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, cast

from pydantic import JsonValue
from pydantic_core import from_json

from workerqueue.args import JobArgs
from workerqueue.errors import ArgsError
from workerqueue.job import SAVED, Job
from workerqueue.job_context import entered
from workerqueue.outcome import OutputError
from workerqueue.payload import encode_output

Work = Callable[[Job[JobArgs]], object]


class Began(NamedTuple):
    """A job has come, and its worker is called now."""


class Saved(NamedTuple):
    """The worker saves something, and waits for the answer: `None`, or the error."""

    progress: str | None
    checkpoint: str | None


class Returned(NamedTuple):
    """The worker returned."""

    output: JsonValue


class Raised(NamedTuple):
    """The worker raised."""

    kind: str
    """The error's class."""
    text: str
    trace: str
    pickled: bytes | None
    """The error itself, where it can be copied."""


def serve(pipe: Connection, memory_limit: int | None) -> None:
    """Work what comes down the pipe."""
    for each in (signal.SIGINT, signal.SIGTERM):  # a terminal, or a supervisor, sends them to everybody
        signal.signal(each, _go_on)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if memory_limit is not None:
        _limit_memory(memory_limit)
    while True:
        try:
            came = pipe.recv_bytes()
        except EOFError:
            return
        pipe.send(Began())
        pipe.send(_attempt(came, pipe))


def _attempt(came: bytes, pipe: Connection) -> Returned | Raised:
    try:
        work, job = cast("tuple[Work, Job[JobArgs]]", pickle.loads(came))  # noqa: S301 - from our own parent
        job.attach(_Piped(pipe))
        with entered(job.context):
            value = work(job)
        return Returned(None if value is None else from_json(_encoded(value)))
    except BaseException as error:  # noqa: BLE001 - a worker's SystemExit, too, must not end the process
        return _raised(error)


def _encoded(value: object) -> str:
    try:
        return encode_output(value)
    except ArgsError as error:
        raise OutputError(str(error)) from None


def _raised(error: BaseException) -> Raised:
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    try:
        text = str(error)
    except Exception as broken:  # noqa: BLE001 - an exception whose __str__ raises
        text = f"(its text can't be read: {type(broken).__name__})"
    try:
        pickled = pickle.dumps(error)
        pickle.loads(pickled)  # noqa: S301 - just made; many errors can be written and not read
    except Exception:  # noqa: BLE001 - whatever it holds can't be copied
        pickled = None
    return Raised(type(error).__name__, text, trace, pickled)


class _Piped:
    """Saves through the parent, which has the database."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def save(self, *, progress: str | None = None, checkpoint: str | None = None) -> Awaitable[None]:
        self._pipe.send(Saved(progress, checkpoint))
        refusal = cast("BaseException | None", pickle.loads(self._pipe.recv_bytes()))  # noqa: S301 - from our parent
        if refusal is not None:
            raise refusal
        return SAVED


def _go_on(*_: object) -> None:
    """Do nothing at a signal: the parent says when this process ends. Not `SIG_IGN`, which children would inherit."""


def _end_with_parent() -> None:
    """End when the parent does, whatever runs: nobody takes its result any more."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _limit_memory(more: int) -> None:
    """Let the process have so many bytes of address space beside what it has now."""
    if sys.platform == "win32":
        return
    import resource

    limit = _memory_in_use() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _memory_in_use() -> int:
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]  # Linux
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
