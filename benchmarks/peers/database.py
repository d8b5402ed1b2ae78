"""Databases: each system has its own tables in its own database, made once and copied for every case."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from benchmarks.bench import Bench
from benchmarks.connection import Connection, connect
from benchmarks.peers.protocol import Request
from benchmarks.peers.session import opened
from benchmarks.peers.systems import System
from benchmarks.schema import checkpoint, new_name

FOLDER: Final = Path(__file__).with_name("sql")


@asynccontextmanager
async def installed(bench: Bench, system: System) -> AsyncGenerator[str]:
    """Make a database with a system's tables and nothing in them, and give its name; it is dropped in the end."""
    name = new_name()
    await bench.sql.execute(f"create database {name}")
    try:
        async with opened(system, url_of(bench, name)) as session:
            await session.ask(Request("install"))
        yield name
    finally:
        await _drop(bench.sql, name)


@asynccontextmanager
async def copied(bench: Bench, template: str) -> AsyncGenerator[str]:
    """Copy a database and give the URL of the copy, which is dropped in the end."""
    name = new_name()
    # Written out like a file: its pages are clean, so that no case pays for another's copy.
    await bench.sql.execute(f"create database {name} template {template} strategy file_copy")
    try:
        yield url_of(bench, name)
    finally:
        await _drop(bench.sql, name)


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Connection]:
    """Connect to one of them, for what is looked up."""
    connection = await connect(url)
    try:
        yield connection
    finally:
        await connection.close()


def url_of(bench: Bench, database: str) -> str:
    """Give the URL of another database of the server that is measured."""
    at = urlsplit(bench.url)
    # Put together by hand: `urlunsplit` loses the slashes of a URL that names no host.
    return f"{at.scheme}://{at.netloc}/{database}" + (f"?{at.query}" if at.query else "")


async def all_completed(connection: Connection, system: System) -> bool:
    """Tell whether every job of a system can be read as completed."""
    return bool(await connection.fetchval(_statement(system)))


async def _drop(connection: Connection, name: str) -> None:
    await connection.execute(f"drop database if exists {name} with (force)")
    await checkpoint(connection)


@cache
def _statement(system: System) -> str:
    return (FOLDER / f"{system.name}_all_completed.sql").read_text(encoding="utf-8")
