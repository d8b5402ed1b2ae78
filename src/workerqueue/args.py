"""What a caller hands in: a job's args, and how they want it inserted."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeGuard, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, JsonValue

from workerqueue.errors import ArgsError, ConfigError
from workerqueue.payload import decode_model, read_json
from workerqueue.retry import RetryPolicy
from workerqueue.unique import Debounce, JobKeyMode, UniqueOpts

NAME_LENGTH = 128
A_NAME = f"1 to {NAME_LENGTH} printable characters"


class JobArgs(BaseModel):
    """The input of one type of job; subclass it and declare `kind()`.

    The kind is stored with every job, so it must not change when the class is renamed. Fields are
    written under their aliases where they have any, and read under either name. Fields that a newer
    producer added are ignored.

    A `SecretStr`, and its kin, is stored as its value, since its worker needs it: whoever can read the table can
    read it. Wherever the job is shown (errors, traces, logs, `repr`, listings) it is asterisks, and so is a field
    that is declared with `Field(repr=False)`. What a worker returns is shown as it is.
    """

    model_config = ConfigDict(
        populate_by_name=True,
        serialize_by_alias=True,
        hide_input_in_errors=True,  # what a job holds must not reach a log through an error's text
        ser_json_inf_nan="constants",  # so that NaN is seen and refused, instead of becoming null unseen
    )

    @classmethod
    @abstractmethod
    def kind(cls) -> str:
        """Name this type of job: 1 to 128 printable characters, such as `startRun`."""

    @classmethod
    def insert_opts(cls) -> InsertOpts | None:
        """Give this class's own settings; the task table and the caller come before them."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class InsertOpts:
    """How to insert one job; what is `None` is inherited, and 0 is a value.

    A setting is looked for here, then in the dynamic queue, the task table, the args class and the
    client's defaults.
    """

    queue: str | None = None
    """A configured queue. The kind's dynamic name is then not used."""
    dynamic_queue: str | None = None
    """The name to wait under inside the job's queue: 1 to 128 printable characters."""
    priority: int | None = None
    """Smaller runs first; any smallint. Default 1."""
    max_attempts: int | None = None
    """How often the job may be started in total, at least 1. Default 3."""
    scheduled_at: datetime | timedelta | float | None = None
    """When to run it: an aware datetime, or a time from now (seconds if a number). The past means now."""
    deadline: datetime | timedelta | float | None = None
    """When nobody wants the job any more, done or not: an aware datetime, or a time from now (seconds if a number).
    It is not started after that, a run that is under way then is cut off, and the job is discarded. Default none."""
    timeout: timedelta | float | None = None
    """How long one attempt may take (seconds if a number). Default 60 s."""
    retry: RetryPolicy | None = None
    """When to try again after a failure; stored on the job. Default exponential."""
    on_discard: JobArgs | None = None
    """Inserted by the very statement that discards this job, in the same commit."""
    tags: Sequence[str] | None = None
    """At most 32 labels of 1 to 255 characters."""
    metadata: Mapping[str, JsonValue] | None = None
    """JSON that travels with the job, at most 64 KiB."""
    pending: bool | None = None
    """Park the job until it is released by hand."""
    job_key: str | None = None
    """A key of the caller's own, 1 to 512 characters: one live job has it at a time, of whatever kind, and
    `client.jobs` finds that job by it. Free again when the job has ended."""
    job_key_mode: JobKeyMode | None = None
    """What becomes of a job that has the key: `keep` (default) leaves it as it is; `replace` makes it this one, with
    attempts and errors starting again; `preserve_run_at` does so, but for its time; `unsafe_dedupe` leaves it as it is,
    also when it has ended and its history is there. A job that is running is never replaced: it runs on without its
    key, and this one is inserted. (graphile-worker's modes.)"""
    unique: UniqueOpts | None = None
    """What makes jobs the same, of which one is live at a time."""
    debounce: Debounce | None = None
    """Run the job of this `job_key` once it has not been inserted again for a while."""
    insert_id: UUID | None = None
    """An id of the caller's own for this insert: within a day, a second insert with it makes no second job, whatever
    became of the first, and gives the job that is there (`duplicate=True`). So it may be repeated when its answer was
    lost; the library does that by itself, within `insert_timeout`."""


def read_args(kind: str, stored: str, classes: Mapping[str, type[JobArgs]]) -> JobArgs | dict[str, JsonValue]:
    """Read args for somebody who looks at a job: as their class where it is known and they fit it, else as JSON."""
    args_class = classes.get(kind)
    if args_class is not None:
        try:
            return decode_model(args_class, stored)
        except ArgsError:  # one must be able to look at a job that no longer fits its class
            pass
    return cast("dict[str, JsonValue]", read_json(stored))


def kind_of(args_class: type[JobArgs]) -> str:
    """Return the kind that a class declares.

    Raises:
        ConfigError: If it declares none, or not 1 to 128 printable characters.
    """
    kind = args_class.kind()
    if not is_name(kind):
        raise ConfigError(f"{args_class.__qualname__}.kind() returned {kind!r}; expected {A_NAME}, such as 'startRun'")
    return kind


def is_name(text: object) -> TypeGuard[str]:
    """Tell whether a value can name a kind or a queue."""
    return isinstance(text, str) and 0 < len(text) <= NAME_LENGTH and text.isprintable() and bool(text.strip())
