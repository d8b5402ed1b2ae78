"""The configuration: which queues there are, and which queue, priority, attempts and timeout each kind has.

Read from `queues.toml` and `tasks.toml` in a folder, or built in Python; frozen and checked either way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from workerqueue.args import A_NAME, JobArgs, is_name
from workerqueue.durations import Duration, delay, positive
from workerqueue.errors import ConfigError, near_matches
from workerqueue.rate import read_rate
from workerqueue.retry import RetryPolicy
from workerqueue.schedule_config import ScheduleConfig
from workerqueue.template import QueueTemplate
from workerqueue.toml_tables import read_tables
from workerqueue.unique import UniqueOpts
from workerqueue.validation import Checked

DEFAULT_QUEUE: Final = "default"
DEFAULT_PRIORITY: Final = 1
DEFAULT_MAX_ATTEMPTS: Final = 3
DEFAULT_TIMEOUT: Final = timedelta(seconds=60)

PRIORITIES: Final = range(-(2**15), 2**15)
MAX_ATTEMPTS: Final = range(1, 2**15)
MOST_WORKERS: Final = 10_000

CONFIG_FILES: Final = ("queues.toml", "tasks.toml", "schedules.toml")


def _name(value: object) -> object:
    if not is_name(value):
        raise ValueError(f"expected {A_NAME}, got {value!r}")
    return value


def _template(source: str | Callable[..., str]) -> str | Callable[..., str]:
    QueueTemplate.of(source)
    return source


def _policy(value: object, read: ValidatorFunctionWrapHandler) -> RetryPolicy | None:
    """Read a policy; what it refuses is said with the name of this field."""
    try:
        policy: RetryPolicy | None = read(value)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return policy


def _rate(value: object) -> object:
    read_rate(value)
    return value


Name = Annotated[str, BeforeValidator(_name)]
Age = Annotated[Duration, BeforeValidator(delay)]
Count = Annotated[int, Field(ge=0, le=2**63 - 1, strict=True)]
Limit = Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)]
RateText = Annotated[str, BeforeValidator(_rate)]
Template = Annotated[str | Callable[..., str], AfterValidator(_template)]


class QueueConfig(Checked, BaseModel):
    """One configured queue and the pool of workers that runs its jobs."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    max_workers: int = Field(default=100, ge=1, le=MOST_WORKERS)
    """How many of its jobs one process runs at once."""
    global_limit: Limit | None = None
    """How many of its jobs run at once in all processes together; `None` leaves it to the processes."""
    rate: RateText | None = None
    """How many of its jobs are started at most in any window, in all processes together: `100/m` (s, m, h, d)."""
    burst: Limit | None = None
    """How many of these at once at most, the others as the rate makes up for them; `None` is the rate's own number."""
    fair_by: Template | None = None
    """Whose jobs take turns with whose, a template over the args such as `{tenant}`: one of each, whatever waits."""
    ageing: Annotated[Duration, BeforeValidator(positive)] | None = None
    """How long a job waits for what makes up for one step of priority, so that nothing waits for ever."""
    keep_completed: Age = timedelta(days=1)
    """How long its completed jobs are kept; 0 keeps none."""
    keep_cancelled: Age = timedelta(days=1)
    """How long its cancelled jobs are kept."""
    keep_discarded: Age = timedelta(days=7)
    """How long its discarded jobs are kept."""
    keep_completed_count: Count | None = None
    """How many completed jobs are kept, the newest; `None` is any number. Both hold: a job goes by age, too."""
    keep_cancelled_count: Count | None = None
    """How many cancelled jobs are kept."""
    keep_discarded_count: Count | None = None
    """How many discarded jobs are kept."""

    @cached_property
    def share(self) -> QueueTemplate | None:
        """Whose job it is, as something that renders args."""
        return None if self.fair_by is None else QueueTemplate.of(self.fair_by, "fair_by")

    @property
    def has_rules(self) -> bool:
        """Whether claims do more than to take what comes first."""
        return any((self.global_limit, self.rate, self.fair_by, self.ageing))

    @property
    def tells_apart(self) -> bool:
        """Whether its jobs wait in lanes."""
        return self.fair_by is not None or self.ageing is not None

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        check_burst(self.rate, self.burst)
        return self


