"""Every chore of one client, joined: most are done by the leader alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import anyio

from workerqueue.database import Database
from workerqueue.maintenance import cleaner, expirer, keys, pruner, reindexer, sweeper, tally, turns
from workerqueue.maintenance.cron import Cron
from workerqueue.maintenance.leader import Leader
from workerqueue.maintenance.partitioner import make_partitions
from workerqueue.maintenance.retention import Retention
from workerqueue.maintenance.scheduler import promote_due_jobs


async def run_chores(
    database: Database, leader: Leader, cron: Cron, retention: Retention, poll_interval: float, lease_ttl: float
) -> None:
    """Stand for election and do what there is to do, for ever."""
    by_the_leader: dict[str, tuple[Callable[[], Awaitable[None]], float]] = {
        "turns": (partial(turns.see_to_stranded_turns, database), turns.EVERY),
        "sweeper": (partial(sweeper.free_stranded_jobs, database, lease_ttl), sweeper.EVERY),
        "cleaner": (cleaner.Cleaner(database, retention, leader).clean, cleaner.EVERY),
        "expirer": (partial(expirer.expire_values, database), expirer.EVERY),
        "keys": (partial(keys.prune_keys, database), keys.EVERY),
        "tally": (partial(tally.fold_tally, database), tally.EVERY),
        "pruner": (partial(pruner.prune_clients, database), pruner.EVERY),
        "reindexer": (partial(reindexer.rebuild_bloated_indexes, database), reindexer.EVERY),
    }
    async with anyio.create_task_group() as chores:
        chores.start_soon(leader.stand, partial(promote_due_jobs, database, leader, poll_interval))
        chores.start_soon(make_partitions, database)
        chores.start_soon(cron.run)
        for name, (chore, every) in by_the_leader.items():
            chores.start_soon(leader.repeat, name, chore, every)
