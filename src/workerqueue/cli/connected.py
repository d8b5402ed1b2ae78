"""A client for one command: opened by the options that commands share, and closed behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from workerqueue.cli.settings import find_url, load_config
from workerqueue.client import Client
from workerqueue.worker import Workers

T = TypeVar("T")


def with_client(
    database_url: str | None,
    config: str | None,
    workers: Workers | None,
    schema: str,
    do: Callable[[Client], Awaitable[T]],
) -> T:
    """Do something with a client, and give what comes of it."""
    client = Client(find_url(database_url), config=load_config(config), workers=workers, schema=schema)

    async def connected() -> T:
        async with client:
            return await do(client)

    return anyio.run(connected)
