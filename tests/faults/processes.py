"""The processes under test: started with a wire of their own, signalled, and always reaped."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from asyncio.subprocess import Process
from dataclasses import dataclass
from pathlib import Path

from tests.faults.network import Wire
from tests.faults.profiles import Profile
from tests.faults.specs import URL, Spec


@dataclass(eq=False)
class Child:
    """One process, and its wire to the server."""

    spec: Spec
    process: Process
    wire: Wire
    busy: bool = False
    """Whether something is being done to it."""

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    @property
    def is_ready(self) -> bool:
        """Whether it has begun to work and nothing is being done to it."""
        journal = self.spec.journal
        return not self.busy and self.process.returncode is None and journal.exists() and journal.stat().st_size > 0

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; one that has ended hears none."""
        if self.process.returncode is None:
            self.process.send_signal(number)

    async def ended(self, within: float) -> int:
        """Wait until it has ended, by force after so many seconds, and give its exit code."""
        try:
            await asyncio.wait_for(self.process.wait(), within)
        except TimeoutError:
            self.send(signal.SIGKILL)
        code = await self.process.wait()
        await self.wire.go_away()
        return code


class Fleet:
    """Every process of a run."""

    def __init__(self, folder: Path, profile: Profile, seed: int, mutant: str | None) -> None:
        self._folder = folder
        self._profile = profile
        self._seed = seed
        self._mutant = mutant
        self._server = ""
        self._numbers = itertools.count(1)
        self.workers: list[Child] = []
        self.inserters: list[Child] = []
        self.external = folder / "external.jsonl"
        self.external.touch()

    def lead_to(self, server: str) -> None:
        """Lead every wire to a server."""
        self._server = server
        for child in [*self.workers, *self.inserters]:
            child.wire.lead_to(server)

    async def start_worker(self) -> Child:
        """Start one more worker."""
        child = await self._start("worker", f"worker-{next(self._numbers)}", 0)
        self.workers.append(child)
        return child

    async def start_inserter(self, number: int) -> Child:
        """Start an inserter; one of the same number goes on where the last one was killed."""
        child = await self._start("inserter", f"inserter-{number}", number)
        self.inserters.append(child)
        return child

    async def remove_worker(self, child: Child, within: float) -> int:
        """Wait for a worker's end, and forget it."""
        code = await child.ended(within)
        self.workers.remove(child)
        return code

    async def kill_all(self) -> None:
        """Leave nothing behind."""
        for child in [*self.workers, *self.inserters]:
            child.send(signal.SIGKILL)
            await child.ended(5)

    def journals(self, what: str) -> list[Path]:
        """Give the files that workers or inserters have written."""
        return sorted(self._folder.glob(f"{what}-*.jsonl"))

    def logs(self) -> list[Path]:
        """Give what the processes said."""
        return sorted(self._folder.glob("*.log"))

    async def _start(self, what: str, name: str, number: int) -> Child:
        spec = Spec(
            name=name,
            seed=self._seed,
            number=number,
            profile=self._profile,
            journal=self._folder / f"{name}.jsonl",
            external=self.external,
            mutant=self._mutant,
        )
        path = self._folder / f"{name}.json"
        path.write_text(spec.model_dump_json())
        wire = Wire(self._server)
        await wire.come_back()
        with (self._folder / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", f"tests.faults.{what}", str(path), str(os.getpid())),
                env=os.environ | {URL: wire.url},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return Child(spec, process, wire)
