"""Typed background jobs over PostgreSQL, inserted in your own transaction."""

from workerqueue.args import InsertOpts, JobArgs
from workerqueue.client import Client, current_client
from workerqueue.config import Config, QueueConfig, TaskConfig
from workerqueue.database import migrate
from workerqueue.errors import (
    ArgsError,
    ConfigError,
    ContextError,
    DatabaseError,
    DatabaseUnavailableError,
    DuplicateKindError,
    InsertError,
    JobNotFoundError,
    JobWaitTimeout,
    LockHeldError,
    LockLostError,
    MigrationError,
    NotInTransactionError,
    OptionError,
    SchemaError,
    StaleRunError,
    UnknownKindError,
    UnknownQueueError,
    UnknownScheduleError,
    WorkerError,
    WorkerQueueError,
)
from workerqueue.events import Event
from workerqueue.job import AttemptError, ControlResult, InsertResult, Job, JobState
from workerqueue.job_context import context, current_context
from workerqueue.job_reader import JobPage
from workerqueue.outcome import JobCancel, JobDiscard, JobRetry, JobSnooze
from workerqueue.priority import Priority
from workerqueue.retry import Delays, Exponential, Fixed, Polynomial
from workerqueue.schedules import Schedule
from workerqueue.unique import Debounce, UniqueOpts
from workerqueue.worker import Worker, Workers

__all__ = [
    "ArgsError",
    "AttemptError",
    "Client",
    "Config",
    "ConfigError",
    "ContextError",
    "ControlResult",
    "DatabaseError",
    "DatabaseUnavailableError",
    "Debounce",
    "Delays",
    "DuplicateKindError",
    "Event",
    "Exponential",
    "Fixed",
    "InsertError",
    "InsertOpts",
    "InsertResult",
    "Job",
    "JobArgs",
    "JobCancel",
    "JobDiscard",
    "JobNotFoundError",
    "JobPage",
    "JobRetry",
    "JobSnooze",
    "JobState",
    "JobWaitTimeout",
    "LockHeldError",
    "LockLostError",
    "MigrationError",
    "NotInTransactionError",
    "OptionError",
    "Polynomial",
    "Priority",
    "QueueConfig",
    "Schedule",
    "SchemaError",
    "StaleRunError",
    "TaskConfig",
    "UniqueOpts",
    "UnknownKindError",
    "UnknownQueueError",
    "UnknownScheduleError",
    "Worker",
    "WorkerError",
    "WorkerQueueError",
    "Workers",
    "context",
    "current_client",
    "current_context",
    "migrate",
]
