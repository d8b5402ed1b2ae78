"""What PostgreSQL can hold passes; the rest is refused with its path, or cleaned where nothing may be refused."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from workerqueue import ArgsError, JobArgs
from workerqueue.payload import (
    MAX_ARGS_BYTES,
    MAX_METADATA_BYTES,
    MAX_OUTPUT_BYTES,
    check_tags,
    clean_text,
    decode_model,
    encode_json,
    encode_model,
    read_json,
)

KIB = 1024
LONE_SURROGATE = "\ud800"


class Reading(BaseModel):
    """A nested model whose own settings say nothing of NaN."""

    name: str = ""
    rate: float = 0.0


class Batch(BaseModel):
    events: list[Reading]


@dataclasses.dataclass
class Point:
    x: float


class Marked(Enum):
    NUL = "a\0b"
    BIG = 2**63


class Document(JobArgs):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    value: JsonValue = None
    reading: Reading | None = None
    job: Batch | None = None
    point: Point | None = None
    raw: bytes = b""
    place: pathlib.PurePosixPath = pathlib.PurePosixPath("a")
    marked: Marked | None = None
    window: deque[Reading] = Field(default=deque())
    by_key: dict[str, float] = Field(default={})
    numbers: set[float] = Field(default=set())
    run_id: str = Field(default="", alias="runId")

    @classmethod
    def kind(cls) -> str:
        return "document"


def nested_lists(levels: int) -> Any:
    """Lists in lists, so many levels deep."""
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


def nested_objects(levels: int) -> Any:
    """Objects in objects, so many levels deep."""
    value: Any = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def list_in_itself() -> Any:
    """A list that holds itself."""
    value: list[Any] = []
    value.append(value)
    return value


def object_in_itself() -> Any:
    """An object that holds itself."""
    value: dict[str, Any] = {}
    value["self"] = value
    return value


def events(count: int, last: Reading) -> Batch:
    """So many events, the last one given."""
    return Batch(events=[*(Reading(name=f"event {n}") for n in range(count - 1)), last])


REFUSED_ARGS: dict[str, tuple[dict[str, Any], str, str]] = {
    "NUL in a value": ({"value": {"a": ["b", "c\0"]}}, "args.value.a[1]", "NUL"),
    "NUL in a key": ({"value": {"k\0": 1}}, "args.value.'k\\x00'", "NUL"),
    "NUL in a nested model": ({"job": events(4, Reading(name="\0"))}, "args.job.events[3].name", "NUL"),
    "NUL in bytes": ({"raw": b"a\0b"}, "args.raw", "NUL"),
    "NUL in a path": ({"place": pathlib.PurePosixPath("a\0b")}, "args.place", "NUL"),
    "NUL in an enum's value": ({"marked": Marked.NUL}, "args.marked", "NUL"),
    "NUL under an alias": ({"runId": "\0"}, "args.runId", "NUL"),
    "lone surrogate in a value": ({"value": ["ok", LONE_SURROGATE]}, "args.value[1]", "lone surrogate"),
    "lone surrogate in a key": ({"value": {LONE_SURROGATE: 1}}, "args.value.'\\ud800'", "lone surrogate"),
    "lone surrogate in a nested model": (
        {"job": events(2, Reading(name=LONE_SURROGATE))},
        "args.job.events[1].name",
        "lone surrogate",
    ),
    "NaN": ({"value": {"x": math.nan}}, "args.value.x", "finite"),
    "Infinity": ({"value": [1, math.inf]}, "args.value[1]", "finite"),
    "-Infinity": ({"value": -math.inf}, "args.value", "finite"),
    "1e400": ({"value": 1e400}, "args.value", "finite"),
    "NaN in a nested model": ({"reading": Reading(rate=math.nan)}, "args.reading.rate", "finite"),
    "Infinity in a nested model": ({"job": events(3, Reading(rate=math.inf))}, "args.job.events[2].rate", "finite"),
    "NaN in a dataclass": ({"point": Point(math.nan)}, "args.point.x", "finite"),
    "NaN in a typed mapping": ({"by_key": {"a": 1.0, "b": math.nan}}, "args.by_key.b", "finite"),
    "NaN in a model in a deque": (
        {"window": deque([Reading(), Reading(rate=math.nan)])},
        "args.window[1].rate",
        "finite",
    ),
    "NaN in a set": ({"numbers": {math.nan}}, "args.numbers[0]", "finite"),
    "2**63": ({"value": 2**63}, "args.value", "64 bits"),
    "-2**63 - 1": ({"value": [-(2**63) - 1]}, "args.value[0]", "64 bits"),
    "2**63 in an enum's value": ({"marked": Marked.BIG}, "args.marked", "64 bits"),
    "5000 digits": ({"value": {"n": 10**5000}}, "args.value.n", "64 bits"),
    "nested 65 levels in lists": ({"value": nested_lists(64)}, "args.value" + "[0]" * 63, "64 levels"),
    "nested 65 levels in objects": ({"value": nested_objects(64)}, "args.value" + ".a" * 63, "64 levels"),
}


@pytest.mark.parametrize("case", REFUSED_ARGS)
def test_args_that_cannot_be_stored_are_refused_with_their_path(case: str) -> None:
    """What PostgreSQL can't hold, or a reader can't read back, is refused and the path to it named."""
    fields, path, problem = REFUSED_ARGS[case]
    args = Document(**fields)
    with pytest.raises(ArgsError) as refusal:
        encode_model(args)
    assert (refusal.value.path, problem in str(refusal.value)) == (path, True), str(refusal.value)
    assert str(refusal.value).startswith(f"{path}: ")


@pytest.mark.parametrize("levels", [66, 130, 300, 5000])
@pytest.mark.parametrize("nested", [nested_lists, nested_objects])
def test_args_nested_far_too_deep_are_refused(nested: Callable[[int], Any], levels: int) -> None:
    """Nesting past any library's own limit is our refusal too, whatever breaks first."""
    with pytest.raises(ArgsError, match="64 levels") as refusal:
        encode_model(Document.model_construct(value=nested(levels)))
    assert refusal.value.path.startswith("args")
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize("make", [list_in_itself, object_in_itself])
def test_args_that_hold_themselves_are_refused(make: Callable[[], Any]) -> None:
    """Data that refers to itself has no JSON and is refused."""
    with pytest.raises(ArgsError) as refusal:
        encode_model(Document.model_construct(value=make()))
    assert refusal.value.path.startswith("args")


