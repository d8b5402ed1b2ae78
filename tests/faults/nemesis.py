"""The nemesis: strikes processes, connections and the server, in an order that follows from the seed."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Final

import asyncpg

from tests.faults.processes import Child, Fleet
from tests.faults.profiles import Profile
from tests.faults.server import Restartable
from tests.waiting import eventually

HUSHED: Final = 12.0
"""Seconds after which every call on a silent connection has met its deadline."""
NO_END: Final = 30.0
"""Seconds that a worker gets to end after SIGTERM, before it is killed."""
PATIENCE: Final = 60.0
"""Seconds until a worker is well, or the harness itself is broken."""
ENOUGH: Final = 4
"""Workers, of whom all may be struck at once."""
OF_THE_SERVER: Final = ("crash", "restart", "kill_server", "outage")
BACKENDS = "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"


@dataclass
class Strike:
    """One fault that has struck."""

    kind: str
    at: float
    pid: int | None = None
    """The process it struck; `None` for all of them."""
    until: float = 0.0
    """When what was broken was whole again."""


class Nemesis:
    """Carries out a profile's faults on a fleet and its server."""

    def __init__(self, profile: Profile, seed: int, fleet: Fleet, server: Restartable) -> None:
        self._profile = profile
        self._random = Random(f"nemesis/{seed}")  # noqa: S311 - repeatable, not a secret
        self._fleet = fleet
        self._server = server
        self._strikes = {
            "kill": self._kill,
            "freeze": self._freeze,
            "term": self._term,
            "terminate": self._terminate,
            "crash": self._crash,
            "restart": self._restart,
            "kill_server": self._kill_server,
            "outage": self._outage,
            "cut": self._cut,
            "cut_commit": self._cut_commit,
            "cut_answer": self._cut_answer,
            "hush": self._hush,
            "kill_inserter": self._kill_inserter,
        }
        self.history: list[Strike] = []

    def plan(self) -> list[str]:
        """Give the faults in the order in which they will strike."""
        plan = [kind for kind, times in self._profile.faults.items() for _ in range(times)]
        self._random.shuffle(plan)
        return plan

    async def rage(self, plan: Sequence[str]) -> None:
        """Strike as planned until it is done and what was broken is whole again."""
        at_once = asyncio.Semaphore(self._profile.workers)

        async def strike(kind: str) -> None:
            try:
                await self._strikes[kind](kind)
            finally:
                at_once.release()

        async with asyncio.TaskGroup() as lasting:
            for kind in plan:
                await asyncio.sleep(self._random.uniform(*self._profile.pause))
                await at_once.acquire()
                # What lasts goes on while the next one strikes; without a server nothing else can be struck.
                struck = lasting.create_task(strike(kind))
                if kind in OF_THE_SERVER:
                    await struck

    # Processes

    async def _kill(self, kind: str) -> None:
        async with self._victim() as victim:
            async with self._noted(kind, victim):
                victim.send(signal.SIGKILL)
                await self._fleet.remove_worker(victim, NO_END)
            await self._fleet.start_worker()

    async def _freeze(self, kind: str) -> None:
        # Whoever has just woken judges nobody for a lease: two stay awake, if there are enough.
        spared = self._fleet.workers[-2:] if len(self._fleet.workers) > ENOUGH else []
        async with self._victim(spared=spared) as victim, self._noted(kind, victim):
            victim.send(signal.SIGSTOP)
            await asyncio.sleep(self._profile.lease_ttl * self._random.uniform(1.2, 1.8))
            victim.send(signal.SIGCONT)

    async def _term(self, kind: str) -> None:
        async with self._victim() as victim:
            async with self._noted(kind, victim):
                victim.send(signal.SIGTERM)
                await self._fleet.remove_worker(victim, NO_END)
            await self._fleet.start_worker()

    async def _kill_inserter(self, kind: str) -> None:
        running = [child for child in self._fleet.inserters if child.is_ready]
        if running:
            victim = self._random.choice(running)
            victim.busy = True
            async with self._noted(kind, victim):
                victim.send(signal.SIGKILL)
                await victim.ended(NO_END)
                self._fleet.inserters.remove(victim)
                await self._fleet.start_inserter(victim.spec.number)

    # Connections

    async def _terminate(self, kind: str) -> None:
        async with self._noted(kind, None):
            with suppress(OSError, asyncpg.PostgresError):
                connection = await asyncpg.connect(self._server.url, timeout=5)
                pids = [row["pid"] for row in await connection.fetch(BACKENDS)]
                for pid in self._random.sample(pids, min(len(pids), self._random.randint(1, 5))):
                    await connection.execute("select pg_terminate_backend($1)", pid)
                await connection.close()

    async def _cut(self, kind: str) -> None:
        async with self._victim(*self._fleet.inserters) as victim, self._noted(kind, victim):
            victim.wire.cut()

    async def _cut_commit(self, kind: str) -> None:
        """Cut the next inserter's connection that commits, before or after the server's answer."""
        running = [child for child in self._fleet.inserters if child.is_ready]
        if running:
            victim = self._random.choice(running)
            async with self._noted(kind, victim):
                victim.wire.cut_after(b"COMMIT", answered=self._random.random() < 0.3)

    async def _cut_answer(self, kind: str) -> None:
        """Cut a worker's connection at whatever it says next: a claim, a completion or a beat, done and not told."""
        async with self._victim() as victim, self._noted(kind, victim):
            victim.wire.cut_after(b"", answered=self._random.random() < 0.3)

    async def _hush(self, kind: str) -> None:
        async with self._victim() as victim, self._noted(kind, victim):
            victim.wire.hush()
            await asyncio.sleep(HUSHED)

    # The server

    async def _crash(self, kind: str) -> None:
        """Kill one backend with SIGKILL: the server ends all others and recovers."""
        async with self._noted(kind, None):
            with suppress(OSError, asyncpg.PostgresError):
                connection = await asyncpg.connect(self._server.url, timeout=5)
                pids = [row["pid"] for row in await connection.fetch(BACKENDS)]
                # Connections are taken until the server has seen the death, and has ended this one for it.
                ended = asyncio.Event()
                connection.add_termination_listener(lambda _: ended.set())
                if pids:
                    os.kill(self._random.choice(pids), signal.SIGKILL)
                    async with asyncio.timeout(NO_END):  # one that was just ending took nobody with it
                        await ended.wait()
                await connection.close()
            await self.connected()

    async def _restart(self, kind: str) -> None:
        async with self._noted(kind, None):
            await self._server.crash()
            await self._server.start()
            self._fleet.lead_to(self._server.url)

    async def _kill_server(self, kind: str) -> None:
        async with self._noted(kind, None):
            await self._server.kill()
            await self._server.start()
            self._fleet.lead_to(self._server.url)

    async def _outage(self, kind: str) -> None:
        async with self._noted(kind, None):
            await self._server.crash()
            await asyncio.sleep(self._profile.outage)
            await self._server.start()
            self._fleet.lead_to(self._server.url)

    async def connected(self) -> None:
        """Wait until the server takes connections."""
        while True:
            with suppress(OSError, asyncpg.PostgresError):
                await (await asyncpg.connect(self._server.url, timeout=5)).close()
                return
            await asyncio.sleep(0.05)

    # The steps of these

    @asynccontextmanager
    async def _victim(self, *others: Child, spared: Sequence[Child] = ()) -> AsyncGenerator[Child]:
        """Choose a process that is well, and leave it alone otherwise meanwhile."""

        async def well() -> list[Child]:
            return [child for child in [*self._fleet.workers, *others] if child.is_ready and child not in spared]

        victim = self._random.choice(await eventually(well, within=PATIENCE))
        victim.busy = True
        try:
            yield victim
        finally:
            victim.busy = False

    @asynccontextmanager
    async def _noted(self, kind: str, victim: Child | None) -> AsyncGenerator[None]:
        strike = Strike(kind, time.time(), None if victim is None else victim.pid)
        self.history.append(strike)
        yield
        strike.until = time.time()