def check_burst(rate: str | None, burst: int | None) -> None:
    """Check that a burst has a rate that it is a part of.

    Raises:
        ConfigError: If it has none, or a smaller one.
    """
    if burst is None:
        return
    if rate is None:
        raise ConfigError("burst: expected a rate beside it, of which it is a part")
    if burst > (starts := read_rate(rate).starts):
        raise ConfigError(f"burst: expected at most the {starts} starts of the rate {rate!r}, got {burst}")


class TaskConfig(Checked, BaseModel):
    """One row of the task table; what is `None` is inherited."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    queue: Name | None = None
    """A configured queue."""
    dynamic_queue: Template | None = None
    """The name a job waits under: a template over its args such as `runs-{id}`, or a function of the args."""
    dynamic_limit: int = Field(default=1, ge=1, le=32767, strict=True)
    """How many jobs of one such name may run at once, in all processes together."""
    dynamic_order: Literal["relaxed", "strict"] = "relaxed"
    """Whether a job that will be tried again holds up those behind it in its dynamic queue (`strict`)."""
    local_limit: Limit | None = None
    """How many jobs of this kind one process runs at once."""
    global_limit: Limit | None = None
    """How many jobs of this kind run at once in all processes together."""
    partition_by: Template | None = None
    """What parts the jobs of this kind, a template over the args such as `{tenant}`, or a function of the args."""
    partition_limit: Limit | None = None
    """How many jobs of one part run at once in all processes together; needs `partition_by`."""
    rate: RateText | None = None
    """How many jobs of this kind are started at most in any window, in all processes together: `100/m` (s, m, h, d).
    With `partition_by` it is that many of each part."""
    burst: Limit | None = None
    """How many of these at once at most, the others as the rate makes up for them."""
    priority: int | None = Field(default=None, ge=PRIORITIES.start, lt=PRIORITIES.stop, strict=True)
    """Smaller runs first."""
    max_attempts: int | None = Field(default=None, ge=MAX_ATTEMPTS.start, lt=MAX_ATTEMPTS.stop, strict=True)
    """How often a job may be started in total."""
    timeout: Annotated[Duration, BeforeValidator(positive)] | None = None
    """How long one attempt may take."""
    retry: Annotated[RetryPolicy | None, WrapValidator(_policy)] = None
    """When a failed job is tried again."""
    max_age: Annotated[Duration, BeforeValidator(positive)] | None = None
    """How long after it was due a job may still be started; one that is older is discarded, its worker not called."""
    unique: UniqueOpts | None = None
    """What makes jobs of this kind the same, of which one is live at a time."""
    keep_completed: Age | None = None
    """How long completed jobs of this kind are kept, whatever their queue says."""
    keep_cancelled: Age | None = None
    """How long cancelled ones are kept."""
    keep_discarded: Age | None = None
    """How long discarded ones are kept."""
    keep_completed_count: Count | None = None
    """How many completed jobs of this kind are kept; they don't count among those of their queue then."""
    keep_cancelled_count: Count | None = None
    """How many cancelled ones are kept."""
    keep_discarded_count: Count | None = None
    """How many discarded ones are kept."""

    @cached_property
    def template(self) -> QueueTemplate | None:
        """The dynamic name as something that renders args."""
        return None if self.dynamic_queue is None else QueueTemplate.of(self.dynamic_queue)

    @cached_property
    def partition(self) -> QueueTemplate | None:
        """What parts the jobs, as something that renders args."""
        return None if self.partition_by is None else QueueTemplate.of(self.partition_by, "partition_by")

    @property
    def has_rules(self) -> bool:
        """Whether claims must tell its jobs from others."""
        return any((self.local_limit, self.global_limit, self.partition_limit, self.rate))

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        if self.partition_limit is not None and self.partition_by is None:
            raise ConfigError("TaskConfig: partition_limit: expected partition_by beside it, which says what a part is")
        if self.partition_by is not None and self.partition_limit is None and self.rate is None:
            raise ConfigError(
                "TaskConfig: partition_by: expected partition_limit or rate beside it: it limits nothing by itself"
            )
        check_burst(self.rate, self.burst)
        return self


