"""The wire between one process and PostgreSQL: it can be cut, go silent, and lead to a server that came back."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tests.client.proxy import Proxy


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
