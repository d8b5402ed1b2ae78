"""What PostgreSQL's jsonb and text can hold: the one door that args, metadata, outputs and errors pass.

The rules and why each is needed: PostgreSQL refuses NUL (22P05) and lone surrogates (22P02) in jsonb, Pydantic
writes NaN as null without a word, integers beyond 64 bits are stored but refused by readers in other languages,
and deep nesting is stored but can't be read back (Pydantic ends near 200 levels).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import NamedTuple, TypeVar, cast

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json, to_jsonable_python

from workerqueue.errors import ArgsError, brief
from workerqueue.redaction import MASK, find_secret, mask, reveal, secrets_in
from workerqueue.validation import path_of

MAX_ARGS_BYTES = 1024 * 1024
MAX_OUTPUT_BYTES = 1024 * 1024
MAX_METADATA_BYTES = 64 * 1024
MAX_DEPTH = 64
MAX_TAGS = 32
MAX_TAG_LENGTH = 255
MAX_ERROR_BYTES = 8 * 1024
MAX_TRACE_BYTES = 32 * 1024

_TOO_DEEP = f"expected at most {MAX_DEPTH} levels of nesting, and nothing that holds itself"

INT64 = range(-(2**63), 2**63)

# Found in almost no payload, and without a match there is nothing to refuse: so the careful walk is rare.
# `null` is what Pydantic makes of a NaN in a nested model whose own settings do not say otherwise.
_SUSPICIOUS = re.compile(rb"\\u0000|NaN|Infinity|null|[0-9]{19}")

_MASK = MASK.encode()

M = TypeVar("M", bound=BaseModel)


class Fault(NamedTuple):
    """One value that can't be stored: where it is and what is wrong with it."""

    path: str
    problem: str


def encode_model(model: BaseModel, root: str = "args", limit: int = MAX_ARGS_BYTES) -> str:
    """Write a model as JSON that PostgreSQL will hold and every reader can read back; secrets as their values.

    Raises:
        ArgsError: With the path to the first value that can't be stored.
    """
    try:
        data = model.__pydantic_serializer__.to_json(model, warnings="error")
    except PydanticSerializationError as error:
        raise _refusal(model, root, error) from None
    if _is_suspicious(data):
        _refuse_faults(data, model, root)
    if _MASK in data:
        data = _revealed(data, _plain(model, root), root)
    return _within(data, root, limit)


def encode_plain(payload: Mapping[str, object]) -> tuple[str, dict[str, JsonValue]]:
    """Write args of no class under the same rules, and give them as they may be shown.

    Raises:
        ArgsError: With the path to the first value that can't be stored.
    """
    data = _encode(dict(payload), "args")
    plain = cast("dict[str, JsonValue]", json.loads(data))
    if _MASK in data:
        data = _revealed(data, dict(payload), "args")
    return _within(data, "args", MAX_ARGS_BYTES), plain


def encode_json(value: object, root: str, limit: int) -> str:
    """Write any value that Pydantic can write as JSON, under the same rules; a secret is written as asterisks.

    Raises:
        ArgsError: With the path to the first value that can't be stored.
    """
    return _within(_encode(value, root), root, limit)


def _encode(value: object, root: str) -> bytes:
    try:
        data = to_json(value, inf_nan_mode="constants")
    except PydanticSerializationError as error:
        raise _refusal(value, root, error) from None
    if _is_suspicious(data):
        _refuse_faults(data, value, root)
    return data


def encode_metadata(metadata: Mapping[str, object]) -> str:
    """Write a job's metadata, which is there to be shown: a secret is refused.

    Raises:
        ArgsError: With the path to the first value that can't be stored.
    """
    written = encode_json(metadata, "metadata", MAX_METADATA_BYTES)
    if MASK in written and (path := find_secret(metadata, "metadata")):
        raise ArgsError(path, "is a secret, and metadata is shown wherever its job is; put it into a field of the args")
    return written


def encode_output(value: object) -> str:
    """Write what a worker returned; text that PostgreSQL can't hold is cleaned rather than refused.

    Raises:
        ArgsError: With the path to what can't be stored all the same: too large, not JSON, NaN.
    """
    try:
        return encode_json(value, "output", MAX_OUTPUT_BYTES)
    except ArgsError:
        try:
            plain: object = to_jsonable_python(value, inf_nan_mode="constants")
        except (ValueError, RecursionError):
            plain = None
        if plain is None:
            raise
    return encode_json(_cleaned(plain), "output", MAX_OUTPUT_BYTES)


