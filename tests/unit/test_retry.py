"""When a failed job is tried again: pure arithmetic, stored with the job."""

from __future__ import annotations

import json
import math
import tomllib
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from workerqueue import ConfigError, Delays, Exponential, Fixed, Polynomial, TaskConfig
from workerqueue.retry import DEFAULT_RETRY, LONGEST, RetryPolicy, delay_after, read_policy, write_policy


def seconds(policy: RetryPolicy, attempt: int, drawn: float = 0.5) -> float:
    """The delay in seconds where the random number is this; 0.5 is the middle, without jitter."""
    return delay_after(policy, attempt, lambda: drawn).total_seconds()


DELAYS: dict[str, tuple[RetryPolicy, list[float]]] = {
    "fixed by default 30 s": (Fixed(), [30, 30, 30, 30]),
    "fixed": (Fixed(2.5), [2.5, 2.5, 2.5, 2.5]),
    "fixed at 0": (Fixed(0), [0, 0, 0, 0]),
    "exponential by default from 5 s": (Exponential(), [5, 10, 20, 40]),
    "exponential": (Exponential(timedelta(seconds=2), factor=3), [2, 6, 18, 54]),
    "exponential, capped": (Exponential(60, maximum=100), [60, 100, 100, 100]),
    "exponential with factor 1": (Exponential(7, factor=1), [7, 7, 7, 7]),
    "exponential with a base beyond its cap": (Exponential(60, maximum=10), [10, 10, 10, 10]),
    "polynomial by default River's": (Polynomial(), [1, 16, 81, 256]),
    "polynomial": (Polynomial(10, power=2), [10, 40, 90, 160]),
    "polynomial, capped": (Polynomial(10, power=1, maximum=25), [10, 20, 25, 25]),
    "delays, the last serves all later ones": (Delays((1, timedelta(minutes=1), 3)), [1, 60, 3, 3]),
    "delays of one": (Delays((9,)), [9, 9, 9, 9]),
}


@pytest.mark.parametrize("case", DELAYS)
def test_each_policy_waits_what_it_says(case: str) -> None:
    """The delays after the first four failures."""
    policy, expected = DELAYS[case]
    assert [seconds(policy, attempt) for attempt in (1, 2, 3, 4)] == expected


@pytest.mark.parametrize("case", DELAYS)
def test_an_attempt_below_1_counts_as_the_first(case: str) -> None:
    """A number that no attempt has can't make a delay that no policy gives."""
    policy, expected = DELAYS[case]
    assert [seconds(policy, attempt) for attempt in (0, -5)] == [expected[0], expected[0]]


@pytest.mark.parametrize(
    ("policy", "least", "middle", "most"),
    [
        (Fixed(100, jitter=0.25), 75, 100, 125),
        (Fixed(100), 100, 100, 100),
        (Fixed(100, jitter=1), 0, 100, 200),
        (Exponential(100), 90, 100, 110),
        (Polynomial(100), 90, 100, 110),
        (Delays((100,), jitter=0.5), 50, 100, 150),
        (Delays((100,)), 100, 100, 100),
    ],
    ids=["fixed", "fixed by default", "all of it", "exponential", "polynomial", "delays", "delays by default"],
)
def test_jitter_spreads_the_delay_to_both_sides(policy: RetryPolicy, least: float, middle: float, most: float) -> None:
    """Jobs that failed together come back between base − jitter and base + jitter."""
    drawn = [seconds(policy, 1, draw) for draw in (0.0, 0.5, 1.0)]
    assert drawn == pytest.approx([least, middle, most])


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Exponential(), 3600),
        (Exponential(factor=100, maximum=timedelta.max), LONGEST.total_seconds()),
        (Exponential(1e-6, factor=1.0001, maximum=50), 0.022),
        (Polynomial(), 30 * 86400),
        (Polynomial(power=10, maximum=timedelta.max), LONGEST.total_seconds()),
        (Delays((1, 2)), 2),
        (Fixed(), 30),
    ],
    ids=["exponential", "no cap", "slow growth", "polynomial", "polynomial, no cap", "delays", "fixed"],
)
def test_the_hundred_thousandth_attempt_overflows_nothing(policy: RetryPolicy, expected: float) -> None:
    """A delay stays within its cap however often a job failed."""
    assert seconds(policy, 100_000) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("attempt", [1, 100_000])
@pytest.mark.parametrize(
    "policy",
    [
        Fixed(timedelta.max, jitter=1),
        Fixed(timedelta(days=10_000)),
        Exponential(timedelta.max, maximum=timedelta.max, jitter=1),
        Polynomial(timedelta.max, maximum=timedelta.max, jitter=1),
        Delays((timedelta.max,), jitter=1),
    ],
    ids=["fixed", "fixed without jitter", "exponential", "polynomial", "delays"],
)
def test_no_policy_waits_longer_than_the_longest(policy: RetryPolicy, attempt: int) -> None:
    """A delay can always be added to a timestamp, its jitter included."""
    assert delay_after(policy, attempt, lambda: 0.9999) <= LONGEST


