"""The server that is measured: an embedded one with the settings below, or any URL."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Final

from workerqueue.embedded import Server, postgres
from workerqueue.errors import ConfigError

SETTINGS: Final = {
    # Durable, as a queue must be.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # Modest: an eighth of a small machine, and enough for the live table of every benchmark.
    "shared_buffers": "256MB",
    # No checkpoint falls into a measured stretch by chance; what it would cost is in the WAL.
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
    "max_connections": "200",
    # Autovacuum stays as it is: on.
}
"""What the embedded server is started with; everything else is PostgreSQL's default."""

STATEMENTS: Final = {
    # Loaded and off: `idle` and `history` switch it on for their own sessions.
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "none",
    "compute_query_id": "off",
}


@contextmanager
def started(url: str | None) -> Generator[Server]:
    """Give the server to measure; an embedded one is thrown away in the end.

    Args:
        url: A server to use as it is. By default the wheel's is started (`WORKERQUEUE_POSTGRES` chooses another).
    """
    if url is not None:
        yield Server(url=url, link="url", version="", owned=False)
        return
    choice = os.environ.get("WORKERQUEUE_POSTGRES") or "wheel"
    with ExitStack() as stack:
        try:
            server = stack.enter_context(postgres(choice=choice, settings=SETTINGS | STATEMENTS))
        except ConfigError:  # some packages of PostgreSQL leave pg_stat_statements out
            server = stack.enter_context(postgres(choice=choice, settings=SETTINGS))
        yield server
