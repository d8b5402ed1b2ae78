"""Builds bloated indexes of the live table anew: after a backlog has drained they stay as large as it was."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Final

from workerqueue.database import Connection, Database, Index
from workerqueue.errors import DatabaseUnavailableError

_log = logging.getLogger("workerqueue.maintenance")

EVERY: Final = 3600.0
"""Seconds."""
SMALL: Final = 2_048
"""Pages (16 MB); an index below that is never worth the work."""
ENTRIES_A_PAGE: Final = 100
"""Of long pool names; so that an index that holds them well is not taken for bloated."""
FACTOR: Final = 2
TIMEOUT: Final = 60.0
"""Seconds: it waits for transactions that are open, and vacuum waits for it."""
DROP_TIMEOUT: Final = 5.0

_LEFTOVER: Final = re.compile(r"[a-z0-9_]+_cc(new|old)[0-9]*")
_PLAIN: Final = re.compile(r"[a-z0-9_]+")


def is_bloated(index: Index) -> bool:
    """Tell whether an index is much larger than its entries need."""
    return index.pages > SMALL + FACTOR * index.entries / ENTRIES_A_PAGE


async def rebuild_bloated_indexes(database: Database) -> None:
    """Drop what earlier rebuildings have left, and rebuild what is bloated, one index after the other."""
    async with database.acquire() as connection:
        indexes = await database.chores.list_indexes(connection, timeout=DROP_TIMEOUT)
        # Caught while the connection is held: given back, it tells the server to end what we no longer wait for.
        try:
            await _drop_leftovers(database, connection, indexes)
            await _rebuild(database, connection, indexes)
        except DatabaseUnavailableError as error:
            _log.warning("reindexer: %s; an open transaction may be in its way; trying again in an hour", error)


async def _drop_leftovers(database: Database, connection: Connection, indexes: Sequence[Index]) -> None:
    for index in indexes:
        if not index.is_valid and _LEFTOVER.fullmatch(index.name):
            _log.info("Dropping %s, left by a rebuilding that was cut off", index.name)
            await database.chores.drop_index(connection, index.name, timeout=DROP_TIMEOUT)


async def _rebuild(database: Database, connection: Connection, indexes: Sequence[Index]) -> None:
    for index in indexes:
        if index.is_valid and _PLAIN.fullmatch(index.name) and is_bloated(index):
            _log.info("Rebuilding %s: %d pages for %.0f entries", index.name, index.pages, index.entries)
            await database.chores.rebuild_index(connection, index.name, timeout=TIMEOUT)
