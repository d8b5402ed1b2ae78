"""The command as a user's shell runs it: started, watched line by line, signalled, and always reaped."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

COMMAND = [sys.executable, "-W", "error", "-m", "workerqueue"]
PATIENCE = 40.0
"""Seconds for what a process does: ample on a busy machine, short of the test's own limit."""


@dataclass(frozen=True)
class Finished:
    """How a process ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def both(self) -> str:
        """All it wrote."""
        return self.out + self.err


class Process:
    """A started process, whose output is gathered while it runs."""

    def __init__(self, process: subprocess.Popen[str], name: str) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.pid = process.pid
        self._name = name
        self._process = process
        self._arrived: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._out: list[str] = []
        self._err: list[str] = []
        self._readers = [self._reader(process.stdout, self._out), self._reader(process.stderr, self._err)]

    @property
    def lines(self) -> list[str]:
        """The lines it wrote so far to stderr, where the log goes."""
        return list(self._err)

    def line(self, *parts: str, after: int = 0) -> str:
        """Wait for a line of the log with these parts, the first one after so many lines, and give it."""
        end = time.monotonic() + PATIENCE
        while True:
            for line in self.lines[after:]:
                if all(part in line for part in parts):
                    return line
            self._wait_for_more(end, f"no line with {parts}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def end(self) -> Finished:
        """Wait until it has ended by itself, and give how."""
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self._name} has not ended; it wrote:\n{self._written()}") from None
        self._finish_reading()
        return Finished(code, "".join(self._out), "".join(self._err))

    def reap(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._finish_reading()

    def _reader(self, stream: IO[str], lines: list[str]) -> threading.Thread:
        def read() -> None:
            with stream:
                for line in stream:
                    lines.append(line)
                    self._arrived.put(None)
            self._arrived.put(None)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread

    def _finish_reading(self) -> None:
        for reader in self._readers:
            reader.join(PATIENCE / 4)
            if reader.is_alive():
                raise AssertionError(f"{self._name} left a process behind that holds its output open")

    def _wait_for_more(self, end: float, problem: str) -> None:
        try:
            self._arrived.get(timeout=max(end - time.monotonic(), 0.001))
        except queue.Empty:
            raise AssertionError(f"{problem} from {self._name}; it wrote:\n{self._written()}") from None
        if self._process.poll() is not None and not any(reader.is_alive() for reader in self._readers):
            raise AssertionError(f"{problem} from {self._name}, which has ended; it wrote:\n{self._written()}")

    def _written(self) -> str:
        return "".join([*self._out, *self._err])


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # The tests themselves were started in a shell's background, which ignores Ctrl-C and hands that down; what a
    # user starts does not.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def started(arguments: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> Generator[Process, None, None]:
    """Start the command; it is killed in the end if it still runs."""
    popen = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=dict(environment),
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    process = Process(popen, " ".join(["workerqueue", *arguments]))
    try:
        yield process
    finally:
        process.reap()


def until(met: Callable[[], bool], what: str, *, seconds: float = PATIENCE) -> None:
    """Wait until `met()` is true; fail naming `what` when it is still not."""
    end = time.monotonic() + seconds
    while not met():
        if time.monotonic() > end:
            raise AssertionError(f"still not so after {seconds:g} s: {what}")
        time.sleep(0.01)


def processes_of(folder: Path) -> dict[int, str]:
    """The processes that work in a folder or name it, with the command line of each; none that has ended."""
    found: dict[int, str] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            where = (entry / "cwd").readlink()
        except OSError:  # ended while we looked, or another user's
            continue
        if command and int(entry.name) != os.getpid() and (str(folder) in command or where == folder):
            found[int(entry.name)] = command
    return found


def kill_all(pids: Sequence[int]) -> None:
    """Kill processes that a test found left behind."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
