"""Loads the statements: one `.sql` file each, the schema's name filled in once.

What several statements share is a part in `sql/parts/`, which stands where they say `{part name}`.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Final

from workerqueue.errors import ConfigError

CALL_TIMEOUT: Final = 10.0
"""Seconds that a statement may take, where its caller has no limit of its own."""

_SCHEMA = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_PART = re.compile(r"^( *)(.*?)\{part (\w+)\}", re.MULTILINE)


def quoted_schema(schema: str) -> str:
    """Give a schema's name as it stands in SQL.

    Raises:
        ConfigError: If it is not a plain identifier.
    """
    if not _SCHEMA.fullmatch(schema):
        raise ConfigError(
            f"schema: expected a letter or underscore, then letters, digits and underscores, 63 at most; got {schema!r}"
        )
    return f'"{schema}"'


@cache
def statement(name: str, schema: str) -> str:
    """Give the text of `sql/<name>.sql` for a schema."""
    return fill(whole(name), schema)


@cache
def whole(name: str) -> str:
    """Give the text of `sql/<name>.sql` with its parts in place."""
    return _with_parts(read("sql", f"{name}.sql"))


def fill(text: str, schema: str) -> str:
    """Put the schema's name into a statement."""
    return text.replace("{schema}", quoted_schema(schema))


def _with_parts(text: str) -> str:
    while _PART.search(text):
        text = _PART.sub(_put_part, text)
    return text


def _put_part(place: re.Match[str]) -> str:
    """Put a part in its place, without its head and as far to the right as the line that names it."""
    indent, before, name = place.groups()
    lines = read("sql/parts", f"{name}.sql").splitlines()
    while lines[0].startswith("--"):
        del lines[0]
    return indent + before + f"\n{indent}".join(lines)


def read(folder: str, name: str) -> str:
    """Read a file of this package."""
    return files("workerqueue.database").joinpath(folder, name).read_text(encoding="utf-8")
