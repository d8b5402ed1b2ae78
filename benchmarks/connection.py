"""Connections of the benchmarks' own, and their statements: the bare side of every comparison."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import asyncpg

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Connection: TypeAlias = asyncpg.Connection

FOLDER: Final = Path(__file__).with_name("sql")


async def connect(url: str, **settings: str) -> Connection:
    """Open a connection, with server settings of its own."""
    return await asyncpg.connect(url, server_settings={"application_name": "benchmarks", **settings})


def statement(name: str, schema: str = "") -> str:
    """Read a statement of `sql/` and put the schema in."""
    return _read(name).replace("{schema}", schema)


@cache
def _read(name: str) -> str:
    return (FOLDER / f"{name}.sql").read_text(encoding="utf-8")
