"""One schedule as it is configured and stored: what it inserts, when, and what becomes of times that were missed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from workerqueue.args import A_NAME, InsertOpts, is_name
from workerqueue.durations import Duration, positive
from workerqueue.errors import ConfigError
from workerqueue.retry import RetryPolicy
from workerqueue.schedule import Cron, read_cron
from workerqueue.unique import JobKeyMode
from workerqueue.validation import Checked

LATE: Final = timedelta(minutes=1)
"""A time that is over for longer was missed."""
MOST_MISSED: Final = 100
"""Of the times that were missed, so many are made up for at most: the latest."""

MOST_STEPS: Final = 5_000
"""Times that are looked for behind the first at most."""


def _name(value: object) -> object:
    if not is_name(value):
        raise ValueError(f"expected {A_NAME}, got {value!r}")
    return value


Name = Annotated[str, BeforeValidator(_name)]


class ScheduleConfig(Checked, BaseModel):
    """What one schedule inserts, and when."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_timedelta="float")

    kind: Name
    """The kind of its jobs."""
    cron: str
    """5 fields (minute, hour, day, month, weekday), 6 with seconds first, or an alias such as `@daily`."""
    timezone: str = "UTC"
    """Whose clocks it means: an IANA name such as `Europe/Berlin`."""
    args: Mapping[str, JsonValue] = Field(default_factory=dict[str, JsonValue], repr=False)
    """The args of every job."""
    missed: Literal["skip", "one", "all"] = "one"
    """What becomes of times at which nobody worked: nothing, one job for all, or a job for each (100 at most)."""
    is_built: bool = False
    """Whether a function makes the args for each time."""
    queue: Name | None = None
    dynamic_queue: Name | None = None
    priority: int | None = None
    max_attempts: int | None = None
    timeout: Annotated[Duration, BeforeValidator(positive)] | None = None
    retry: RetryPolicy | None = None
    tags: tuple[str, ...] | None = None
    metadata: Mapping[str, JsonValue] | None = None
    job_key: str | None = None
    job_key_mode: JobKeyMode | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        try:
            read_cron(self.cron, self.timezone)
        except ValueError as error:
            which = "timezone" if "time zone" in str(error) else "cron"
            raise ConfigError(f"ScheduleConfig: {which}: {error}") from None
        return self

    @property
    def when(self) -> Cron:
        """The cron expression in its zone."""
        return read_cron(self.cron, self.timezone)

    def opts(self, name: str, occurrence: datetime) -> InsertOpts:
        """Give how the job of one time is inserted: due at that time, which it carries."""
        return InsertOpts(
            queue=self.queue,
            dynamic_queue=self.dynamic_queue,
            priority=self.priority,
            max_attempts=self.max_attempts,
            timeout=self.timeout,
            retry=self.retry,
            tags=self.tags,
            metadata={**(self.metadata or {}), "schedule": name, "occurrence": occurrence.isoformat()},
            job_key=self.job_key,
            job_key_mode=self.job_key_mode,
            scheduled_at=occurrence,
        )

    def due(self, first: datetime, now: datetime) -> list[datetime]:
        """Give the times to insert jobs for, from the first that is not over yet to now."""
        over = [first]
        for _ in range(MOST_STEPS):
            following = self.when.next_after(over[-1])
            if following is None or following > now:
                break
            over = [*over, following][-MOST_MISSED:]
        else:  # every second of a month: who could not keep up then starts anew
            over = [each for each in self.when.list_after(now - LATE, MOST_MISSED) if each <= now] or over
        on_time = [each for each in over if each > now - LATE]
        match self.missed:
            case "skip":
                return on_time
            case "one":
                return on_time or over[-1:]
            case "all":
                return over
