"""Calls the statements of the path as a claimant would who has no rules: what tests of single statements need."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from workerqueue.database import Claim, Claimant, Connection, Finished, HandedOver, Mark, Recorded
from workerqueue.database.jobs import JobTable


async def claim_jobs(
    jobs: JobTable,
    connection: Connection,
    *,
    lease: int,
    client: str,
    number: int,
    wanted: Mapping[str, int],
    kinds: Sequence[str],
    limits: Mapping[str, int] | None = None,
    strict: Collection[str] = (),
    pools: Sequence[str] | None = None,
    marks: Mapping[str, Sequence[Mark]] | None = None,
) -> Claim:
    """Claim as a client of that number; it works the wanted pools, unless `pools` says more."""
    claimant = Claimant(client, number, list(wanted) if pools is None else pools, kinds, limits or {}, strict)
    return await jobs.claim_jobs(connection, claimant, lease=lease, wanted=wanted, marks=marks)


async def hand_over(
    jobs: JobTable,
    connection: Connection,
    queues: Collection[str],
    *,
    lease: int = 0,
    client: str = "",
    number: int | None = None,
    pools: Sequence[str] = (),
    kinds: Sequence[str] = (),
) -> HandedOver:
    """See to the next jobs of dynamic queues, as a client that can run them, or as somebody who can't."""
    return await jobs.hand_over(connection, queues, _taker(client, number, pools, kinds), lease=lease)


async def record(
    jobs: JobTable,
    connection: Connection,
    runs: Sequence[Finished],
    *,
    lease: int = 0,
    client: str = "",
    number: int | None = None,
    pools: Sequence[str] = (),
    kinds: Sequence[str] = (),
) -> Recorded:
    """Write how runs ended, as the completer does: those of dynamic queues apart from the rest."""
    plain = [run for run in runs if run.job.queue is None]
    accepted = await jobs.record_outcomes(connection, plain) if plain else set[int]()
    turns = [run for run in runs if run.job.queue is not None]
    if not turns:
        return Recorded(accepted, [], ())
    recorded = await jobs.record_turns(connection, turns, _taker(client, number, pools, kinds), lease=lease)
    return recorded._replace(accepted=accepted | recorded.accepted)


def _taker(client: str, number: int | None, pools: Sequence[str], kinds: Sequence[str]) -> Claimant | None:
    if number is None:
        return None
    return Claimant(client, number, pools, kinds, plain_pools=pools, plain_kinds=kinds)
