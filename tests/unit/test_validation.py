"""Pydantic's refusals in this library's words."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import AfterValidator, BaseModel, Field, ValidationError
from pydantic.dataclasses import dataclass

from workerqueue import ConfigError
from workerqueue.validation import Checked, explain, path_of


def refuse_seven(value: int) -> int:
    """Refuse one value in words of its own."""
    if value == 7:
        raise ValueError("seven is taken")
    return value


class Part(BaseModel):
    size: Annotated[int, AfterValidator(refuse_seven)] = Field(default=1, ge=1)
    names: list[str] = []


class Whole(BaseModel):
    part: Part
    note: str = ""


class CheckedModel(Checked, BaseModel):
    size: int = Field(ge=1)


@dataclass
class CheckedDataclass(Checked):
    size: Annotated[int, Field(ge=1)] = 1
    limit: Annotated[int, Field(ge=1)] = 1


@pytest.mark.parametrize(
    ("location", "root", "path"),
    [
        ((), "", ""),
        ((), "args", "args"),
        (("a",), "", "a"),
        (("a",), "args", "args.a"),
        (("job", "events", 3, "name"), "args", "args.job.events[3].name"),
        ((0, "a"), "", "[0].a"),
        (("a", 0, 1), "tags", "tags.a[0][1]"),
    ],
)
def test_a_location_is_written_as_code_would(location: tuple[int | str, ...], root: str, path: str) -> None:
    """Fields follow a dot, places stand in brackets."""
    assert path_of(location, root) == path


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({}, "part: Field required"),
        ({"part": {"size": 0}}, "part.size: Input should be greater than or equal to 1, got 0"),
        ({"part": {"size": 7}}, "part.size: seven is taken"),
        ({"part": {"names": ["a", 2]}}, "part.names[1]: Input should be a valid string, got 2"),
        (
            {"part": {"size": "x"}, "note": 1.5},
            (
                "part.size: Input should be a valid integer, unable to parse string as an integer, got 'x'; "
                "note: Input should be a valid string, got 1.5"
            ),
        ),
    ],
    ids=["missing", "number", "own words", "in a list", "two"],
)
def test_a_refusal_is_one_line_with_path_and_value(data: object, text: str) -> None:
    """Each fault has its path, what was expected and what came; several are parted by semicolons."""
    with pytest.raises(ValidationError) as refusal:
        Whole.model_validate(data)
    assert explain(refusal.value) == text


def test_the_values_may_be_left_out() -> None:
    """What a job holds is not repeated."""
    with pytest.raises(ValidationError) as refusal:
        Whole.model_validate({"part": {"size": "s3cret"}})
    assert "s3cret" not in explain(refusal.value, with_input=False)
    assert "s3cret" in explain(refusal.value)


def test_a_checked_class_refuses_as_a_configuration() -> None:
    """Models and dataclasses raise ConfigError with their name, by keyword and by place."""
    for make, text in (
        (lambda: CheckedModel(size=0), "CheckedModel: size: Input should be greater than or equal to 1, got 0"),
        (lambda: CheckedModel.model_validate([1]), "CheckedModel: "),
        (lambda: CheckedDataclass(size=0), "CheckedDataclass: size: "),
        (lambda: CheckedDataclass(1, 0), "CheckedDataclass: limit: "),
    ):
        with pytest.raises(ConfigError) as refusal:
            make()
        assert str(refusal.value).startswith(text)
        assert refusal.value.__cause__ is None


def test_a_checked_class_takes_what_is_right() -> None:
    """Nothing changes for good values."""
    assert (CheckedModel(size=2).size, CheckedDataclass(3, limit=4)) == (2, CheckedDataclass(3, 4))