def decode_model(args_class: type[M], stored: str | bytes) -> M:
    """Read args as their class.

    Raises:
        ArgsError: With the path to what does not validate. Values are not repeated.
    """
    try:
        return args_class.model_validate_json(stored)
    except ValidationError as error:
        raise invalid_args(error) from None


def invalid_args(error: ValidationError) -> ArgsError:
    """Turn Pydantic's refusal of args into ours, without the values."""
    first = error.errors(include_url=False)[0]
    # A validator's own text may repeat what it was given.
    given = set[str]() if first["type"] == "missing" else secrets_in(first["input"], is_hidden=True)
    return ArgsError(path_of(first["loc"], "args"), mask(explain_rest(error), given))


def explain_rest(error: ValidationError) -> str:
    """Say what is wrong without repeating the path of the first fault."""
    details = error.errors(include_url=False, include_input=False)
    first = details[0]["msg"].removeprefix("Value error, ")
    more = len(details) - 1
    return f"{first} (and {more} more)" if more else first


def check_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Check a job's labels: at most 32, each 1 to 255 characters that PostgreSQL can hold.

    Raises:
        ArgsError: With the path to the first tag that can't be stored.
    """
    if isinstance(tags, str):
        raise ArgsError("tags", f"expected a list of labels, got the text {brief(tags)}; write [{brief(tags)}]")
    if not isinstance(tags, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
        raise ArgsError("tags", f"expected a list of labels, got {brief(tags)}")
    if len(tags) > MAX_TAGS:
        raise ArgsError("tags", f"expected at most {MAX_TAGS} labels, got {len(tags)}")
    for place, tag in enumerate(tags):
        path = f"tags[{place}]"
        if not isinstance(tag, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
            raise ArgsError(path, f"expected text, got {brief(tag)}")
        if not 0 < len(tag) <= MAX_TAG_LENGTH:
            raise ArgsError(path, f"expected 1 to {MAX_TAG_LENGTH} characters, got {len(tag)}")
        if problem := _text_fault(tag):
            raise ArgsError(path, problem)
    return tuple(tags)


def clean_text(text: str, limit: int) -> str:
    """Make a text storable whatever it holds, cut to `limit` bytes of UTF-8 with a mark where it was cut.

    For errors and traces, which must never keep a job from ending: NUL becomes U+FFFD, a lone surrogate its
    escape.
    """
    encoded = text.replace("\0", "\ufffd").encode("utf-8", "backslashreplace")
    if len(encoded) <= limit:
        return encoded.decode()
    mark = f"… [cut, {len(encoded)} bytes]"
    return encoded[: limit - len(mark.encode())].decode(errors="ignore") + mark


def _cleaned(plain: object) -> object:
    """Make every text in plain data storable, keys too."""
    if isinstance(plain, str):
        return clean_text(plain, MAX_OUTPUT_BYTES)
    if isinstance(plain, dict):
        entries = cast("dict[object, object]", plain)
        return {_cleaned(key): _cleaned(value) for key, value in entries.items()}
    if isinstance(plain, list):
        return [_cleaned(each) for each in cast("list[object]", plain)]
    return plain


def faults(value: object, path: str, depth: int = 0) -> Iterator[Fault]:
    """Find every value in Python data that can't be stored, in order."""
    if problem := _own_fault(value):
        yield Fault(path, problem)
        return
    entries = _entries(value, path)
    if entries is None:
        return
    if depth == MAX_DEPTH:
        yield Fault(path[:200], _TOO_DEEP)
        return
    for where, each in entries:
        yield from faults(each, where, depth + 1)


def _own_fault(value: object) -> str | None:
    """Say what is wrong with one value itself, whatever it holds."""
    if isinstance(value, _BadKey):
        return value.problem
    if isinstance(value, str):
        return _text_fault(value)
    if isinstance(value, int) and value not in INT64:
        return "expected an integer of at most 64 bits; send larger ones as text"
    if isinstance(value, float) and not math.isfinite(value):
        return f"expected a finite number, got {value}; JSON has no such value"
    return None