class Config(Checked, BaseModel):
    """The queues and the task table; without a config there is one queue, `default`, with 100 workers.

    The queue `default` is always there, since kinds without a row wait in it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    queues: Mapping[Name, QueueConfig] = Field(default_factory=dict[str, QueueConfig])
    tasks: Mapping[Name, TaskConfig] = Field(default_factory=dict[str, TaskConfig])
    schedules: Mapping[Name, ScheduleConfig] = Field(default_factory=dict[str, ScheduleConfig])

    _source: str = PrivateAttr(default="task table")
    """Where the task table comes from, for messages."""

    @model_validator(mode="after")
    def _check_schedules(self) -> Self:
        for name, schedule in self.schedules.items():
            if schedule.is_built:
                raise ConfigError(
                    f"[{name}] is_built: only code has functions that make args: use workers.schedule there"
                )
        return self

    @model_validator(mode="after")
    def _check_queues(self) -> Self:
        for kind, task in self.tasks.items():
            if task.queue is not None and task.queue not in self.all_queues:
                raise ConfigError(
                    f"[{kind}] queue: no queue {task.queue!r} is configured; "
                    f"{near_matches(task.queue, self.all_queues)}"
                )
        return self

    @cached_property
    def all_queues(self) -> Mapping[str, QueueConfig]:
        """Every configured queue, `default` included."""
        return {DEFAULT_QUEUE: QueueConfig(), **self.queues}

    def __eq__(self, other: object) -> bool:
        # Where a configuration comes from makes no difference.
        return isinstance(other, Config) and (self.queues, self.tasks, self.schedules) == (
            other.queues,
            other.tasks,
            other.schedules,
        )

    __hash__ = None  # type: ignore[assignment]  # what holds mappings has no hash; this is how Python says so

    def task(self, kind: str) -> TaskConfig:
        """Give a kind's row; a kind without one has a row that inherits everything."""
        return self.tasks.get(kind, _NO_ROW)

    def check_class(self, args_class: type[JobArgs], kind: str) -> None:
        """Check that a kind's template fits its args class.

        Raises:
            ConfigError: If a field of the template is missing on the class, optional or not a plain value.
        """
        row = self.task(kind)
        for setting, template in (("dynamic_queue", row.template), ("partition_by", row.partition)):
            if template is None:
                continue
            try:
                template.check(args_class)
            except ValueError as error:
                raise ConfigError(f"{self._source} [{kind}] {setting}: {error}") from None

    @classmethod
    def load(cls, folder: str | Path) -> Config:
        """Read `queues.toml`, `tasks.toml` and `schedules.toml` from a folder; each may be missing, not all.

        Raises:
            ConfigError: Naming the file, the table and the field of what can't be right.
        """
        folder = Path(folder)
        queues, tasks, schedules = (folder / name for name in CONFIG_FILES)
        if not any(each.is_file() for each in (queues, tasks, schedules)):
            raise ConfigError(f"no configuration in {str(folder)!r}: expected queues.toml or tasks.toml there")
        plans = read_tables(schedules, ScheduleConfig)
        known_queues = read_tables(queues, QueueConfig)
        rows = read_tables(tasks, TaskConfig)
        try:
            config = Config(queues=known_queues, tasks=rows, schedules=plans)
        except ConfigError as error:
            raise ConfigError(f"{tasks} {error}") from None
        config._source = str(tasks)
        return config


_NO_ROW: Final = TaskConfig()
