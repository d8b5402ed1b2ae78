"""What makes two inserts one job: unique options, keys of the caller's own, debounce; and how a key is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Annotated, Final, Literal, NamedTuple, Self, TypeGuard, cast

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from workerqueue.durations import Duration, as_timedelta, positive
from workerqueue.errors import ConfigError, OptionError, brief, near_matches
from workerqueue.job_context import current_context
from workerqueue.validation import Checked

LIVE: Final = ("available", "scheduled", "pending", "running", "retryable")
STATES: Final = (*LIVE, "completed", "cancelled", "discarded")
KEY_LENGTH: Final = 512

JobKeyMode = Literal["keep", "replace", "preserve_run_at", "unsafe_dedupe"]
MODES: Final = ("keep", "replace", "preserve_run_at", "unsafe_dedupe")

_BETWEEN: Final = "\x1f"
"""Stands between the parts of a key as it is stored: nothing printable holds it."""
_CONFIG: Final = ConfigDict(populate_by_name=True, extra="forbid")


def _state(value: object) -> object:
    if isinstance(value, str) or not isinstance(value, Collection):
        raise ValueError(f"expected a collection of states, got {value!r}")
    states = [str(each) for each in cast("Collection[object]", value)]
    for each in states:
        if each not in STATES:
            raise ValueError(f"no state {each!r}; {near_matches(each, STATES)}")
    return frozenset(states)


def _scope(value: object) -> object:
    parts = [] if value == "" else [part.strip() for part in value.split(",")] if isinstance(value, str) else [""]
    if not set(parts) <= {"tenant", "kind"}:
        raise ValueError(f"expected 'tenant,kind', 'tenant', 'kind' or '', got {value!r}")
    return ",".join(sorted(set(parts), reverse=True))


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class UniqueOpts(Checked):
    """What makes jobs the same: of those that are, one is live at a time; an insert of another gives the one there.

    By default all jobs of a kind (and tenant) are the same. River's rules of this name, but that a job which has
    ended blocks no other unless `by_state` or `ttl` says so.
    """

    by_args: bool = False
    """Only those whose args are equal, whatever the order of their fields."""
    by_fields: tuple[str, ...] | None = None
    """Only those that are equal in these fields of their args."""
    by_queue: bool = False
    """Only those that wait in the same queue; a dynamic name is one."""
    by_period: Annotated[Duration, BeforeValidator(positive)] | None = Field(
        default=None, validation_alias="by_period_seconds"
    )
    """Only those inserted in the same period, such as an hour, counted from the epoch by the database's clock."""
    by_state: Annotated[Sequence[str] | AbstractSet[str], BeforeValidator(_state)] = frozenset(LIVE)
    """The states in which a job blocks others; by default while it is live."""
    ttl: Annotated[Duration, BeforeValidator(positive)] | None = Field(default=None, validation_alias="ttl_seconds")
    """How long a job blocks others after it has ended, even when its history is deleted."""
    scope: Annotated[str, BeforeValidator(_scope)] = "tenant,kind"
    """Within what: `tenant,kind`, `tenant`, `kind`, or nothing (an empty text: everywhere)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.by_args and self.by_fields is not None:
            raise ConfigError("UniqueOpts: by_fields: expected it without by_args, which means every field")
        if self.by_fields is not None and not self.by_fields:
            raise ConfigError("UniqueOpts: by_fields: expected at least one field")
        if not self.by_state and self.ttl is None:
            raise ConfigError("UniqueOpts: by_state: expected at least one state, or a ttl: else it keeps nothing out")
        return self


@dataclass(frozen=True, config=_CONFIG)
class Debounce(Checked):
    """Run a key's job once it has not been inserted again for a while.

    Every insert under its `job_key` puts the job that waits off by `window`, and gives it the newest args. What is
    inserted while the job runs makes the next one, so nothing is lost.
    """

    window: Annotated[Duration, BeforeValidator(positive)]
    """How long nothing must have been inserted (seconds if a number)."""
    max_wait: Annotated[Duration, BeforeValidator(positive)] | None = None
    """How long after the first insert it runs at the latest; `None` is any time."""
    gather: str | None = None
    """A list among the args in which those of all these inserts come one after the other; `None` keeps the newest."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_wait is not None and as_timedelta(self.max_wait) < as_timedelta(self.window):
            raise ConfigError(
                f"Debounce: max_wait: expected at least the window {self.window!r}, got {self.max_wait!r}"
            )
        return self


