"""Every example of the README runs, and prints what the README says."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from tests.docs.blocks import Block, blocks
from workerqueue import Client, Config, migrate

README = blocks("README.md")
TESTED = [block for block in README if block.remark == "test"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds the README's files, as a reader would have it."""
    for block in README:
        if block.file is not None:
            file = tmp_path / block.file
            file.parent.mkdir(exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


@pytest.fixture
async def own_database(database_url: str) -> AsyncGenerator[str]:
    """A database of the reader's own, in which nothing has been done."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("create database readme")
    yield urlunsplit(urlsplit(database_url)._replace(path="/readme"))
    await connection.execute("drop database readme with (force)")
    await connection.close()


def test_the_shortest_example_prints_what_the_readme_says(folder: Path, own_database: str) -> None:
    """The commands of the first example, typed one after the other, print the lines shown."""
    (console,) = (block for block in README if block.remark == "run")
    environment = {**os.environ, "DATABASE_URL": own_database, "PYTHONPATH": str(folder)}
    environment.pop("WORKERQUEUE_DATABASE_URL", None)

    for command, expected in _commands(console.text):
        done = subprocess.run(_real(command), cwd=folder, env=environment, capture_output=True, text=True, check=False)

        printed = done.stdout + done.stderr
        assert done.returncode == 0, printed
        assert [line for line in expected if line not in printed] == []


@pytest.mark.parametrize("block", TESTED, ids=[f"block {n}" for n in range(len(TESTED))])
async def test_an_example_in_python_runs(block: Block, folder: Path, own_database: str) -> None:
    """Each block of Python is run, and the functions it defines are called."""
    await migrate(own_database)
    readers_tasks = _module("tasks", (folder / "tasks.py").read_text(encoding="utf-8"))
    kept = sys.modules.get("tasks")
    sys.modules["tasks"] = readers_tasks
    try:
        example = _module("example", block.text)
        functions = {name: getattr(example, name) for name in ("examples", "work") if hasattr(example, name)}
        await _call(functions, own_database, readers_tasks)
    finally:
        sys.modules.pop("tasks")
        if kept is not None:
            sys.modules["tasks"] = kept

    assert functions or hasattr(example, "workers")


def test_the_tables_in_the_readme_are_a_configuration(folder: Path) -> None:
    """The TOML files of the README load."""
    config = Config.load(folder / "config")

    assert {"performRunExecution": "run-executions"} == {kind: task.queue for kind, task in config.tasks.items()}


async def _call(functions: dict[str, Callable[..., Awaitable[None]]], url: str, tasks: ModuleType) -> None:
    if "examples" in functions:
        async with Client(url, workers=tasks.workers) as client:
            await functions["examples"](client)
    if "work" in functions:
        await functions["work"](url)


def _module(name: str, source: str) -> ModuleType:
    module = ModuleType(name)
    exec(compile(source, f"README: {name}", "exec"), module.__dict__)  # noqa: S102 - our own README
    return module


def _commands(console: str) -> list[tuple[str, list[str]]]:
    """Split a console into commands and the lines shown after each."""
    commands: list[tuple[str, list[str]]] = []
    for line in console.splitlines():
        if line.startswith("$ "):
            commands.append((line.removeprefix("$ "), []))
        else:
            commands[-1][1].append(line)
    return commands


def _real(command: str) -> list[str]:
    """Give the command as this environment has it."""
    program, *rest = shlex.split(command)
    return [sys.executable, *rest] if program == "python" else [str(Path(sys.executable).with_name(program)), *rest]
