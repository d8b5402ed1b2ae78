"""A network between a client and PostgreSQL that can go silent, or break at a chosen word."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import urlsplit


class _Cut(NamedTuple):
    """Where a connection is to be cut."""

    sent: bytes
    answered: bool


class Proxy:
    """Passes bytes on, or swallows them."""

    def __init__(self, database_url: str) -> None:
        self._url = urlsplit(database_url)
        self.lead_to(database_url)
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._hushed: set[asyncio.StreamReader] = set()
        self._readers: set[asyncio.StreamReader] = set()
        self._cut: _Cut | None = None
        self._doomed: set[asyncio.StreamReader] = set()
        self.silent = False
        self.delay = 0.0
        self.cuts = 0
        """Connections that were cut."""

    @property
    def url(self) -> str:
        """Where PostgreSQL is, through this proxy."""
        return self._url._replace(netloc=f"{self._url.username}:{self._url.password}@127.0.0.1:{self._port}").geturl()

    def lead_to(self, database_url: str) -> None:
        """Lead new connections to another server."""
        parts = urlsplit(database_url)
        self._there = (parts.hostname or "", parts.port or 5432)

    def hush(self) -> None:
        """Swallow all that comes on the connections there are; new ones are as they should be."""
        self._hushed |= self._readers

    def cut_after(self, sent: bytes, *, answered: bool) -> None:
        """Cut the next connection on which the client sends this, once PostgreSQL has got it.

        With `answered` PostgreSQL has done it and said so; else the connection is gone before anybody knows.
        """
        self._cut = _Cut(sent, answered)

    def reset(self) -> None:
        """Break every connection there is, as a network does that has forgotten it; new ones are as they should be."""
        for writer in self._writers:
            # Closing with nothing left to say, and no time to say it, is a reset.
            writer.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            writer.transport.abort()
        self._writers.clear()

    async def come_back(self) -> None:
        """Listen, where it was before."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def go_away(self) -> None:
        """End every connection and refuse new ones."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._there)
        self._writers += [writer, there_writer]
        for source, target in ((reader, there_writer), (there_reader, writer)):
            self._readers.add(source)
            other = (there_reader, writer) if source is reader else (reader, there_writer)
            task = asyncio.create_task(self._pass_on(source, target, *other))
            self._tasks.add(task)

    async def _pass_on(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        answers: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        while data := await source.read(65536):
            await self._let_pass(data, source, target, answers, back)
            if source in self._doomed:
                self._break(target, back)
                return
            if self.delay:
                await asyncio.sleep(self.delay)
            if not self.silent and source not in self._hushed:
                target.write(data)
            if self._cut is not None and self._cut.sent in data:
                cut, self._cut = self._cut, None
                self._doomed.add(answers)
                if not cut.answered:
                    await target.drain()
                    self._break(back)
                    target.close()  # what was written is still sent
                    return
        target.close()

    async def _let_pass(
        self,
        data: bytes,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        answers: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        """See what comes by, before it goes on; for proxies that know more of what they carry."""

    def _break(self, *writers: asyncio.StreamWriter) -> None:
        self.cuts += 1
        for writer in writers:
            writer.transport.abort()


@asynccontextmanager
async def proxy(database_url: str) -> AsyncGenerator[Proxy]:
    """Open a proxy before a database."""
    made = Proxy(database_url)
    await made.come_back()
    try:
        yield made
    finally:
        await made.go_away()
