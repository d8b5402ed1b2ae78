"""Whether an event fits a filter (pure): the rule by which dispatchers choose their events."""

from __future__ import annotations

from pydantic import JsonValue

from tasks.schemas import EventFilter


def matches(value: JsonValue, wanted: EventFilter) -> bool:
    """Tell whether every field that a filter names holds one of the values it lists.

    An empty list accepts anything. A filter on the inside of a list asks for one element that fits.
    """
    return all(_field_matches(_field(value, name), condition) for name, condition in wanted.items())


def _field(value: JsonValue, name: str) -> JsonValue:
    return value.get(name) if isinstance(value, dict) else None


def _field_matches(value: JsonValue, condition: list[str] | list[float] | list[bool] | EventFilter) -> bool:
    if isinstance(condition, list):
        return not condition or any(_same(value, accepted) for accepted in condition)
    if isinstance(value, list):
        return any(matches(element, condition) for element in value)
    return matches(value, condition)


def _same(value: JsonValue, accepted: str | float | bool) -> bool:
    # In Python True == 1; in JSON they are different values.
    return value == accepted and isinstance(value, bool) == isinstance(accepted, bool)
