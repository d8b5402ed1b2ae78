"""`workerqueue tasks` and `version`, and the help of every command."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import cast

import pytest

from tests.cli.application import Application
from tests.cli.conftest import Call

ROWS = [
    ["fail", "b", "fail-{id}", "1", "1", "60", "yes"],
    ["meet", "a", "–", "1", "3", "60", "yes"],
    ["alone", "b", "–", "1", "1", "60", "yes"],
    ["unworked", "a", "–", "-5", "3", "0.5", "no"],
    ["greet", "default", "–", "1", "3", "60", "yes"],
    ["falter", "default", "–", "1", "3", "60", "yes"],
    ["gate", "default", "–", "1", "3", "60", "yes"],
    ["block", "default", "–", "1", "3", "60", "yes"],
    ["elsewhere", "default", "–", "1", "3", "60", "declared"],
]


def test_table(call: Call) -> None:
    """The table has the configuration's rows first, then the kinds that only the module knows, all resolved."""
    done = call("tasks")
    assert (done.code, done.err) == (0, "")
    header, *rows = done.out.splitlines()
    assert header.split("  ")[0] == "kind"
    assert sorted(row.split() for row in rows) == sorted(ROWS)
    assert [row.split()[0] for row in rows[:4]] == [row[0] for row in ROWS[:4]]
    assert all(line == line.rstrip() for line in done.out.splitlines())


def test_json(call: Call) -> None:
    """With --json the same is one document: a list of objects."""
    done = call("tasks", "--json")
    rows = {row["kind"]: row for row in cast("list[dict[str, object]]", json.loads(done.out))}
    assert list(rows)[:4] == [row[0] for row in ROWS[:4]]
    assert rows["fail"] == {
        "kind": "fail",
        "queue": "b",
        "dynamic_queue": "fail-{id}",
        "priority": 1,
        "max_attempts": 1,
        "timeout_seconds": 60.0,
        "args": "Fail",
        "worker": True,
    }
    assert (rows["unworked"]["args"], rows["unworked"]["worker"]) == (None, False)
    assert (rows["elsewhere"]["args"], rows["elsewhere"]["worker"]) == ("Elsewhere", False)


def test_named_module_and_config(call: Call, here: Path) -> None:
    """--tasks and --config name a module in a package and another folder."""
    (here / "shop").mkdir()
    (here / "shop" / "__init__.py").touch()
    (here / "tasks.py").rename(here / "shop" / "jobs.py")
    (here / "config").rename(here / "settings")
    done = call("tasks", "--tasks", "shop.jobs", "--config", "settings", "--json")
    assert len(json.loads(done.out)) == len(ROWS)


def test_without_anything(call: Call, here: Path) -> None:
    """Where there is neither configuration nor module, the table has only its header and the document is empty."""
    (here / "tasks.py").unlink()
    for file in (here / "config").iterdir():
        file.unlink()
    assert len(call("tasks").out.splitlines()) == 1
    assert json.loads(call("tasks", "--json").out) == []


def test_version(call: Call) -> None:
    """`version` prints the installed version."""
    done = call("version")
    assert (done.code, done.out, done.err) == (0, f"workerqueue {version('workerqueue-postgres')}\n", "")


COMMANDS = ["run", "dev", "insert", "tasks", "version", "migrate up", "migrate down", "migrate status", "migrate sql"]


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("command", ["", "migrate", *COMMANDS])
def test_help(call: Call, command: str, flag: str) -> None:
    """Every command explains itself on stdout with 0."""
    done = call(*command.split(), flag)
    assert (done.code, done.err) == (0, "")
    assert f"Usage: workerqueue {command}".rstrip() in done.out


def test_help_lists_commands_and_debug(call: Call) -> None:
    """The first help names every command, and --debug."""
    done = call("--help")
    assert all(command.split()[0] in done.out for command in COMMANDS)
    assert "--debug" in done.out


def test_as_an_installed_command(app: Application) -> None:
    """The application is found where the command is run, configuration and module."""
    done = app.run("tasks", schema=False)
    assert (done.code, done.err) == (0, "")
    assert "fail-{id}" in done.out
