"""The configuration: which queues there are, and which queue, priority, attempts and timeout each kind has.

Read from `queues.toml` and `tasks.toml` in a folder, or built in Python; frozen and checked either way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Self

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
from workerqueue.retry import RetryPolicy
from workerqueue.template import QueueTemplate
from workerqueue.toml_tables import read_tables
from workerqueue.validation import Checked

DEFAULT_QUEUE: Final = "default"
DEFAULT_PRIORITY: Final = 1
DEFAULT_MAX_ATTEMPTS: Final = 3
DEFAULT_TIMEOUT: Final = timedelta(seconds=60)

PRIORITIES: Final = range(-(2**15), 2**15)
MAX_ATTEMPTS: Final = range(1, 2**15)


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


Name = Annotated[str, BeforeValidator(_name)]
Age = Annotated[Duration, BeforeValidator(delay)]
Count = Annotated[int, Field(ge=0, le=2**63 - 1, strict=True)]


class QueueConfig(Checked, BaseModel):
    """One configured queue and the pool of workers that runs its jobs."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    max_workers: int = Field(default=100, ge=1, le=10_000)
    """How many of its jobs one process runs at once."""
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


class TaskConfig(Checked, BaseModel):
    """One row of the task table; what is `None` is inherited."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    queue: Name | None = None
    """A configured queue."""
    dynamic_queue: Annotated[str | Callable[..., str], AfterValidator(_template)] | None = None
    """The name a job waits under: a template over its args such as `runs-{id}`, or a function of the args."""
    priority: int | None = Field(default=None, ge=PRIORITIES.start, lt=PRIORITIES.stop, strict=True)
    """Smaller runs first."""
    max_attempts: int | None = Field(default=None, ge=MAX_ATTEMPTS.start, lt=MAX_ATTEMPTS.stop, strict=True)
    """How often a job may be started in total."""
    timeout: Annotated[Duration, BeforeValidator(positive)] | None = None
    """How long one attempt may take."""
    retry: Annotated[RetryPolicy | None, WrapValidator(_policy)] = None
    """When a failed job is tried again."""
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


class Config(Checked, BaseModel):
    """The queues and the task table; without a config there is one queue, `default`, with 100 workers.

    The queue `default` is always there, since kinds without a row wait in it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    queues: Mapping[Name, QueueConfig] = Field(default_factory=dict[str, QueueConfig])
    tasks: Mapping[Name, TaskConfig] = Field(default_factory=dict[str, TaskConfig])

    _source: str = PrivateAttr(default="task table")
    """Where the task table comes from, for messages."""

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
        return isinstance(other, Config) and (self.queues, self.tasks) == (other.queues, other.tasks)

    __hash__ = None  # type: ignore[assignment]  # what holds mappings has no hash; this is how Python says so

    def task(self, kind: str) -> TaskConfig:
        """Give a kind's row; a kind without one has a row that inherits everything."""
        return self.tasks.get(kind, _NO_ROW)

    def check_class(self, args_class: type[JobArgs], kind: str) -> None:
        """Check that a kind's template fits its args class.

        Raises:
            ConfigError: If a field of the template is missing on the class, optional or not a plain value.
        """
        template = self.task(kind).template
        if template is None:
            return
        try:
            template.check(args_class)
        except ValueError as error:
            raise ConfigError(f"{self._source} [{kind}] dynamic_queue: {error}") from None

    @classmethod
    def load(cls, folder: str | Path) -> Config:
        """Read `queues.toml` and `tasks.toml` from a folder; either may be missing, not both.

        Raises:
            ConfigError: Naming the file, the table and the field of what can't be right.
        """
        folder = Path(folder)
        queues, tasks = folder / "queues.toml", folder / "tasks.toml"
        if not queues.is_file() and not tasks.is_file():
            raise ConfigError(f"no configuration in {str(folder)!r}: expected queues.toml or tasks.toml there")
        known_queues = read_tables(queues, QueueConfig)
        rows = read_tables(tasks, TaskConfig)
        try:
            config = Config(queues=known_queues, tasks=rows)
        except ConfigError as error:
            raise ConfigError(f"{tasks} {error}") from None
        config._source = str(tasks)
        return config


_NO_ROW: Final = TaskConfig()
