"""What must not be shown: secrets and marked fields of args, found there and masked in whatever repeats them.

Theory. Pydantic's `SecretStr`, `SecretBytes` and `Secret` show asterisks wherever they are printed or written, and a
field that is declared with `Field(repr=False)` is left out of `repr`. A worker needs the values, so they are stored as
they are; what is shown (errors, traces, log lines, listings) passes here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Final, NamedTuple, TypeGuard, cast

from pydantic import BaseModel, Secret, SecretBytes, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticSerializationError, to_jsonable_python

from workerqueue.errors import ArgsError

MASK: Final = "**********"
"""What Pydantic writes for a secret."""
SHORT: Final = 4
"""Characters below which a value is masked only where it stands by itself: a digit is in every line number."""

DEEPEST: Final = 100
"""Levels that are looked at: args have at most 64, and what was refused may hold itself."""


class _Inner(NamedTuple):
    """One of the values that a value holds."""

    step: str
    """How code gets there: `.name` or `[3]`."""
    value: object
    is_marked: bool = False
    names: frozenset[str | None] = frozenset()
    """What the field may be called in JSON."""


def reveal(source: object, written: object, path: str) -> object:
    """Give what Pydantic wrote with the values of secrets in place of their asterisks.

    Args:
        source: The same as Python data, its secrets still objects.
        written: The JSON data.
        path: Where it is.

    Raises:
        ArgsError: With the path to a secret whose value can't be written.
    """
    if _is_secret(source):
        return _value_of(source, path)
    inner = _inner(source.model_dump(warnings=False) if isinstance(source, BaseModel) else source)
    entries = _entries(written)
    if inner is not None and entries is not None and len(inner) == len(entries):
        pairs = zip(inner, entries.items(), strict=True)
        revealed = {key: reveal(each.value, value, path + each.step) for each, (key, value) in pairs}
        return revealed if isinstance(written, dict) else list(revealed.values())
    if written != source and MASK in json.dumps(written):
        raise ArgsError(path, "expected a secret in a field of its own, such as `token: SecretStr`, to store its value")
    return written


def find_secret(value: object, path: str) -> str | None:
    """Give the path to the first secret in some data, if there is one."""
    if _is_secret(value):
        return path
    found = (find_secret(each.value, path + each.step) for each in _inner(value) or ())
    return next((each for each in found if each), None)


def secrets_in(value: object, *, is_hidden: bool = False) -> set[str]:
    """Collect the texts of all secrets and marked fields in args; with `is_hidden`, of every value."""
    return {text for leaf in _hidden_leaves(value, is_hidden, 0) for text in _texts_of(leaf)}


def mask(text: str, secrets: Collection[str]) -> str:
    """Replace secrets in a text by asterisks."""
    for secret in sorted(secrets, key=len, reverse=True):  # one may be a part of another
        if len(secret) >= SHORT:
            text = text.replace(secret, MASK)
        else:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
    return text


def shown(value: object) -> object:
    """Give args as JSON data for a listing, secrets and marked fields masked."""
    return _masked(value, to_jsonable_python(value, inf_nan_mode="constants"))


def _is_secret(value: object) -> TypeGuard[Secret[Any] | SecretStr | SecretBytes]:
    return isinstance(value, Secret | SecretStr | SecretBytes)


def _value_of(secret: Secret[Any] | SecretStr | SecretBytes, path: str) -> object:
    try:
        value: object = to_jsonable_python(secret.get_secret_value(), inf_nan_mode="constants")
    except (PydanticSerializationError, UnicodeDecodeError):
        raise ArgsError(path, "expected a secret that JSON can hold; write bytes that are no text as base64") from None
    return value


def _hidden_leaves(value: object, is_hidden: bool, depth: int) -> Iterator[object]:
    if _is_secret(value):
        value, is_hidden = cast("object", value.get_secret_value()), True
    inner = _inner(value)
    if inner is None:
        if is_hidden and value is not None and not isinstance(value, bool):
            yield value
    elif depth < DEEPEST:
        for each in inner:
            yield from _hidden_leaves(each.value, is_hidden or each.is_marked, depth + 1)


def _texts_of(leaf: object) -> Iterator[str]:
    """Spell a value as texts repeat it: itself, in quotes, as JSON."""
    if isinstance(leaf, Enum):
        leaf = leaf.value
    if isinstance(leaf, bytes | bytearray):
        yield repr(bytes(leaf))[2:-1]
        leaf = leaf.decode(errors="replace")
    try:
        text = str(leaf)
    except Exception:  # noqa: BLE001 - an object that has no text is repeated by none
        return
    if text.strip():
        yield from {text, text.strip(), repr(text)[1:-1], json.dumps(text)[1:-1]}


def _masked(value: object, written: object) -> object:
    inner, entries = _inner(value), _entries(written)
    if inner is None or entries is None:
        return written
    if isinstance(value, BaseModel):
        by_name: dict[object, _Inner] = {key: each for each in inner for key in each.names if key in entries}
    else:
        by_name = dict(zip(entries, inner, strict=False))
    for key, each in by_name.items():
        entries[key] = MASK if each.is_marked else _masked(each.value, entries[key])
    return entries if isinstance(written, dict) else list(entries.values())


def _inner(value: object) -> list[_Inner] | None:
    """Give what a value holds, in order; `None` for one that holds nothing."""
    if isinstance(value, BaseModel):
        return [
            _Inner(f".{name}", value.__dict__.get(name), not field.repr, _names(name, field))
            for name, field in type(value).model_fields.items()
        ]
    if is_dataclass(value) and not isinstance(value, type):
        return [_Inner(f".{each.name}", getattr(value, each.name, None), not each.repr) for each in fields(value)]
    if isinstance(value, Mapping):
        return [_Inner(f".{key}", each) for key, each in cast("Mapping[object, object]", value).items()]
    if isinstance(value, Collection) and not isinstance(value, str | bytes | bytearray):
        return [_Inner(f"[{place}]", each) for place, each in enumerate(cast("Collection[object]", value))]
    return None


def _names(name: str, field: FieldInfo) -> frozenset[str | None]:
    return frozenset({name, field.alias, field.serialization_alias})


def _entries(written: object) -> dict[object, object] | None:
    """Give JSON data that holds others, by key or by place."""
    if isinstance(written, dict):
        return cast("dict[object, object]", written)
    return dict(enumerate(cast("list[object]", written))) if isinstance(written, list) else None
