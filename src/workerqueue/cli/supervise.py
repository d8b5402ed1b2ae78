"""Supervises worker processes: starts them, starts again what ended by itself, and ends them together."""

from __future__ import annotations

import logging
import random
import signal
import sys
from collections.abc import AsyncIterable, Mapping, Sequence
from typing import Final

import anyio

from workerqueue.cli.child import Child, child
from workerqueue.cli.logs import FieldFormatter

PROCESS: Final = "WORKERQUEUE_PROCESS"
"""Set for a worker: its number among those of its supervisor, from 1."""
SUPERVISOR: Final = "supervisor"
"""What stands for the number in the supervisor's own lines."""

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 10.0
LONG_LIFE: Final = 30.0
"""Seconds after which a process that ends is started again as if it had never failed."""

STOPPING: Final = (signal.SIGTERM, signal.SIGINT)
SOFT: Final = (0, -signal.SIGTERM)
"""How a worker ends when it is told to: stopped, or ended by the signal before it had begun to work."""
FAILED: Final = 1
REFUSED: Final = 2
"""The exit code of wrong use."""

_log = logging.getLogger("workerqueue.supervisor")


class Supervisor:
    """Several `workerqueue run`, kept running until a signal, or until each has done its work.

    Args:
        options: The options of each.
        environment: The environment of each.
        processes: How many.
        drain: Whether a process that ends with 0 is done.
        max_time: End after so many seconds, which each is told; `None` for never.
    """

    def __init__(
        self,
        options: Sequence[str],
        environment: Mapping[str, str],
        processes: int,
        *,
        drain: bool = False,
        max_time: float | None = None,
    ) -> None:
        self._command = [sys.executable, "-m", "workerqueue", "run", *options]
        self._environment = dict(environment)
        self._processes = processes
        self._drain = drain
        self._max_time = max_time
        self._deadline = float("inf")
        self._workers: dict[int, Child] = {}
        self._settled = anyio.Event()  # the first process works, or has ended
        self._stopping = anyio.Event()
        self._code = 0

    async def run(self) -> int:
        """Run until all have ended.

        Returns:
            The exit code: 0 when all ended softly, 1 when not, 2 when one refused to start, which has said why.
        """
        if self._max_time is not None:
            self._deadline = anyio.current_time() + self._max_time
        with anyio.open_signal_receiver(*STOPPING) as signals:
            async with anyio.create_task_group() as watchers:
                watchers.start_soon(self._pass_on, signals)
                await self._work()
                watchers.cancel_scope.cancel()
        if self._code != REFUSED:
            _log.info("Stopped")
        return self._code

    async def _work(self) -> None:
        async with anyio.create_task_group() as numbers:
            numbers.start_soon(self._keep_running, 1)
            # The first goes ahead: what keeps one from starting keeps all from it, and is said once.
            await self._settled.wait()
            if not self._stopping.is_set():
                _log.info("Working in %s", _counted(self._processes))
            for number in range(2, self._processes + 1):
                numbers.start_soon(self._keep_running, number)

    async def _keep_running(self, number: int) -> None:
        """Run one of the processes, again when it ends although nobody told it to."""
        pauses = Pauses()
        while not self._stopping.is_set():
            started = anyio.current_time()
            code = await self._run_once(number)
            if self._is_over(number, code):
                return
            pause = pauses.after(anyio.current_time() - started)
            _log.warning(
                "Process %d %s, starting it again in %.2f s", number, _ending(code), pause, extra={"pause": pause}
            )
            with anyio.move_on_after(pause):
                await self._stopping.wait()

    async def _run_once(self, number: int) -> int:
        try:
            async with child(self._full_command(), {**self._environment, PROCESS: str(number)}) as worker:
                self._workers[number] = worker
                if self._stopping.is_set():  # the signal came before there was a process to pass it on to
                    worker.terminate()
                return await self._until_ended(worker)
        except OSError as error:  # such as no room for another process: it may pass
            _log.error("Process %d can't be started: %s", number, error)
            return FAILED
        finally:
            self._workers.pop(number, None)
            self._settled.set()

    async def _until_ended(self, worker: Child) -> int:
        """Wait for the end of a process, let the others start once it is ready, and give its exit code."""
        async with anyio.create_task_group() as watchers:
            watchers.start_soon(self._watch_ready, worker)
            code = await worker.wait()
            watchers.cancel_scope.cancel()  # something it left behind may still hold its end of the leash
            return code
        raise AssertionError("the group above swallows nothing but its own end")

    async def _watch_ready(self, worker: Child) -> None:
        if await worker.is_ready():
            self._settled.set()

    def _full_command(self) -> list[str]:
        """Give the command, with what is left of the time."""
        if self._max_time is None:
            return self._command
        return [*self._command, f"--max-time={max(self._deadline - anyio.current_time(), 0.001):f}"]

    def _is_over(self, number: int, code: int) -> bool:
        """Tell whether a process that has ended is not to be started again, and keep what that says of the run."""
        if code == REFUSED:
            self._refuse(number)
            return True
        if self._stopping.is_set() or anyio.current_time() >= self._deadline:
            if code not in SOFT:
                _log.warning("Process %d %s, not softly", number, _ending(code))
                self._end_with(FAILED)
            return True
        return code == 0 and (self._drain or self._max_time is not None)

    def _refuse(self, number: int) -> None:
        """End the run, for starting again mends no wrong use."""
        self._end_with(REFUSED)
        if self._workers and not self._stopping.is_set():
            _log.error("Process %d refused to start, stopping %s", number, _counted(len(self._workers)))
        self._stop()

    async def _pass_on(self, signals: AsyncIterable[signal.Signals]) -> None:
        async for received in signals:
            name = signal.Signals(received).name
            running = _counted(len(self._workers))
            if not self._stopping.is_set():
                _log.info("Received %s, stopping %s", name, running, extra={"signal": name})
            else:
                _log.warning("Received %s again, hurrying %s", name, running, extra={"signal": name})
                self._end_with(FAILED)
            self._stop()

    def _stop(self) -> None:
        self._stopping.set()
        for worker in self._workers.values():
            worker.terminate()

    def _end_with(self, code: int) -> None:
        self._code = max(self._code, code)


class Pauses:
    """How long to wait before a process that keeps ending is started again."""

    def __init__(self) -> None:
        self._next = FIRST_PAUSE

    def after(self, life: float) -> float:
        """Give the pause after a life of so many seconds."""
        pause = FIRST_PAUSE if life >= LONG_LIFE else self._next
        self._next = min(pause * 2, LONGEST_PAUSE)
        # Up to a quarter less, so that processes that failed together do not come back together.
        return round(pause * random.uniform(0.75, 1), 3)  # noqa: S311 - jitter, not a secret


class ProcessFormatter(FieldFormatter):
    """Writes which process a line is from, after the record's fields.

    Args:
        process: Its number, or the supervisor's name.
    """

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Write the message, the fields, and the process."""
        return f"{super().formatMessage(record)} process={self._process}"


def name_lines(process: str) -> None:
    """Have every log line of this process name it."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(ProcessFormatter(process))


def _counted(processes: int) -> str:
    return "1 process" if processes == 1 else f"{processes} processes"


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:  # one of the real-time signals
        return f"was ended by signal {-code}"
