"""Makes the tables of the coming days for finalized jobs, ahead of time."""

from __future__ import annotations

import logging
import random
from datetime import UTC, date, datetime, timedelta
from typing import Final

import anyio

from workerqueue.database import Connection, Database, keep_trying
from workerqueue.errors import DatabaseError, DatabaseUnavailableError

AHEAD: Final = 3
"""Days: a weekend on which every client stands still loses nothing, since there is the default table besides."""
PAUSE: Final = 3600.0

_log = logging.getLogger("workerqueue.maintenance")


async def _make_if_missing(database: Database, connection: Connection, day: date) -> None:
    # Looked for first: making one locks the table that every completion writes to.
    if await database.jobs.find_partition(connection, day):
        return
    try:
        await database.jobs.make_partition(connection, day)
    except DatabaseUnavailableError:
        raise
    except DatabaseError as error:
        # Another client made it at the same moment, or the default table holds jobs of that day: they are found
        # there as well.
        _log.debug("no table was made for %s: %s", day, error)


async def make_partitions(database: Database) -> None:
    """Make them for ever, once an hour; any number of clients may do it at once."""

    async def once() -> None:
        async with database.acquire() as connection:
            # The client's clock only chooses which days to make; the database's decides where a row goes.
            today = datetime.now(UTC).date()
            for day in range(AHEAD + 1):
                await _make_if_missing(database, connection, today + timedelta(days=day))

    while True:
        await keep_trying("partitioner", once)
        await anyio.sleep(PAUSE * random.uniform(0.9, 1.1))  # noqa: S311 - jitter, not a secret
