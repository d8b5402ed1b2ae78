"""Loads the statements: one `.sql` file each, the schema's name filled in once."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from workerqueue.errors import ConfigError

_SCHEMA = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


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
    return fill(read("sql", f"{name}.sql"), schema)


def fill(text: str, schema: str) -> str:
    """Put the schema's name into a statement."""
    return text.replace("{schema}", quoted_schema(schema))


def read(folder: str, name: str) -> str:
    """Read a file of this package."""
    return files("workerqueue.database").joinpath(folder, name).read_text(encoding="utf-8")
