"""Every chore of one client, joined: most are done by the leader alone."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic

import anyio

from workerqueue.database import Connection, Database
from workerqueue.errors import DatabaseError, DatabaseUnavailableError
from workerqueue.maintenance import cleaner, expirer, keys, pruner, reindexer, sweeper, tally, turns
from workerqueue.maintenance.cron import Cron
from workerqueue.maintenance.leader import Leader
from workerqueue.maintenance.partitioner import make_partitions
from workerqueue.maintenance.retention import Retention
from workerqueue.maintenance.scheduler import promote_due_jobs

_log = logging.getLogger("workerqueue.maintenance")


async def run_chores(
    database: Database, leader: Leader, cron: Cron, retention: Retention, poll_interval: float, lease_ttl: float
) -> None:
    """Stand for election and do what there is to do, for ever."""
    by_the_leader: dict[str, tuple[Callable[[], Awaitable[None]], float]] = {
        "sweeper": (partial(sweeper.free_stranded_jobs, database, lease_ttl), sweeper.EVERY),
        "cleaner": (cleaner.Cleaner(database, retention, leader).clean, cleaner.EVERY),
        "expirer": (partial(expirer.expire_values, database), expirer.EVERY),
        "keys": (partial(keys.prune_keys, database), keys.EVERY),
        "pruner": (partial(pruner.prune_clients, database), pruner.EVERY),
        "reindexer": (partial(reindexer.rebuild_bloated_indexes, database), reindexer.EVERY),
    }
    async with anyio.create_task_group() as chores:
        chores.start_soon(leader.stand, Often(database, leader, poll_interval).turn)
        chores.start_soon(make_partitions, database)
        chores.start_soon(cron.run)
        for name, (chore, every) in by_the_leader.items():
            chores.start_soon(leader.repeat, name, chore, every)


class Often:
    """What is done every few seconds, by whoever stands for election on the connection that it holds for that.

    A connection of the pool would cost a dozen statements each time, to be put in order for the next who takes it.
    """

    def __init__(self, database: Database, leader: Leader, poll_interval: float) -> None:
        self._database = database
        self._leader = leader
        self._poll_interval = poll_interval
        self._due: dict[str, float] = {}

    async def turn(self, connection: Connection) -> float:
        """Promote what is due; who leads also sees to turns that stand still, and adds up the tally."""
        pause, has_turns = await promote_due_jobs(self._database, self._leader, self._poll_interval, connection)
        if self._leader.is_leading:
            if has_turns:
                await self._do("turns", turns.EVERY, partial(turns.see_to_stranded_turns, self._database, connection))
            await self._do("tally", tally.EVERY, partial(tally.fold_tally, self._database, connection))
        return pause

    async def _do(self, name: str, every: float, chore: Callable[[], Awaitable[None]]) -> None:
        """Do a chore if its time has come; one that fails waits for its next, and the lead is kept."""
        if self._due.get(name, 0.0) > monotonic():
            return
        self._due[name] = monotonic() + every
        try:
            await chore()
        except DatabaseUnavailableError:
            raise
        except DatabaseError as error:
            _log.warning("%s: %s; trying again in %.0f s", name, error, every)
