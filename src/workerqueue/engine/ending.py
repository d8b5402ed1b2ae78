"""When a running client ends: at a signal, when nothing is left to work, or after a time."""

from __future__ import annotations

import logging
import signal
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import anyio

from workerqueue.engine.engine import Engine

LOOK: Final = 0.1
"""Seconds between two looks whether a draining client has nothing left to do."""

_log = logging.getLogger("workerqueue.client")


class Ending:
    """Waits for the end of a running engine, and has it stopped.

    The first SIGTERM or SIGINT begins the end, a second hurries it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._begun = anyio.Event()
        self._softly = True

    async def wait(
        self, stop: Callable[[], Awaitable[None]], *, drain_horizon: timedelta | None, max_time: float | None
    ) -> bool:
        """Wait until the end has begun, then stop.

        Args:
            stop: Stops the engine.
            drain_horizon: End when nothing is left that falls due within it; `None` to go on.
            max_time: End after so many seconds; `None` for never.

        Returns:
            Whether the jobs under way could end; not so after a second signal.
        """
        async with anyio.create_task_group() as watchers:
            watchers.start_soon(self._watch_signals)
            watchers.start_soon(self._watch_engine)
            if drain_horizon is not None:
                watchers.start_soon(self._watch_work, drain_horizon)
            with anyio.move_on_after(max_time):
                await self._begun.wait()
            await stop()
            watchers.cancel_scope.cancel()
        return self._softly

    async def _watch_signals(self) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for received in signals:
                name = signal.Signals(received).name
                if not self._begun.is_set():
                    _log.info("Received %s, stopping", name, extra={"signal": name})
                    self._begun.set()
                else:
                    _log.warning("Received %s again, releasing what runs", name, extra={"signal": name})
                    self._softly = False
                    self._engine.hurry()

    async def _watch_engine(self) -> None:
        """End when the engine does, and raise what ended it."""
        await self._engine.wait()
        self._begun.set()

    async def _watch_work(self, horizon: timedelta) -> None:
        """End when nothing is left to work."""
        # Other clients finish work too, so nothing here can tell when the last of it is done.
        while not self._engine.is_idle or await self._engine.has_work(horizon):  # noqa: ASYNC110
            await anyio.sleep(LOOK)
        self._begun.set()