REFUSED_VALUES: dict[str, tuple[Callable[[], object], str | None, str]] = {
    "NUL": (lambda: "a\0", "", "NUL"),
    "NUL in a key": (lambda: {"a": {"k\0": 1}}, ".a.'k\\x00'", "NUL"),
    "NUL in bytes": (lambda: {"a": b"\0"}, ".a", "NUL"),
    "NUL in a model": (lambda: Reading(name="\0"), ".name", "NUL"),
    "NUL in a listed model": (lambda: [Reading(), Reading(name="\0")], "[1].name", "NUL"),
    "lone surrogate": (lambda: [LONE_SURROGATE], "[0]", "lone surrogate"),
    "lone surrogate in a listed model": (lambda: [Reading(name=LONE_SURROGATE)], "[0].name", "lone surrogate"),
    "NaN": (lambda: math.nan, "", "finite"),
    "Infinity": (lambda: (1.0, math.inf), "[1]", "finite"),
    "NaN in a model": (lambda: Reading(rate=math.nan), ".rate", "finite"),
    "NaN in a model in an object": (lambda: {"a": Reading(rate=math.nan)}, ".a.rate", "finite"),
    "NaN in a dataclass": (lambda: [Point(math.nan)], "[0].x", "finite"),
    "NaN in a model in a deque": (lambda: deque([Reading(rate=math.nan)]), "[0].rate", "finite"),
    "2**63": (lambda: {"n": 2**63}, ".n", "64 bits"),
    "-2**63 - 1": (lambda: -(2**63) - 1, "", "64 bits"),
    "nested 65 levels": (lambda: nested_lists(65), "[0]" * 64, "64 levels"),
    "nested 5000 levels": (lambda: nested_objects(5000), None, "64 levels"),
    "a list that holds itself": (list_in_itself, None, "levels of nesting"),
    "an object that holds itself": (object_in_itself, None, "levels of nesting"),
    "no JSON": (lambda: {"a": object()}, None, "JSON"),
    "bytes that are no UTF-8": (lambda: [b"\xff"], None, "JSON"),
}


