"""Sessions of a server that a test freezes, and signs that the loops of a client give while they are frozen."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from tests.waiting import eventually
from workerqueue.database import Connection, connection, jobs, listening
from workerqueue.database.chores import ChoreTable
from workerqueue.database.jobs import JobTable
from workerqueue.database.session import has_own_session
from workerqueue.engine.producer import Producer
from workerqueue.maintenance import cleaner, leader, limited, reindexer

NOTIFIER: Final = "notifier"
STATEMENTS: Final[dict[str, tuple[type, str]]] = {
    "producer": (JobTable, "claim_jobs"),
    "completer": (JobTable, "record_outcomes"),
    "heartbeat": (JobTable, "beat"),
    "leader": (ChoreTable, "elect_leader"),
    "scheduler": (JobTable, "promote_due_jobs"),
    "partitioner": (JobTable, "find_partition"),
    "sweeper": (JobTable, "rescue_jobs"),
    "cleaner": (ChoreTable, "list_days"),
    "pruner": (ChoreTable, "prune_clients"),
    "reindexer": (ChoreTable, "list_indexes"),
}
"""What each loop sends again and again while there is nothing else to do; the completer, while jobs end."""
IN_THE_POOL: Final = ("partitioner", "sweeper", "cleaner", "pruner", "reindexer")

_DEADLINES: Final = (
    (jobs, "CALL_TIMEOUT"),
    (listening, "CHECK_TIMEOUT"),
    (leader, "ANSWER"),
    (limited, "ANSWER"),
    (cleaner, "TIMEOUT"),
    (reindexer, "DROP_TIMEOUT"),
)


def give_deadlines(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let every statement that a loop sends from now on take so long."""
    for module, name in _DEADLINES:
        monkeypatch.setattr(module, name, seconds)
    # Which is also what a connection may take to go back to its pool.
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", max(seconds, 1.0))


class Signs:
    """Which session each loop asked last, and which ones have answered it; of one client alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: dict[str, int] = {}
        # Lists, since the heartbeat's thread adds to its own while it is read here.
        self._answers: dict[str, list[int]] = {loop: [] for loop in (*STATEMENTS, NOTIFIER)}
        for loop, (table, method) in STATEMENTS.items():
            monkeypatch.setattr(table, method, self._watching(loop, getattr(table, method)))
        self._watch_the_notifier(monkeypatch)

    async def come_from(self, sql: Connection, channel: str, loops: set[str], *, but: int = 0, times: int = 2) -> None:
        """Wait until each of these loops has had so many answers from now on, by any session `but` one."""
        before = {loop: self._count(loop, but) for loop in loops}

        async def none_is_missing() -> bool:
            await sql.execute("select pg_notify($1, 'are you there')", channel)  # what the notifier has to say
            return all(self._count(loop, but) >= before[loop] + times for loop in loops)

        await eventually(none_is_missing)

    def _count(self, loop: str, but: int) -> int:
        return sum(session != but for session in tuple(self._answers[loop]))

    def _watching(self, loop: str, original: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        async def send(table: object, connection: Connection, *args: Any, **more: Any) -> object:
            session = self.asked[loop] = connection.get_server_pid()
            answer = await original(table, connection, *args, **more)
            self._answers[loop].append(session)
            return answer

        return send

    def _watch_the_notifier(self, monkeypatch: pytest.MonkeyPatch) -> None:
        look, hint = has_own_session, Producer.hint

        async def begin(connection: Connection) -> bool:
            self.asked[NOTIFIER] = connection.get_server_pid()
            return await look(connection)

        def hear(producer: Producer, pool: str | None) -> None:
            if pool is not None:
                self._answers[NOTIFIER].append(self.asked[NOTIFIER])
            hint(producer, pool)

        monkeypatch.setattr("workerqueue.database.listening.has_own_session", begin)
        monkeypatch.setattr(Producer, "hint", hear)


@asynccontextmanager
async def frozen(sql: Connection, session: Callable[[], int], *, state: str = "idle") -> AsyncGenerator[int]:
    """Freeze a session while it is in a state, and let it go on in the end.

    Idle, it holds no lock that the whole server waits for; the next that it is told finds nobody who listens.
    """

    async def caught() -> int:
        pid = session()
        with suppress(ProcessLookupError, FileNotFoundError):  # its loop has another by now
            os.kill(pid, signal.SIGSTOP)
            if await _is_as_wanted(sql, pid, state):
                return pid
            os.kill(pid, signal.SIGCONT)
        return 0

    pid = await eventually(caught)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


async def _is_as_wanted(sql: Connection, pid: int, state: str) -> bool:
    async def stands_still() -> bool:
        return _stands_still(pid)

    await eventually(stands_still)
    seen = await sql.fetchval("select coalesce(wait_event_type, '') || state from pg_stat_activity where pid = $1", pid)
    return bool(seen == {"idle": "Clientidle", "waits": "Lockactive"}[state])


def _stands_still(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