STORED: dict[str, tuple[RetryPolicy, dict[str, object]]] = {
    "fixed": (
        Fixed(timedelta(minutes=2), jitter=0.5),
        {"policy": "fixed", "delay_seconds": 120.0, "jitter": 0.5},
    ),
    "exponential": (
        Exponential(1.5, factor=3, maximum=60, jitter=0),
        {"policy": "exponential", "base_seconds": 1.5, "factor": 3.0, "maximum_seconds": 60.0, "jitter": 0.0},
    ),
    "polynomial": (
        Polynomial(2, power=1.5, maximum=timedelta(days=1)),
        {"policy": "polynomial", "base_seconds": 2.0, "power": 1.5, "maximum_seconds": 86400.0, "jitter": 0.1},
    ),
    "delays": (
        Delays((1, timedelta(milliseconds=1))),
        {"policy": "delays", "delays_seconds": [1.0, 0.001], "jitter": 0.0},
    ),
}


@pytest.mark.parametrize("case", STORED)
def test_a_policy_is_stored_with_its_units_and_read_back_equal(case: str) -> None:
    """The keys of the stored form carry the unit; nothing is lost on the way."""
    policy, stored = STORED[case]
    assert json.loads(write_policy(policy)) == stored
    assert read_policy(write_policy(policy)) == policy


@pytest.mark.parametrize("case", STORED)
def test_a_policy_in_toml_is_the_stored_form(case: str) -> None:
    """A row of the task table writes a policy with the same keys."""
    policy, stored = STORED[case]
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in stored.items())
    assert TaskConfig.model_validate({"retry": tomllib.loads(lines)}) == TaskConfig(retry=policy)


def test_a_job_without_a_policy_has_the_default_one() -> None:
    """Nothing stored means exponential, from 5 s, doubling, to an hour, ± 10 %."""
    assert read_policy(None) == DEFAULT_RETRY == Exponential(5, factor=2, maximum=3600, jitter=0.1)


REFUSED: dict[str, tuple[Any, dict[str, Any], str, str]] = {
    "negative delay": (Fixed, {"delay": -1}, "delay", "-1"),
    "text for a delay": (Fixed, {"delay": "30"}, "delay", "'30'"),
    "truth value for a delay": (Fixed, {"delay": True}, "delay", "True"),
    "infinite delay": (Fixed, {"delay": math.inf}, "delay", "inf"),
    "negative jitter": (Fixed, {"jitter": -0.1}, "jitter", "-0.1"),
    "jitter above 1": (Fixed, {"jitter": 1.1}, "jitter", "1.1"),
    "jitter that is no number": (Fixed, {"jitter": math.nan}, "jitter", "nan"),
    "base of 0": (Exponential, {"base": 0}, "base", "0"),
    "factor below 1": (Exponential, {"factor": 0.5}, "factor", "0.5"),
    "factor above 100": (Exponential, {"factor": 101}, "factor", "101"),
    "maximum of 0": (Exponential, {"maximum": 0}, "maximum", "0"),
    "power of 0": (Polynomial, {"power": 0}, "power", "0"),
    "power above 10": (Polynomial, {"power": 11}, "power", "11"),
    "no delays": (Delays, {"delays": ()}, "delays", "at least 1"),
    "101 delays": (Delays, {"delays": (1,) * 101}, "delays", "at most 100"),
    "a negative one of the delays": (Delays, {"delays": (1, -2)}, "delays", "-2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_policy_that_cannot_be_right_is_refused(case: str) -> None:
    """The refusal is a ConfigError that names the policy, the field, and what came."""
    policy, values, field, came = REFUSED[case]
    with pytest.raises(ConfigError) as refusal:
        policy(**values)
    message = str(refusal.value)
    assert message.startswith(f"{policy.__name__}: {field}")
    assert came in message


def test_a_positional_value_is_refused_under_its_fields_name() -> None:
    """`Fixed(-1)` is refused as `delay`, not as a number of the parameter."""
    with pytest.raises(ConfigError, match=r"^Fixed: delay: .*-1"):
        Fixed(-1)
    with pytest.raises(ConfigError, match=r"^Delays: delays\[1\]: .*-2"):
        Delays((1, -2))


@pytest.mark.parametrize(
    "table",
    [{}, {"policy": "sometimes"}, {"policy": "fixed", "every": 3}, {"policy": "delays"}, "fixed", 30],
    ids=["no policy named", "unknown policy", "unknown key", "missing key", "a text", "a number"],
)
def test_a_policy_in_a_row_that_cannot_be_right_is_refused(table: Any) -> None:
    """What is not one of the four policies is refused, naming the row's field."""
    with pytest.raises(ConfigError, match="retry"):
        TaskConfig.model_validate({"retry": table})


@pytest.mark.parametrize("policy", [policy for policy, _ in STORED.values()], ids=list(STORED))
def test_a_policy_is_frozen(policy: Any) -> None:
    """A policy can be shared between jobs: it never changes."""
    with pytest.raises((AttributeError, ValidationError)):
        policy.jitter = 0.9
