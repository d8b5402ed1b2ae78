"""How long finalized jobs are kept and how many of them: the configuration as the cleaner's statements read it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from workerqueue.config import Config, QueueConfig, TaskConfig
from workerqueue.durations import as_timedelta
from workerqueue.job import JobState

FINAL = tuple(state for state in JobState if state.is_final)


@dataclass(frozen=True)
class Retention:
    """Rules, by kind before queue before what holds for all."""

    ages: str
    """Seconds, as JSON."""
    counts: str | None
    """Numbers of jobs, as JSON, where any is given."""
    shortest: float
    longest: float
    """Seconds."""

    @classmethod
    def of(cls, config: Config) -> Self:
        """Read them from a configuration."""
        defaults = _ages(QueueConfig())
        queues = {name: _ages(queue) for name, queue in config.all_queues.items()}
        kinds = {name: _ages(task) for name, task in config.tasks.items()}
        every = [seconds for rules in (defaults, *queues.values(), *kinds.values()) for seconds in rules.values()]
        counts = {
            "queues": _without_empty({name: _counts(queue) for name, queue in config.all_queues.items()}),
            "kinds": _without_empty({name: _counts(task) for name, task in config.tasks.items()}),
        }
        return cls(
            ages=json.dumps({"all": defaults, "queues": queues, "kinds": _without_empty(kinds)}),
            counts=json.dumps(counts) if any(counts.values()) else None,
            shortest=min(every),
            longest=max(every),
        )

    @classmethod
    def by_hand(cls, older_than: timedelta, states: Iterable[JobState], queues: Collection[str] | None) -> Self:
        """Give rules for jobs of some states, in all queues or some, whatever is configured."""
        seconds = older_than.total_seconds()
        rule = {state.value: seconds for state in states}
        ages = {"all": rule} if queues is None else {"queues": dict.fromkeys(queues, rule)}
        return cls(json.dumps(ages), None, seconds, seconds)


def _ages(config: QueueConfig | TaskConfig) -> dict[str, float]:
    ages = {
        JobState.COMPLETED: config.keep_completed,
        JobState.CANCELLED: config.keep_cancelled,
        JobState.DISCARDED: config.keep_discarded,
    }
    return {state.value: as_timedelta(age).total_seconds() for state, age in ages.items() if age is not None}


def _counts(config: QueueConfig | TaskConfig) -> dict[str, int]:
    counts = {
        JobState.COMPLETED: config.keep_completed_count,
        JobState.CANCELLED: config.keep_cancelled_count,
        JobState.DISCARDED: config.keep_discarded_count,
    }
    return {state.value: count for state, count in counts.items() if count is not None}


def _without_empty(rules: Mapping[str, dict[str, int]] | Mapping[str, dict[str, float]]) -> dict[str, object]:
    return {name: rule for name, rule in rules.items() if rule}
