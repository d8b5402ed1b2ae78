"""What `client.jobs` is: a reader of jobs, a control of single ones, and what cleans up behind many."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta

from workerqueue.database import Database, let_others_run
from workerqueue.durations import Duration, delay, positive
from workerqueue.errors import ConfigError, ContextError
from workerqueue.events import Event
from workerqueue.job import JobState
from workerqueue.job_context import current_context
from workerqueue.job_control import JobControl
from workerqueue.maintenance.cleaner import clean
from workerqueue.maintenance.retention import FINAL, Retention
from workerqueue.telling import Teller
from workerqueue.worker import Workers


class Jobs(JobControl):
    """Looks at the jobs of one client's schema, handles them by hand, and cleans up behind them."""

    def __init__(self, database: Database, workers: Workers, lease_ttl: timedelta, teller: Teller) -> None:
        super().__init__(database, workers, teller)
        self._lease_ttl = lease_ttl

    async def clean(
        self,
        *,
        older_than: Duration,
        states: Collection[JobState | str] = FINAL,
        queues: Collection[str] | None = None,
        limit: int | None = None,
    ) -> dict[str, dict[JobState, int]]:
        """Delete finalized jobs now, whatever retention is configured, and say how many of each queue and state.

        Args:
            older_than: How long ago they were finalized, at least (seconds if a number).
            states: Delete those of these states: `completed`, `cancelled`, `discarded`.
            queues: Delete those of these queues, configured or dynamic; by default of all.
            limit: Delete at most so many.

        Raises:
            ContextError: If the current context has a tenant: it would delete those of others.
            ConfigError: If a state is not one of these three, or the age or the limit is negative.
            DatabaseUnavailableError: If the database does not answer; what was deleted before stays deleted.
        """
        if current_context().tenant is not None:
            raise ContextError("clean is for all tenants; call it in no tenant's context, or use delete_many")
        age = _setting("older_than", older_than, delay)
        if limit is not None and limit < 0:
            raise ConfigError(f"limit: expected 0 or more, got {limit}")
        if isinstance(queues, str):
            raise ConfigError(f"queues: expected a collection of names, got {queues!r}; write [{queues!r}]")
        rules = Retention.by_hand(age, _final(states), queues)
        deleted: dict[str, dict[JobState, int]] = {}
        for (queue, state), count in (await clean(self._database, rules, limit)).items():
            deleted.setdefault(queue, {})[JobState(state)] = count
        return deleted

    async def rescue(self, *, older_than: Duration | None = None) -> int:
        """Free the jobs of dead clients now, and say how many; working clients do so by themselves.

        Args:
            older_than: Take for dead who has not beaten for so long (seconds if a number); by default the client's
                `lease_ttl`. Less than the fleet's beats need declares the living dead.
        """
        age = self._lease_ttl if older_than is None else _setting("older_than", older_than, positive)
        async with self._database.acquire() as connection:
            rescued = await self._database.jobs.rescue_jobs(connection, age.total_seconds())
            await let_others_run(self._database, connection, rescued.turns)
            await self._tell(connection, [Event(type_, job, kind, "") for type_, job, kind in rescued.happened])
        return rescued.returned + rescued.discarded


def _final(states: Collection[JobState | str]) -> list[JobState]:
    known = [state.value for state in FINAL]
    given = [states] if isinstance(states, str) else states
    for state in given:
        if state not in known:
            raise ConfigError(f"states: only finalized jobs are deleted, and {str(state)!r} is not one of {known}")
    return [JobState(state) for state in given]


def _setting(name: str, value: Duration, check: Callable[[object], timedelta]) -> timedelta:
    try:
        return check(value)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None
