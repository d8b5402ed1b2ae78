"""Names of dynamic queues: a template over the args, or a function of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import Field

from workerqueue import ArgsError, JobArgs
from workerqueue.template import QueueTemplate


class Colour(Enum):
    RED = "red"


class Size(IntEnum):
    LARGE = 3


class Shape(StrEnum):
    ROUND = "round"


class Weight(Enum):
    LIGHT = 1.5


class RunArgs(JobArgs):
    id: str = Field(min_length=0)
    number: int = 7
    uuid: UUID = UUID(int=1)
    colour: Colour = Colour.RED
    size: Size = Size.LARGE
    shape: Shape = Shape.ROUND
    weight: Weight = Weight.LIGHT
    rate: float = 1.5
    note: str | None = None
    parts: list[str] = Field(default=[])
    endpoint_id: str = Field(default="e1", alias="endpointId")

    @classmethod
    def kind(cls) -> str:
        return "run"


class RequiredArgs(JobArgs):
    id: str
    number: int
    uuid: UUID
    colour: Colour
    shape: Shape
    short: Annotated[str, Field(max_length=10)]
    either: Literal["a", "b"]
    endpoint_id: str = Field(alias="endpointId")
    optional: str | None
    defaulted: str = "x"
    rate: float
    parts: list[str]

    @classmethod
    def kind(cls) -> str:
        return "required"


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("runs-{id}", "runs-r1"),
        ("{id}", "r1"),
        ("{id}:{number}", "r1:7"),
        ("n-{number}", "n-7"),
        ("u-{uuid}", "u-00000000-0000-0000-0000-000000000001"),
        ("c-{colour}", "c-red"),
        ("s-{size}", "s-3"),
        ("s-{shape}", "s-round"),
        ("e-{endpoint_id}", "e-e1"),
        ("e-{endpointId}", "e-e1"),
        ("{{{id}}}", "{r1}"),
        ("{id}-after", "r1-after"),
    ],
)
def test_a_template_renders_fields_of_the_args(template: str, name: str) -> None:
    """Text, integers, UUIDs and enums have one spelling each, under the field's name or its alias."""
    assert QueueTemplate.of(template).render(RunArgs(id="r1")) == name


@pytest.mark.parametrize(
    ("payload", "name"),
    [({"id": "r1"}, "runs-r1"), ({"id": 12, "other": None}, "runs-12")],
    ids=["text", "integer"],
)
def test_a_template_renders_plain_json(payload: Mapping[str, object], name: str) -> None:
    """A payload whose class is not known here gives the same name."""
    assert QueueTemplate.of("runs-{id}").render(payload) == name


@pytest.mark.parametrize(
    ("template", "args", "path"),
    [
        ("runs-{missing}", RunArgs(id="r1"), "args.missing"),
        ("runs-{note}", RunArgs(id="r1"), "args.note"),
        ("runs-{rate}", RunArgs(id="r1"), "args.rate"),
        ("runs-{parts}", RunArgs(id="r1"), "args.parts"),
        ("runs-{weight}", RunArgs(id="r1"), "args.weight"),
        ("runs-{id}", {}, "args.id"),
        ("runs-{id}", {"id": None}, "args.id"),
        ("runs-{id}", {"id": {"a": 1}}, "args.id"),
        ("{id}", RunArgs(id=""), "args"),
        ("{id}", RunArgs(id="   "), "args"),
        ("runs-{id}", RunArgs(id="a\nb"), "args"),
        ("runs-{id}", RunArgs(id="a\0"), "args"),
        ("runs-{id}", RunArgs(id="x" * 124), "args"),
        ("runs-{id}", RunArgs(id="x" * 100_000), "args"),
    ],
    ids=[
        "missing",
        "optional and not there",
        "float",
        "list",
        "enum of a float",
        "missing in JSON",
        "null in JSON",
        "object in JSON",
        "empty",
        "white space",
        "line break",
        "NUL",
        "129 characters",
        "far too long",
    ],
)
def test_args_that_give_no_name_are_refused(template: str, args: Any, path: str) -> None:
    """A name that is not 1 to 128 printable characters, or lacks a part, is refused with its path, in a short text."""
    with pytest.raises(ArgsError) as refusal:
        QueueTemplate.of(template).render(args)
    assert refusal.value.path == path
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize("length", [1, 123])
def test_a_name_may_have_128_characters(length: int) -> None:
    """The longest legal name passes."""
    assert QueueTemplate.of("runs-{id}").render(RunArgs(id="x" * length)) == "runs-" + "x" * length


