"""When a running client ends: at a signal, when nothing is left to work, or after a time."""

from __future__ import annotations

import logging
import signal
from collections.abc import Awaitable, Callable
from datetime import timedelta
from time import monotonic
from typing import Final

import anyio
from anyio.abc import TaskStatus

from workerqueue.engine.engine import Engine

LOOK: Final = 0.1
"""Seconds between two looks whether a draining client has nothing left to do, at least."""
SHARE: Final = 20
"""How many times as long as a look the pause after it is: beside a large table looks would take all the time."""

_log = logging.getLogger("workerqueue.client")


class Ending:
    """Runs an engine until its end begins, and has it stopped.

    The first SIGTERM or SIGINT begins the end, a second hurries it.
    """

    def __init__(self) -> None:
        self._begun = anyio.Event()
        self._softly = True
        self._engine: Engine | None = None

    async def run(
        self,
        start: Callable[[], Awaitable[Engine]],
        stop: Callable[[], Awaitable[None]],
        *,
        drain_horizon: timedelta | None,
        max_time: float | None,
    ) -> bool:
        """Start, wait until the end has begun, then stop.

        Args:
            start: Starts the engine; signals are heard before.
            stop: Stops it.
            drain_horizon: End when nothing is left that falls due within it; `None` to go on.
            max_time: End after so many seconds; `None` for never.

        Returns:
            Whether the jobs under way could end; not so after a second signal.
        """
        try:
            async with anyio.create_task_group() as watchers:
                await watchers.start(self._watch_signals)
                try:
                    self._engine = await start()
                    watchers.start_soon(self._watch_engine, self._engine)
                    if drain_horizon is not None:
                        watchers.start_soon(self._watch_work, self._engine, drain_horizon)
                    with anyio.move_on_after(max_time):
                        await self._begun.wait()
                    await stop()
                finally:
                    watchers.cancel_scope.cancel()
        except ExceptionGroup as group:
            first, *others = group.exceptions
            if others:
                raise
            raise first from None  # what went wrong, rather than where it was waited for
        return self._softly

    async def _watch_signals(self, *, task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for received in signals:
                self._signalled(signal.Signals(received).name)

    def _signalled(self, name: str) -> None:
        if not self._begun.is_set():
            _log.info("Received %s, stopping", name, extra={"signal": name})
            self._begun.set()
        else:
            _log.warning("Received %s again, releasing what runs", name, extra={"signal": name})
            self._softly = False
            if self._engine is not None:
                self._engine.hurry()

    async def _watch_engine(self, engine: Engine) -> None:
        """End when the engine does, and raise what ended it."""
        await engine.wait()
        self._begun.set()

    async def _watch_work(self, engine: Engine, horizon: timedelta) -> None:
        """End when nothing is left to work."""
        # Other clients finish work too, so nothing here can tell when the last of it is done.
        began = monotonic()
        while not engine.is_idle or await engine.has_work(horizon):
            await anyio.sleep(max(LOOK, SHARE * (monotonic() - began)))
            began = monotonic()
        self._begun.set()
