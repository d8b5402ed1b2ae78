"""Runs the endpoint and the mailbox on loopback, on free ports, inside the running event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from aiosmtpd.smtp import SMTP
from starlette.applications import Starlette

from tasks.demo.mailbox import Mailbox

LOOPBACK = "127.0.0.1"


class _Server(uvicorn.Server):
    """A server that says when it is ready, and leaves signals to the program."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@asynccontextmanager
async def http_server(app: Starlette) -> AsyncGenerator[str]:
    """Serve an application; gives its URL."""
    server = _Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", ws="none"))
    listener = _free_port()
    serving = asyncio.create_task(server.serve([listener]))
    await server.ready.wait()
    try:
        yield f"http://{LOOPBACK}:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def smtp_server(mailbox: Mailbox) -> AsyncGenerator[str]:
    """Receive mails for a mailbox; gives the server's URL."""
    loop = asyncio.get_running_loop()
    listener = _free_port()
    server = await loop.create_server(lambda: SMTP(mailbox, hostname="mailbox.test", loop=loop), sock=listener)
    try:
        yield f"smtp://{LOOPBACK}:{listener.getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


def _free_port() -> socket.socket:
    listener = socket.socket()
    listener.bind((LOOPBACK, 0))
    return listener
