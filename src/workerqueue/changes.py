"""What `client.jobs.update` changes of a job: checked as an insert is, and written for the statement."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from pydantic import JsonValue, ValidationError

from workerqueue.args import JobArgs, kind_of
from workerqueue.config import MAX_ATTEMPTS, PRIORITIES
from workerqueue.errors import ArgsError
from workerqueue.option_values import due_option, integer_option, timeout_option
from workerqueue.payload import check_tags, encode_metadata, encode_model, encode_plain, invalid_args

OF_RUNNING = frozenset({"tags", "metadata"})
"""What may be changed of a job that runs."""


def written_changes(
    *,
    priority: int | None,
    scheduled_at: datetime | timedelta | float | None,
    max_attempts: int | None,
    timeout: timedelta | float | None,
    tags: Sequence[str] | None,
    metadata: Mapping[str, JsonValue] | None,
) -> dict[str, object]:
    """Check what is to change beside args, and write it as the statement reads it.

    Raises:
        OptionError: If a value can't be right.
        ArgsError: If tags or metadata can't be stored.
    """
    said: dict[str, object] = {}
    if priority is not None:
        said["priority"] = integer_option("priority", PRIORITIES, priority)
    if max_attempts is not None:
        said["max_attempts"] = integer_option("max_attempts", MAX_ATTEMPTS, max_attempts)
    if timeout is not None:
        said["timeout_seconds"] = timeout_option(timeout).total_seconds()
    if scheduled_at is not None:
        at, delay = due_option(scheduled_at)
        said |= {"delay_seconds": delay.total_seconds()} if at is None else {"scheduled_at": at.isoformat()}
    if tags is not None:
        said["tags"] = list(check_tags(tags)) or None
    if metadata is not None:
        said["metadata"] = json.loads(encode_metadata(metadata)) if metadata else None
    return said


def written_args(args: JobArgs | Mapping[str, object], kind: str, args_class: type[JobArgs] | None) -> object:
    """Check new args of a job of some kind, and write them as the statement reads them.

    Raises:
        ArgsError: If they are another kind's, do not validate or can't be stored.
    """
    if isinstance(args, JobArgs):
        if kind_of(type(args)) != kind:
            raise ArgsError("args", f"expected those of a {kind!r}, got {type(args).__name__}")
        return json.loads(encode_model(args))
    if args_class is None:
        return json.loads(encode_plain(args)[0])
    try:
        return json.loads(encode_model(args_class.model_validate(args)))
    except ValidationError as error:
        raise invalid_args(error) from None
