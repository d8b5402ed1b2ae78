"""Lets the kernel end a connection whose other side has gone without a word."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Final

SILENCE: Final = 10
"""Seconds without an answer after which a connection counts as lost, busy or not."""
PROBE_AFTER: Final = 5
"""Seconds of quiet until the other side is asked for a sign of life."""
PROBE_INTERVAL: Final = 2

_OPTIONS: Final = (
    ("TCP_KEEPIDLE", PROBE_AFTER),
    ("TCP_KEEPALIVE", PROBE_AFTER),  # what macOS calls it
    ("TCP_KEEPINTVL", PROBE_INTERVAL),
    ("TCP_KEEPCNT", (SILENCE - PROBE_AFTER) // PROBE_INTERVAL),
    ("TCP_USER_TIMEOUT", SILENCE * 1000),  # Linux: also for what was sent and never acknowledged
)


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Ask the kernel to probe a TCP connection, with whatever of this the platform knows."""
    opened = transport.get_extra_info("socket")
    if opened is None or opened.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with suppress(OSError):  # a socket that is gone already
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _OPTIONS:
            if (option := getattr(socket, name, None)) is not None:
                opened.setsockopt(socket.IPPROTO_TCP, option, value)