def _entries(value: object, path: str) -> Iterator[tuple[str, object]] | None:
    """Give what a value holds, each with its path; `None` for one that holds nothing."""
    if isinstance(value, BaseModel):
        value = value.model_dump(warnings=False)
    elif is_dataclass(value) and not isinstance(value, type):
        value = {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, Mapping):
        return _mapping_entries(cast("Mapping[object, object]", value), path)
    if isinstance(value, Collection) and not isinstance(value, str | bytes | bytearray):
        items = cast("Collection[object]", value)
        return ((f"{path}[{place}]", each) for place, each in enumerate(items))
    return None


@dataclass(frozen=True, slots=True)
class _BadKey:
    """Stands for a key that can't be stored."""

    problem: str


def _mapping_entries(mapping: Mapping[object, object], path: str) -> Iterator[tuple[str, object]]:
    for key, value in mapping.items():
        if isinstance(key, str) and (problem := _text_fault(key)):
            yield f"{path}.{key!r}", _BadKey(f"in a key: {problem}")
        yield f"{path}.{key}", value


def _text_fault(text: str) -> str | None:
    if "\0" in text:
        return "expected text without NUL characters; PostgreSQL can't store them"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "expected Unicode text, got a lone surrogate; decode the source with its real encoding"
    return None


def _revealed(data: bytes, source: object, root: str) -> bytes:
    """Write secrets as they are, where Pydantic wrote asterisks."""
    revealed = reveal(source, json.loads(data), root)
    for fault in faults(revealed, root):
        raise ArgsError(*fault)
    return to_json(revealed)


def _is_suspicious(data: bytes) -> bool:
    if _SUSPICIOUS.search(data):
        return True
    # What is nested too deep has as many brackets that open, and as many that close.
    return len(data) > 2 * MAX_DEPTH and data.count(b"{") + data.count(b"[") > MAX_DEPTH


def _refuse_faults(data: bytes, source: object, root: str) -> None:
    """Refuse what was written and can't be stored."""
    try:
        written: object = json.loads(data, parse_int=_integer)
    except RecursionError:
        raise ArgsError(root, _TOO_DEEP) from None
    for fault in faults(written, root):
        raise ArgsError(*fault)
    if b"null" in data:  # it may have been a NaN, which only the source still shows
        for fault in faults(_plain(source, root), root):
            raise ArgsError(*fault)


def _refusal(source: object, root: str, error: PydanticSerializationError) -> ArgsError:
    """Find the value that Pydantic could not write; its own text names no path, and may repeat the value."""
    plain = _plain(source, root)
    for fault in faults(plain, root):
        return ArgsError(*fault)
    if isinstance(source, BaseModel):
        try:
            type(source).model_validate(plain)
        except ValidationError as invalid:  # assigned after the object was made
            return invalid_args(invalid)
    unknown = re.search(r"Unable to serialize unknown type: <class '([\w.]+)'>", str(error))
    return ArgsError(
        root, f"can't be written as JSON: it holds a {unknown[1]}" if unknown else "can't be written as JSON"
    )


def _plain(source: object, root: str) -> object:
    if not isinstance(source, BaseModel):
        return source
    try:
        return source.model_dump(mode="python", warnings=False)
    except ValueError:  # what Pydantic raises for data that refers to itself, or is nested past its own limit
        raise ArgsError(root, _TOO_DEEP) from None


def _integer(digits: str) -> int:
    # Python refuses to read integers of over 4,300 digits; any one beyond 64 bits stands for them.
    return int(digits) if len(digits) <= 20 else INT64.stop


def _within(data: bytes, root: str, limit: int) -> str:
    if len(data) > limit:
        raise ArgsError(
            root,
            f"expected at most {limit:,} bytes of JSON, got {len(data):,}; store large data elsewhere and pass its id",
        )
    return data.decode()


def read_json(stored: str | None) -> JsonValue:
    """Read a stored JSON value.

    Raises:
        ValueError: If it is nested deeper than Pydantic reads (about 200 levels): plain SQL can store such rows.
    """
    value: JsonValue = None if stored is None else from_json(stored)
    return value
