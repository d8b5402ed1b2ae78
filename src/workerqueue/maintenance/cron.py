"""Fires schedules: inserts their jobs at their times, once, however many clients look at the clock.

Every working client does it, so that one whose args only some processes can make is fired by one of these. Who fires a
time is who moves the schedule on from it, in the transaction that inserts the jobs.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

import anyio

from workerqueue.database import Connection, Database, StoredSchedule, keep_trying
from workerqueue.errors import DatabaseUnavailableError, WorkerQueueError
from workerqueue.maintenance.leader import Leader
from workerqueue.options import NewJob
from workerqueue.payload import clean_text
from workerqueue.schedule_config import ScheduleConfig

_log = logging.getLogger("workerqueue.maintenance")

LOOK: Final = 30.0
"""Seconds between two looks at schedules that nobody says have changed."""
AFTER_THE_LEADER: Final = (0.1, 0.5)
"""Seconds that who does not lead leaves to who does."""
TIMEOUT: Final = 10.0
ERROR_BYTES: Final = 1_000

Make = Callable[[str, ScheduleConfig, datetime], NewJob]
"""Makes the job of a schedule for one time."""
Insert = Callable[[Connection, Sequence[NewJob]], Awaitable[None]]
"""Inserts jobs in the transaction that is open on a connection."""


class Cron:
    """Fires the schedules of one schema that this client can make jobs for.

    Args:
        database: Where they are.
        leader: Whether this client goes first.
        own: Those that this client's code and configuration have, to be registered.
        can_make: Tells whether it can make the jobs of a schedule.
        make: Makes one.
        insert: Inserts them.
    """

    def __init__(
        self,
        database: Database,
        leader: Leader,
        own: Mapping[str, ScheduleConfig],
        can_make: Callable[[str, ScheduleConfig], bool],
        make: Make,
        insert: Insert,
    ) -> None:
        self._database = database
        self._leader = leader
        self._own = own
        self._can_make = can_make
        self._make = make
        self._insert = insert
        self._changed = anyio.Event()

    def look_again(self) -> None:
        """Look at once: schedules were changed."""
        self._changed.set()

    async def run(self) -> None:
        """Fire for ever, through every loss of the connection."""
        await keep_trying("schedules", self._run)

    async def _run(self) -> None:
        async with self._database.acquire() as connection:
            await register(self._database, connection, self._own)
        while True:
            self._changed = anyio.Event()
            pause = await self._look()
            with anyio.move_on_after(pause):
                await self._changed.wait()

    async def _look(self) -> float:
        """Fire what is due, and say in how many seconds to look again."""
        async with self._database.acquire() as connection:
            stored = await self._database.schedules.list_schedules(connection)
            pause = LOOK
            for each in stored:
                if each.paused_at is not None or each.next_at is None or (config := self._readable(each)) is None:
                    continue
                due_in = (each.next_at - each.now).total_seconds()
                if not self._leader.is_leading:
                    due_in += random.uniform(*AFTER_THE_LEADER)  # noqa: S311 - jitter, not a secret
                if due_in <= 0:
                    await self._fire(connection, each, each.next_at, config)
                    pause = 0.0
                else:
                    pause = min(pause, due_in)
        return pause

    def _readable(self, stored: StoredSchedule) -> ScheduleConfig | None:
        """Read a schedule that this client can fire; a newer version's is that version's to fire."""
        try:
            config = ScheduleConfig.model_validate_json(stored.definition)
        except WorkerQueueError as error:
            _log.debug("schedule %s can't be read here: %s", stored.name, error)
            return None
        return config if self._can_make(stored.name, config) else None

    async def _fire(
        self, connection: Connection, stored: StoredSchedule, over: datetime, config: ScheduleConfig
    ) -> None:
        """Insert the jobs of the times that are over, unless somebody else does."""
        times = config.due(over, stored.now)
        following = config.when.next_after(stored.now)
        try:
            jobs = [self._make(stored.name, config, at) for at in times]
            async with self._database.begin(connection, TIMEOUT):
                if not await self._database.schedules.advance_schedule(connection, stored.name, over, following, None):
                    return
                if jobs:
                    await self._insert(connection, jobs)
        except DatabaseUnavailableError:
            raise
        except Exception as problem:  # noqa: BLE001 - a function of the application's too; no schedule may stop the others
            error = clean_text(f"{type(problem).__name__}: {problem}", ERROR_BYTES)
            if await self._database.schedules.advance_schedule(connection, stored.name, over, following, error):
                _log.error("Schedule %s inserted nothing for %s: %s", stored.name, over.isoformat(), error)
            return
        if times[:1] != [over]:
            _log.warning(
                "Schedule %s missed times since %s; %d are made up for", stored.name, over.isoformat(), len(times)
            )


async def register(database: Database, connection: Connection, own: Mapping[str, ScheduleConfig]) -> None:
    """Register schedules; one that is there unchanged keeps its next time."""
    if not own:
        return
    stored = {each.name: each for each in await database.schedules.list_schedules(connection)}
    now: datetime = await database.schedules.now(connection)
    for name, config in own.items():
        if name in stored and _same(stored[name], config):
            continue
        if await database.schedules.set_schedule(connection, name, written(config), config.when.next_after(now)):
            _log.info("Schedule %s: %s %s", name, config.cron, config.timezone)


def written(config: ScheduleConfig) -> str:
    """Write a schedule as it is stored: without what is not set."""
    return config.model_dump_json(exclude_none=True, by_alias=True)


def _same(stored: StoredSchedule, config: ScheduleConfig) -> bool:
    try:
        return ScheduleConfig.model_validate_json(stored.definition) == config
    except WorkerQueueError:
        return False