@pytest.mark.parametrize("root", ["output", "metadata"])
@pytest.mark.parametrize("case", REFUSED_VALUES)
def test_outputs_and_metadata_obey_the_rules_of_args(case: str, root: str) -> None:
    """A plain value under any root is held to the same rules, models and dataclasses inside it too."""
    make, path, problem = REFUSED_VALUES[case]
    with pytest.raises(ArgsError) as refusal:
        encode_json(make(), root, MAX_OUTPUT_BYTES)
    assert problem in str(refusal.value)
    if path is None:
        assert refusal.value.path.startswith(root)
    else:
        assert refusal.value.path == root + path


ACCEPTED: dict[str, JsonValue] = {
    "2**63 - 1": 2**63 - 1,
    "-2**63": -(2**63),
    "the letters of an escaped NUL": {"\\u0000": "\\u0000"},
    "the text NaN": ["NaN", "Infinity", "-Infinity"],
    "the text null": {"null": "null"},
    "null": {"a": None, "b": [None]},
    "19 digits as text": "9999999999999999999",
    "a long fraction": 0.12345678901234567,
    "largest float": 1.7976931348623157e308,
    "minus zero": -0.0,
    "1e22": 1e22,
    "Unicode": {"キー": "👩‍👩‍👧 é\u2028\x7f\x01"},
    "64 levels of lists": nested_lists(63),
    "64 levels of objects": nested_objects(63),
    "many brackets side by side": [[] for _ in range(100)],
    "empty": {},
    "true and false": [True, False],
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_args_that_can_be_stored_come_back_equal(case: str) -> None:
    """A payload that merely looks like a refused one passes, and is read back as it was."""
    written = encode_model(Document(value=ACCEPTED[case]))
    assert json.loads(written)["value"] == ACCEPTED[case]
    assert decode_model(Document, written).value == ACCEPTED[case]


@pytest.mark.parametrize("case", ACCEPTED)
def test_values_that_can_be_stored_come_back_equal(case: str) -> None:
    """Outputs and metadata that can be stored are read back as they were."""
    assert read_json(encode_json(ACCEPTED[case], "output", MAX_OUTPUT_BYTES)) == ACCEPTED[case]


def test_a_value_may_be_nested_64_levels() -> None:
    """The limit counts the value itself as a level."""
    assert encode_json(nested_lists(64), "output", MAX_OUTPUT_BYTES) == "[" * 64 + "]" * 64


def test_nothing_stored_reads_as_none() -> None:
    """A column that is null holds no value."""
    assert read_json(None) is None


@pytest.mark.parametrize("character", ["x", "é"])
def test_args_may_have_1_mib_and_not_a_byte_more(character: str) -> None:
    """The limit counts bytes of encoded JSON."""
    frame = len(encode_model(Document(value="")))
    size = len(character.encode())
    room = MAX_ARGS_BYTES - frame
    padding = "y" * (room % size)
    fits = character * (room // size) + padding
    assert len(encode_model(Document(value=fits)).encode()) == 1024 * KIB
    with pytest.raises(ArgsError) as refusal:
        encode_model(Document(value=fits + "y"))
    assert refusal.value.path == "args"
    assert "1,048,576" in str(refusal.value)
    assert "1,048,577" in str(refusal.value)


@pytest.mark.parametrize(
    ("root", "limit"), [("output", MAX_OUTPUT_BYTES), ("metadata", MAX_METADATA_BYTES)], ids=["output", "metadata"]
)
def test_outputs_and_metadata_have_limits_of_their_own(root: str, limit: int) -> None:
    """1 MiB of output and 64 KiB of metadata pass, a byte more is refused."""
    assert limit == {"output": 1024 * KIB, "metadata": 64 * KIB}[root]
    assert len(encode_json("x" * (limit - 2), root, limit)) == limit
    with pytest.raises(ArgsError) as refusal:
        encode_json("x" * (limit - 1), root, limit)
    assert refusal.value.path == root


def test_args_are_written_under_their_aliases_and_read_under_either_name() -> None:
    """The stored form has the JSON names."""
    written = json.loads(encode_model(Document(runId="r")))
    assert ("run_id" in written, written["runId"]) == (False, "r")
    assert decode_model(Document, '{"run_id": "x"}').run_id == "x"
    assert decode_model(Document, '{"runId": "x"}').run_id == "x"


@pytest.mark.parametrize(
    ("stored", "path"),
    [
        ('{"job": {"events": [{"name": "a"}, {"name": ["s3cret"]}]}}', "args.job.events[1].name"),
        ('{"reading": "s3cret"}', "args.reading"),
        ('["s3cret"]', "args"),
        ('{"value": s3cret', "args"),
    ],
    ids=["field", "model", "no object", "no JSON"],
)
def test_stored_args_that_do_not_fit_are_refused_without_their_values(stored: str, path: str) -> None:
    """What does not validate is named by its path; what the job holds never reaches the message."""
    with pytest.raises(ArgsError) as refusal:
        decode_model(Document, stored)
    assert refusal.value.path == path
    assert "s3cret" not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_the_refusal_of_several_faults_names_the_first_and_counts_the_rest() -> None:
    """One line says where to begin and how much there is."""
    with pytest.raises(ArgsError, match=r"^args\.job\.events\[0\]\.name: .* \(and 2 more\)$"):
        decode_model(Document, '{"job": {"events": [{"name": 1}, {"rate": "x"}]}, "raw": []}')


@pytest.mark.parametrize(
    "tags",
    [[], ["a"], ["a" * 255], [f"tag {n}" for n in range(32)], ["é👩‍👩‍👧"], ("a", "b")],
    ids=["none", "one", "255 characters", "32", "Unicode", "tuple"],
)
def test_tags_that_can_be_stored_are_kept(tags: list[str]) -> None:
    """Up to 32 labels of 1 to 255 characters pass, in their order."""
    assert check_tags(tags) == tuple(tags)


REFUSED_TAGS: dict[str, tuple[Any, str, str]] = {
    "33 tags": (["a"] * 33, "tags", "at most 32"),
    "empty": (["a", ""], "tags[1]", "1 to 255"),
    "256 characters": (["a" * 256], "tags[0]", "1 to 255"),
    "NUL": (["a", "b", "c\0"], "tags[2]", "NUL"),
    "lone surrogate": ([LONE_SURROGATE], "tags[0]", "lone surrogate"),
    "a text": ("urgent", "tags", "['urgent']"),
    "a number": ([7], "tags[0]", "7"),
    "a nested list": (["a", ["b"]], "tags[1]", "['b']"),
    "no list": (7, "tags", "7"),
}


@pytest.mark.parametrize("case", REFUSED_TAGS)
def test_tags_that_cannot_be_stored_are_refused_with_their_place(case: str) -> None:
    """A refusal names the tag by its place."""
    tags, path, problem = REFUSED_TAGS[case]
    with pytest.raises(ArgsError) as refusal:
        check_tags(tags)
    assert (refusal.value.path, problem in str(refusal.value)) == (path, True), str(refusal.value)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain", "plain"),
        ("", ""),
        ("a\0b\0", "a\ufffdb\ufffd"),
        (f"a{LONE_SURROGATE}b", "a\\ud800b"),
        ("é👩‍👩‍👧\n\t", "é👩‍👩‍👧\n\t"),
        ("\\u0000", "\\u0000"),
    ],
    ids=["plain", "empty", "NUL", "lone surrogate", "Unicode", "letters of an escape"],
)
def test_text_is_made_storable(text: str, cleaned: str) -> None:
    """NUL becomes U+FFFD and a lone surrogate its escape; the rest stays as it is."""
    assert clean_text(text, 100) == cleaned


@pytest.mark.parametrize("character", ["x", "é", "€", "👩"])
@pytest.mark.parametrize("limit", [64, 65, 66, 67, 8 * KIB])
def test_text_is_cut_with_a_mark_and_never_inside_a_character(character: str, limit: int) -> None:
    """What is longer than the limit is cut at a whole character, with its first length told."""
    size = len(character.encode())
    fits = character * (limit // size)
    assert clean_text(fits, limit) == fits
    count = limit // size + 1
    mark = f"… [cut, {count * size} bytes]"
    whole = (limit - len(mark.encode())) // size
    assert clean_text(character * count, limit) == character * whole + mark
    assert len(clean_text(character * count, limit).encode()) <= limit


def test_text_is_measured_after_cleaning() -> None:
    """NULs grow to three bytes each, and the limit holds for what is stored."""
    assert len(clean_text("\0" * 100, 100).encode()) <= 100
    assert clean_text("\0" * 100, 100).endswith("… [cut, 300 bytes]")
