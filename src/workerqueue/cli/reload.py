"""Runs a command as a child process, again whenever a file below a folder changes."""

from __future__ import annotations

import importlib.util
import logging
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskGroup

from workerqueue.cli.child import Child, child

WATCHED: Final = frozenset({".py", ".toml", ".sql"})
IGNORED: Final = frozenset({".venv", ".git", ".workerqueue", "__pycache__", "node_modules"})
STOPPING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_log = logging.getLogger("workerqueue.dev")


class Reloader:
    """A child process that is started again after a change, and ended softly by a signal.

    Args:
        command: What to run.
        environment: The child's environment.
        folder: Where changes are watched for; `None` for nowhere.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path | None) -> None:
        self._command = list(command)
        self._environment = dict(environment)
        self._folder = folder if folder is not None and _can_watch() else None
        self._child: Child | None = None
        self._changed = anyio.Event()
        self._stopping = False

    async def run(self) -> int:
        """Run until told to stop, or until the child ends by itself where nothing is watched.

        Returns:
            The exit code of the last child; 0 for one that was ended by a signal passed on to it.
        """
        async with anyio.create_task_group() as watchers:
            watchers.start_soon(self._pass_on_signals)
            while True:
                code = await self._run_until_change(watchers)
                if self._stopping or self._folder is None:
                    watchers.cancel_scope.cancel()
                    return 0 if self._stopping and -code in STOPPING else code
        raise AssertionError("the loop above ends only by returning")

    async def _run_until_change(self, watchers: TaskGroup) -> int:
        """Run one child until it ends; one that fails waits for the change that mends it."""
        self._changed, done = anyio.Event(), anyio.Event()
        async with child(self._command, self._environment) as worker:
            self._child = worker
            if self._stopping:  # the signal came before there was a child to pass it on to
                worker.terminate()
            watchers.start_soon(self._watch, worker, done)
            code = await worker.wait()
        if not self._stopping and self._folder is not None and not self._changed.is_set():
            _log.warning("The worker process ended with %d; waiting for a change", code)
            await self._changed.wait()
        done.set()
        return code

    async def _watch(self, worker: Child, done: anyio.Event) -> None:
        """End the child softly after the next change."""
        if self._folder is None:
            return
        from watchfiles import awatch  # pyright: ignore[reportUnknownVariableType] - an extra, half typed

        # Told by the event rather than cancelled: its thread would not hear of a cancellation for seconds.
        async for changes in awatch(self._folder, watch_filter=lambda _, path: _is_watched(path), stop_event=done):
            names = sorted({Path(path).name for _, path in changes})
            _log.info("Changed: %s; starting again", ", ".join(names))
            self._changed.set()
            worker.terminate()
            return

    async def _pass_on_signals(self) -> None:
        with anyio.open_signal_receiver(*STOPPING) as signals:
            async for _ in signals:
                self._stopping = True
                self._changed.set()  # nobody needs to wait for a change any more
                if self._child is not None:
                    self._child.terminate()


def _can_watch() -> bool:
    if importlib.util.find_spec("watchfiles") is None:
        _log.warning("No reloading: install workerqueue-postgres[dev]")
        return False
    return True


def _is_watched(path: str) -> bool:
    changed = Path(path)
    return changed.suffix in WATCHED and not IGNORED.intersection(changed.parts)