class Replacing(NamedTuple):
    """What an insert does with a job that waits under its key."""

    keeps_time: bool = False
    """Whether that job's time stays."""
    latest_seconds: float | None = None
    """How long after its first insert it is due at the latest."""
    gather: str | None = None
    """The list of the args in which both come one after the other."""


class Key(NamedTuple):
    """A key that an insert takes."""

    text: str
    """As it is stored; the period follows, where there is one."""
    states: Collection[str] = LIVE
    """The states in which a job that has it blocks the insert."""
    period_seconds: float | None = None
    ttl_seconds: float | None = None
    replacing: Replacing | None = None
    """What becomes of a job that waits under it; `None` keeps it as it is."""


def current_tenant() -> str:
    """Give the tenant in whose scope keys are; without one they are in a scope of their own."""
    return current_context().tenant or ""


def scoped(key: str) -> str:
    """Write a key in the scope of the current tenant."""
    return f"{current_tenant()}{_BETWEEN}{key}"


def key_text(job_key: str) -> str:
    """Write a caller's key as it is stored.

    Raises:
        OptionError: If it is not 1 to 512 characters that PostgreSQL can hold.
    """
    if not is_key(job_key):
        raise OptionError(f"job_key: expected text of 1 to {KEY_LENGTH} characters, got {brief(job_key)}")
    return f"job{_BETWEEN}{scoped(job_key)}"


def key_of(job_key: str, mode: JobKeyMode | None, debounce: Debounce | None) -> Key:
    """Give the key of an insert that names one.

    Raises:
        OptionError: If the key or the mode can't be right.
    """
    text = key_text(job_key)
    if mode is not None and mode not in MODES:
        raise OptionError(f"job_key_mode: expected one of {', '.join(MODES)}, got {brief(mode)}")
    if debounce is not None:
        if mode not in (None, "replace"):
            raise OptionError(f"job_key_mode: a debounce replaces what waits, got {mode!r}")
        latest = None if debounce.max_wait is None else as_timedelta(debounce.max_wait).total_seconds()
        return Key(text, replacing=Replacing(latest_seconds=latest, gather=debounce.gather))
    if mode in ("replace", "preserve_run_at"):
        return Key(text, replacing=Replacing(keeps_time=mode == "preserve_run_at"))
    return Key(text, states=STATES if mode == "unsafe_dedupe" else LIVE)


def unique_key(opts: UniqueOpts, kind: str, queue: str, args_json: str) -> Key:
    """Give the key that unique options make of a job.

    Raises:
        OptionError: If one of `by_fields` is not among the args.
    """
    scope = opts.scope.split(",")
    parts: dict[str, object] = {"kind": kind if "kind" in scope else None}
    if opts.by_args:
        parts["args"] = json.loads(args_json)
    if opts.by_fields is not None:
        parts["fields"] = _fields(json.loads(args_json), opts.by_fields)
    if opts.by_queue:
        parts["queue"] = queue
    written = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    digest = hashlib.blake2b(written.encode(), digest_size=16).hexdigest()
    tenant = current_tenant() if "tenant" in scope else ""
    return Key(
        _BETWEEN.join(("unique", tenant, digest)),
        states=opts.by_state,
        period_seconds=_seconds(opts.by_period),
        ttl_seconds=_seconds(opts.ttl),
    )


def _fields(args: Mapping[str, object], names: tuple[str, ...]) -> dict[str, object]:
    for name in names:
        if name not in args:
            raise OptionError(f"unique.by_fields: the args have no {name!r} in their JSON; {near_matches(name, args)}")
    return {name: args[name] for name in names}


def _seconds(value: timedelta | float | None) -> float | None:
    return None if value is None else as_timedelta(value).total_seconds()


def is_key(key: object) -> TypeGuard[str]:
    """Tell whether a value can be a key: 1 to 512 characters that PostgreSQL can hold."""
    if not isinstance(key, str) or not 0 < len(key) <= KEY_LENGTH:
        return False
    return "\x00" not in key and _BETWEEN not in key and not any("\ud800" <= each <= "\udfff" for each in key)
