"""The 24 args classes: the JSON they write and read, and what they refuse.

`tests/golden/args` has a file per kind: a list of args as they are stored.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import BaseModel, JsonValue, ValidationError

from tasks import schemas, workers
from tasks.emails import ScheduleEmailArgs
from tasks.endpoints import IndexEndpointArgs
from tasks.schemas import CatalogArgs, CatalogModel, EventRule, IntervalOptions, ScheduledPayload
from tests.tasks.examples import EXAMPLES

GOLDEN = Path(__file__).parents[1] / "golden" / "args"

KINDS = sorted(EXAMPLES)


def golden(kind: str) -> list[JsonValue]:
    """Read the golden args of a kind."""
    read: list[JsonValue] = json.loads((GOLDEN / f"{kind}.json").read_text())
    return read


@pytest.mark.req("C2")
@pytest.mark.parametrize("kind", KINDS)
def test_written_as_golden(kind: str) -> None:
    """Args are written in camelCase, what was not set is left out, nested models too."""
    written = [json.loads(args.model_dump_json()) for args in (EXAMPLES[kind].full, *EXAMPLES[kind].others)]
    assert golden(kind) == written


@pytest.mark.req("C2")
@pytest.mark.parametrize("kind", KINDS)
def test_golden_read_back(kind: str) -> None:
    """The golden JSON is read back as the very args it was written from."""
    read = [workers.classes[kind].model_validate(each) for each in golden(kind)]
    assert [EXAMPLES[kind].full, *EXAMPLES[kind].others] == read


def test_every_kind_has_an_example() -> None:
    """The examples and the golden files cover all 24 kinds and nothing else."""
    assert set(workers.classes) == set(EXAMPLES) == {file.stem for file in GOLDEN.iterdir()}
    assert all(kind == EXAMPLES[kind].full.kind() for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_fields_ignored(kind: str) -> None:
    """Fields that a newer producer added are ignored."""
    newer = {**EXAMPLES[kind].full.model_dump(mode="json"), "addedLater": {"by": "a newer producer"}}
    assert EXAMPLES[kind].full == workers.classes[kind].model_validate(newer)


def models() -> list[type[BaseModel]]:
    """List every args class and every nested model."""
    nested = [each for each in vars(schemas).values() if isinstance(each, type) and issubclass(each, CatalogModel)]
    return [*workers.classes.values(), *nested]


@pytest.mark.parametrize("model", models(), ids=lambda model: model.__name__)
def test_optionals_can_be_left_out(model: type[BaseModel]) -> None:
    """Every field that may be null defaults to it, so that leaving it out loses nothing."""
    for name, field in model.model_fields.items():
        if "None" in str(field.annotation) or "JsonValue" in str(field.annotation):
            assert not field.is_required(), f"{model.__name__}.{name}"
            assert field.exclude_if, f"{model.__name__}.{name}"


def test_read_by_either_name() -> None:
    """Args are read by their Python names and by their JSON names."""
    by_name = IndexEndpointArgs.model_validate({"id": "e", "source_data": 1})
    by_alias = IndexEndpointArgs.model_validate({"id": "e", "sourceData": 1})
    assert by_name == by_alias == IndexEndpointArgs(id="e", source_data=1)


def test_null_in_data_is_kept() -> None:
    """A null inside free data is data, and stays."""
    args = IndexEndpointArgs(id="e", source_data={"commit": None})
    assert args.model_dump_json() == '{"id":"e","sourceData":{"commit":null}}'


REFUSED: list[tuple[str, type[CatalogArgs | CatalogModel], dict[str, JsonValue]]] = [
    ("an unknown source", IndexEndpointArgs, {"id": "e", "source": "MAGIC"}),
    ("a number for an id", IndexEndpointArgs, {"id": 1}),
    ("a missing field", ScheduleEmailArgs, {"to": "ada@example.com", "subject": "s", "html": "h"}),
    ("a naive time", ScheduledPayload, {"ts": "2023-06-19T12:00:00"}),
    ("an interval below a minute", IntervalOptions, {"seconds": 59}),
    ("an interval above a day", IntervalOptions, {"seconds": 86_401}),
    ("a filter that is not a list", EventRule, {"event": "e", "source": "s", "payload": {"plan": "pro"}}),
    ("a filter of mixed values", EventRule, {"event": "e", "source": "s", "payload": {"plan": ["pro", 1]}}),
]


@pytest.mark.req("C3", "C5")
@pytest.mark.parametrize(("model", "data"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refused(model: type[BaseModel], data: dict[str, JsonValue]) -> None:
    """Data that does not fit the catalog's types is refused."""
    with pytest.raises(ValidationError):
        model.model_validate(data)