def test_a_function_gives_the_name() -> None:
    """In Python the name may be computed from the args by a function."""

    def name(args: RunArgs) -> str:
        return f"runs-{args.id.upper()}"

    template = QueueTemplate.of(name)
    assert (template.render(RunArgs(id="r1")), template.fields) == ("runs-R1", [])


@pytest.mark.parametrize("given", ["", " ", "x" * 129, "a\tb", None, 7], ids=repr)
def test_a_function_that_gives_no_name_is_refused(given: Any) -> None:
    """What a function returns is held to the rules of names."""

    def name(args: RunArgs) -> str:
        return given  # type: ignore[no-any-return]

    with pytest.raises(ArgsError, match=r"^args: the dynamic queue's function gave .*; expected 1 to 128 printable"):
        QueueTemplate.of(name).render(RunArgs(id="r1"))


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("runs", "a template with a field"),
        ("", "a template with a field"),
        ("runs-{{id}}", "a template with a field"),
        ("runs-{}", "plain fields"),
        ("runs-{0}", "plain fields"),
        ("runs-{a.b}", "plain fields"),
        ("runs-{a[0]}", "plain fields"),
        ("runs-{id:>3}", "plain fields"),
        ("runs-{id!r}", "plain fields"),
        ("runs-{id", "expected"),
        ("runs-id}", "encountered"),
    ],
)
def test_a_template_that_cannot_be_right_is_refused(source: str, problem: str) -> None:
    """Only literal text and plain fields make a template, and at least one field."""
    with pytest.raises(ValueError, match=problem):
        QueueTemplate.of(source)


@pytest.mark.parametrize("source", ["runs-{id", "runs-id}", "runs-{}"])
def test_a_refused_template_is_shown(source: str) -> None:
    """The reader of a table sees which template can't be read."""
    with pytest.raises(ValueError, match=r".") as refusal:
        QueueTemplate.of(source)
    assert repr(source) in str(refusal.value)


@pytest.mark.parametrize(
    "template",
    [
        "{id}",
        "{number}",
        "{uuid}",
        "{colour}",
        "{shape}",
        "{short}",
        "{either}",
        "{endpoint_id}",
        "{endpointId}",
        "{id}-{number}",
    ],
)
def test_a_template_fits_a_class_whose_fields_are_always_there(template: str) -> None:
    """Required text, integers, UUIDs and enums can name a queue."""
    QueueTemplate.of(template).check(RequiredArgs)
    assert QueueTemplate.of(template).fields == template.strip("{}").split("}-{")


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{idd}", "no such field; did you mean 'id'?"),
        ("{id}-{endpointID}", "no such field"),
        ("{optional}", "RequiredArgs.optional is not a required"),
        ("{defaulted}", "RequiredArgs.defaulted is not a required"),
        ("{rate}", "RequiredArgs.rate is not a required"),
        ("{parts}", "RequiredArgs.parts is not a required"),
    ],
)
def test_a_template_that_does_not_fit_its_class_is_refused(template: str, problem: str) -> None:
    """A field that is missing, optional or no plain value is found when configuration and class meet."""
    with pytest.raises(ValueError, match="uses") as refusal:
        QueueTemplate.of(template).check(RequiredArgs)
    assert problem in str(refusal.value)


def test_a_function_fits_every_class() -> None:
    """Nothing is known of a function before it is called."""
    function: Callable[..., str] = str
    QueueTemplate.of(function).check(RequiredArgs)
    assert QueueTemplate.of(function).function is function
