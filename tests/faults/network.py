"""The wire between one process and PostgreSQL: it can be cut, go silent, and lead to a server that came back."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from tests.client.proxy import Proxy

LISTEN: Final = re.compile(rb"(?<!UN)LISTEN ")


class Wire(Proxy):
    """A proxy that outlives the server behind it: whoever loses one side loses the other."""

    def cut(self) -> None:
        """End every connection there is; new ones are as they should be."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await super()._connected(reader, writer)
        except OSError:  # there is no server just now
            writer.close()

    async def _pass_on(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        answers: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        try:
            await super()._pass_on(source, target, answers, back)
        except OSError:
            pass
        finally:
            with suppress(OSError, RuntimeError):
                target.close()
            self._forget(source, target)

    def _forget(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """Keep nothing of what has ended: a long run sees many connections."""
        self._readers.discard(source)
        self._hushed.discard(source)
        self._doomed.discard(source)
        if target in self._writers:
            self._writers.remove(target)
        if (task := asyncio.current_task()) is not None:
            self._tasks.discard(task)


@dataclass(eq=False)
class _Ear:
    """A connection on which the process listens."""

    readers: tuple[asyncio.StreamReader, ...] = ()
    writers: tuple[asyncio.StreamWriter, ...] = ()
    over: asyncio.Event = field(default_factory=asyncio.Event)


class ListeningWire(Wire):
    """A wire that knows on which connection its process listens, and can lose that one alone."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self._ear = _Ear()
        self._lost: dict[asyncio.StreamReader, _Ear] = {}
        self.ears = 0
        """Connections on which the process has begun to listen."""
        self.listening_since = 0.0
        """When it did so last, by the monotonic clock."""

    @contextmanager
    def without_ear(self) -> Generator[None]:
        """Lose what the process listens on, both ways and without a word: a firewall that has forgotten it.

        Not even its end is carried to the other side, until this context's own.
        """
        ear = self._ear
        self._lost |= dict.fromkeys(ear.readers, ear)
        try:
            yield
        finally:
            ear.over.set()
            for writer in ear.writers:
                writer.transport.abort()
            for reader in ear.readers:
                del self._lost[reader]

    async def _let_pass(
        self,
        data: bytes,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        answers: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        if (lost := self._lost.get(source)) is not None:
            await lost.over.wait()
            raise ConnectionResetError
        if source not in self._ear.readers and LISTEN.search(data):
            self._ear = _Ear((source, answers), (target, back))
            self.ears += 1
            self.listening_since = monotonic()
