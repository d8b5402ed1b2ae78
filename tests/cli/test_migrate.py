"""`workerqueue migrate`: the schema up, down, looked at and printed."""

from __future__ import annotations

import json
from typing import cast

import asyncpg
import pytest

from tests.cli.conftest import Call
from workerqueue.database.migrate import all_migrations

LAST = all_migrations()[-1].version
Steps = list[dict[str, object]]


@pytest.fixture
def to(database_url: str, empty_schema: str) -> list[str]:
    """The options that name a database and a schema that is not there yet."""
    return ["--database-url", database_url, "--schema", empty_schema]


def applied(call: Call, to: list[str]) -> list[object]:
    """The versions that `migrate status` says are applied."""
    done = call("migrate", "status", "--json", *to)
    assert (done.code, done.err) == (0, "")
    return [step["version"] for step in cast("Steps", json.loads(done.out)) if step["applied_at"] is not None]


EVERY = [step.version for step in all_migrations()]


def test_up_down_up(call: Call, to: list[str]) -> None:
    """Up applies every step and prints each, again does nothing, down takes one back, and up applies it again."""
    assert applied(call, to) == []
    done = call("migrate", "up", *to)
    assert (done.code, done.out.splitlines()) == (0, [f"applied {s.version:03} {s.name}" for s in all_migrations()])
    assert applied(call, to) == EVERY

    again = call("migrate", "up", *to)
    assert (again.code, again.out) == (0, f"nothing to do: schema {to[-1]} is up to date\n")

    down = call("migrate", "down", *to)
    assert (down.code, down.out) == (0, f"taken back {LAST:03} {all_migrations()[-1].name}\n")
    assert applied(call, to) == EVERY[:-1]

    assert call("migrate", "up", *to).code == 0
    assert applied(call, to) == EVERY


def test_to(call: Call, to: list[str]) -> None:
    """--to names the version to end at, upwards and downwards."""
    assert call("migrate", "up", "--to", "1", *to).code == 0
    assert applied(call, to) == [1]
    assert call("migrate", "up", *to).code == 0
    assert call("migrate", "down", "--to", "0", *to).code == 0
    assert applied(call, to) == []


def test_json(call: Call, to: list[str]) -> None:
    """With --json each command prints the steps it did as one document: a list of objects."""
    up, again, down = (call("migrate", what, "--json", *to) for what in ("up", "up", "down"))
    assert [step["version"] for step in cast("Steps", json.loads(up.out))] == EVERY
    assert json.loads(again.out) == []
    assert [step["version"] for step in cast("Steps", json.loads(down.out))] == [LAST]
    assert {each.err for each in (up, again, down)} == {""}


def test_applied_at_in_the_answer(call: Call, to: list[str]) -> None:
    """What `migrate up --json` applied has the time it was applied, as `migrate status --json` has."""
    up = cast("Steps", json.loads(call("migrate", "up", "--json", *to).out))
    assert all(step["applied_at"] is not None for step in up)


def test_status_table(call: Call, to: list[str]) -> None:
    """Without --json, status is a table with a dash where a step is not applied."""
    header, *rows = call("migrate", "status", *to).out.splitlines()
    assert header.split() == ["version", "name", "applied"]
    assert [row.split() for row in rows] == [[str(s.version), s.name, "–"] for s in all_migrations()]
    call("migrate", "up", *to)
    assert "UTC" in call("migrate", "status", *to).out


def test_nothing_to_take_back(call: Call, to: list[str]) -> None:
    """A down where nothing is applied says that nothing was there to take back."""
    done = call("migrate", "down", *to)
    assert done.code == 0
    assert "is up to date" not in done.out


async def test_sql(call: Call, to: list[str], database_url: str, empty_schema: str) -> None:
    """What `migrate sql` prints, given to a connection, is what `migrate up` does: nothing is left to apply."""
    sql = call("migrate", "sql", "--schema", empty_schema)
    assert (sql.code, sql.err) == (0, "")
    connection = await asyncpg.connect(database_url)
    await connection.execute(sql.out)
    found = await connection.fetch(f'select version from "{empty_schema}".migration order by version')  # noqa: S608 - a schema of ours
    await connection.close()
    assert [row["version"] for row in found] == EVERY


def test_after_sql(call: Call, to: list[str]) -> None:
    """`migrate sql` needs no database and no configuration."""
    done = call("migrate", "sql")
    assert done.code == 0
    assert 'create schema if not exists "workerqueue"' in done.out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["up", "--to", "999"], f"there is no version 999; there are 0 to {LAST}"),
        (["down", "--to", "999"], f"there is no version 999; there are 0 to {LAST}"),
        (["up", "--to", "-1"], "--to"),
        (["up", "--to", "x"], "--to"),
    ],
)
def test_no_such_version(call: Call, to: list[str], arguments: list[str], problem: str) -> None:
    """A version that does not exist is refused in one line with 2."""
    done = call("migrate", *arguments, *to)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert problem in done.err
