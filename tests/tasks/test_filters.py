"""Which events fit a filter."""

from __future__ import annotations

import pytest
from pydantic import JsonValue, TypeAdapter

from tasks.filters import matches
from tasks.schemas import EventFilter

EVENT: JsonValue = {
    "plan": "pro",
    "seats": 3,
    "active": True,
    "deleted_at": None,
    "user": {"country": "de", "roles": ["admin", "owner"]},
    "items": [{"sku": "a", "count": 1}, {"sku": "b", "count": 2}],
}

CASES: list[tuple[str, EventFilter, bool]] = [
    ("an empty filter", {}, True),
    ("the value", {"plan": ["pro"]}, True),
    ("one of several values", {"plan": ["team", "pro"]}, True),
    ("another value", {"plan": ["team"]}, False),
    ("an empty list accepts anything", {"plan": []}, True),
    ("a number", {"seats": [3.0]}, True),
    ("another number", {"seats": [4.0]}, False),
    ("a boolean", {"active": [True]}, True),
    ("a boolean is not a number", {"active": [1.0]}, False),
    ("a number is not a boolean", {"seats": [True]}, False),
    ("all fields must fit", {"plan": ["pro"], "seats": [4.0]}, False),
    ("a missing field", {"missing": ["x"]}, False),
    ("a null field", {"deleted_at": ["x"]}, False),
    ("inside an object", {"user": {"country": ["de", "at"]}}, True),
    ("inside an object, another value", {"user": {"country": ["fr"]}}, False),
    ("inside what is not an object", {"plan": {"name": ["pro"]}}, False),
    ("inside what is missing", {"missing": {"name": ["pro"]}}, False),
    ("inside a list, one element fits", {"items": {"sku": ["b"]}}, True),
    ("inside a list, no element fits", {"items": {"sku": ["c"]}}, False),
    ("inside a list, one element fits it all", {"items": {"sku": ["a"], "count": [2.0]}}, False),
    ("inside what is missing, nothing asked", {"missing": {}}, True),
]


@pytest.mark.parametrize(("wanted", "fits"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_matches(wanted: EventFilter, fits: bool) -> None:
    """An event fits when every field named holds one of the values listed."""
    assert matches(EVENT, wanted) is fits


def test_read_from_json() -> None:
    """A filter read from JSON keeps numbers, booleans and text apart."""
    read = TypeAdapter(EventFilter).validate_json('{"seats": [3], "active": [true], "plan": ["pro"]}')
    assert matches(EVENT, read)
