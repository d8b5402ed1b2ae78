"""When to try again: policies that are stored on the job, all of them pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, PlainSerializer, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from workerqueue.durations import Duration, as_timedelta, not_negative, positive
from workerqueue.errors import ConfigError
from workerqueue.validation import Checked, explain

LONGEST = timedelta(days=365)
"""No policy waits longer: a delay beyond it could not be added to a timestamp."""


def _seconds(value: Duration) -> float:
    return as_timedelta(value).total_seconds()


Span = Annotated[Duration, BeforeValidator(not_negative), PlainSerializer(_seconds)]
PositiveSpan = Annotated[Duration, BeforeValidator(positive), PlainSerializer(_seconds)]
Jitter = Annotated[float, Field(ge=0, le=1)]

# Kept in rows and written in TOML, so the keys carry their unit there and not in Python.
_CONFIG = ConfigDict(populate_by_name=True, extra="forbid")


@dataclass(frozen=True, config=_CONFIG)
class Fixed(Checked):
    """Wait the same after every failure."""

    delay: Span = Field(
        default=timedelta(seconds=30), validation_alias="delay_seconds", serialization_alias="delay_seconds"
    )
    jitter: Jitter = 0.0
    policy: Literal["fixed"] = Field(default="fixed", kw_only=True, repr=False)

    def base_delay(self, attempt: int) -> timedelta:
        """Give the delay after this attempt, before jitter."""
        del attempt
        return as_timedelta(self.delay)


@dataclass(frozen=True, config=_CONFIG)
class Exponential(Checked):
    """Wait `base · factor^(n-1)` after the n-th failure, at most `maximum`."""

    base: PositiveSpan = Field(
        default=timedelta(seconds=5), validation_alias="base_seconds", serialization_alias="base_seconds"
    )
    factor: Annotated[float, Field(ge=1, le=100)] = 2.0
    maximum: PositiveSpan = Field(
        default=timedelta(hours=1), validation_alias="maximum_seconds", serialization_alias="maximum_seconds"
    )
    jitter: Jitter = 0.1
    policy: Literal["exponential"] = Field(default="exponential", kw_only=True, repr=False)

    def base_delay(self, attempt: int) -> timedelta:
        """Give the delay after this attempt (from 1), before jitter."""
        return _capped(lambda: _seconds(self.base) * self.factor ** (attempt - 1), self.maximum)


@dataclass(frozen=True, config=_CONFIG)
class Polynomial(Checked):
    """Wait `base · n^power` after the n-th failure; the defaults are River's `n⁴` seconds ± 10 %."""

    base: PositiveSpan = Field(
        default=timedelta(seconds=1), validation_alias="base_seconds", serialization_alias="base_seconds"
    )
    power: Annotated[float, Field(gt=0, le=10)] = 4.0
    maximum: PositiveSpan = Field(
        default=timedelta(days=30), validation_alias="maximum_seconds", serialization_alias="maximum_seconds"
    )
    jitter: Jitter = 0.1
    policy: Literal["polynomial"] = Field(default="polynomial", kw_only=True, repr=False)

    def base_delay(self, attempt: int) -> timedelta:
        """Give the delay after this attempt (from 1), before jitter."""
        return _capped(lambda: _seconds(self.base) * float(attempt) ** self.power, self.maximum)


@dataclass(frozen=True, config=_CONFIG)
class Delays(Checked):
    """Wait what the list says after each failure; its last entry serves all later ones."""

    delays: Annotated[tuple[Span, ...], Field(min_length=1, max_length=100)] = Field(
        validation_alias="delays_seconds", serialization_alias="delays_seconds"
    )
    jitter: Jitter = 0.0
    policy: Literal["delays"] = Field(default="delays", kw_only=True, repr=False)

    def base_delay(self, attempt: int) -> timedelta:
        """Give the delay after this attempt (from 1), before jitter."""
        return as_timedelta(self.delays[min(attempt, len(self.delays)) - 1])


RetryPolicy = Annotated[Fixed | Exponential | Polynomial | Delays, Discriminator("policy")]
"""When a failed job is tried again. A rule in code is the worker's own `next_retry(job)`."""

DEFAULT_RETRY: RetryPolicy = Exponential()

POLICIES = (Fixed, Exponential, Polynomial, Delays)
POLICY_DURATIONS = frozenset({"delay", "base", "maximum", "delays"})
"""The fields of policies that are durations; where they are stored or written in TOML, `_seconds` follows."""

_POLICY: TypeAdapter[RetryPolicy] = TypeAdapter(RetryPolicy)


def delay_after(policy: RetryPolicy, attempt: int, random: Callable[[], float]) -> timedelta:
    """Give the delay after this attempt (from 1).

    Drawn evenly from `base ± base · jitter`, so that jobs that failed together do not come back together.
    `random` draws from [0, 1).
    """
    spread = policy.jitter * (2 * random() - 1)
    base = min(policy.base_delay(max(attempt, 1)), LONGEST)
    return min(base * (1 + spread), LONGEST)


def write_policy(policy: RetryPolicy) -> str:
    """Write a policy as it is stored on a job."""
    return _POLICY.dump_json(policy, by_alias=True).decode()


def read_policy(stored: str | None) -> RetryPolicy:
    """Read what `write_policy` wrote; a job without a policy of its own has the default one.

    Raises:
        ConfigError: If it is no policy, as plain SQL can store it.
    """
    if stored is None:
        return DEFAULT_RETRY
    try:
        return _POLICY.validate_json(stored)
    except ValidationError as error:
        raise ConfigError(f"retry: {explain(error)}") from None


def _capped(seconds: Callable[[], float], maximum: Duration) -> timedelta:
    cap = min(as_timedelta(maximum), LONGEST)
    try:
        return timedelta(seconds=min(seconds(), cap.total_seconds()))
    except OverflowError:  # factor ** attempt leaves the floats long after it has passed every cap
        return cap
