"""`workerqueue insert`: one job, from its kind's name and JSON."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from tests.cli.application import Application
from tests.cli.conftest import Call

Document = dict[str, object]


@pytest.fixture
def to(database_url: str, schema: str) -> list[str]:
    """The options that name the test's database."""
    return ["--database-url", database_url, "--schema", schema]


def test_line(call: Call, to: list[str]) -> None:
    """Without --json an insert prints one line with id, kind, state and queue."""
    done = call("insert", "fail", '{"id": 7}', *to)
    assert (done.code, done.out, done.err) == (0, "job 1 fail available in fail-7\n", "")


OPTIONS = [
    (["greet"], {"kind": "greet", "queue": "default", "pool": "default", "priority": 1, "state": "available"}),
    (["greet", '{"name": "Ada"}'], {"args": {"name": "Ada", "count": 1}}),
    (["greet", "--queue", "a"], {"queue": "a", "pool": "a"}),
    (["greet", "--priority", "0"], {"priority": 0}),
    (["greet", "--priority", "-32768"], {"priority": -32768}),
    (["fail", '{"id": 7}'], {"queue": "fail-7", "pool": "b", "max_attempts": 1}),
    (["fail", '{"id": 7}', "--queue", "a"], {"queue": "a", "pool": "a"}),
    (["elsewhere", '{"id": 7}'], {"kind": "elsewhere", "args": {"id": 7}}),
    (["unworked", '{"any": [1, null]}'], {"args": {"any": [1, None]}, "priority": -5, "timeout": 0.5}),
    (["greet", "--scheduled-at", "2099-11-22T09:00:00+01:00"], {"scheduled_at": "2099-11-22T08:00:00Z"}),
    (["greet", "--scheduled-at", "2099-11-22T09:00:00Z"], {"state": "scheduled"}),
    (["greet", "--scheduled-at", "2001-01-01T00:00:00Z"], {"state": "available"}),
    (["greet", "--scheduled-at", "0s"], {"state": "available"}),
]


@pytest.mark.parametrize(("arguments", "expected"), OPTIONS)
def test_options(call: Call, to: list[str], arguments: list[str], expected: Document) -> None:
    """Each option reaches the job, which --json prints as the only document, by its attributes' names."""
    done = call("insert", *arguments, "--json", *to)
    assert (done.code, done.err) == (0, "")
    document = cast("Document", json.loads(done.out))
    assert document == document | expected
    assert {"id", "attempt", "created_at", "errors", "tags", "metadata", "output"} <= document.keys()


def test_insert_id(call: Call, to: list[str]) -> None:
    """The same --insert-id gives the same job; one that is no UUID is wrong use."""
    arguments = ["insert", "fail", '{"id": 7}', *to, "--insert-id"]
    lines = [call(*arguments, f"00000000-0000-0000-0000-{n:012}").out for n in (1, 1, 2)]
    assert [line.split()[1] for line in lines] == ["1", "1", "3"]
    assert call(*arguments, "7").code == 2


@pytest.mark.parametrize(
    ("text", "delay"), [("90s", 90), ("5m", 300), ("1.5h", 5400), ("2d", 172_800), ("99d", 8_553_600)]
)
def test_time_from_now(call: Call, to: list[str], text: str, delay: int) -> None:
    """--scheduled-at takes a time from now in seconds, minutes, hours or days."""
    done = call("insert", "greet", "--json", "--scheduled-at", text, *to)
    document = cast("dict[str, str]", json.loads(done.out))
    due = datetime.fromisoformat(document["scheduled_at"])
    assert document["state"] == "scheduled"
    assert abs(due - datetime.now(UTC) - timedelta(seconds=delay)) < timedelta(seconds=30)


async def test_wait(app: Application) -> None:
    """--wait waits for the outcome: 0 with the job's output when it completed, 1 and the error when it failed."""
    with app.start("run"):
        done = app.run("insert", "greet", '{"name": "Ada"}', "--wait", "--json")
        assert (done.code, done.err) == (0, "")
        document = cast("Document", json.loads(done.out))
        assert (document["state"], document["output"]) == ("completed", "hello Ada")

        failed = app.run("insert", "fail", '{"id": 7}', "--wait", "--json")
        document = cast("Document", json.loads(failed.out))
        assert (failed.code, document["state"]) == (1, "discarded")
        assert re.fullmatch(r"workerqueue: job 2 was discarded: ValueError: no such customer\n", failed.err)

        plain = app.run("insert", "fail", '{"id": 7}', "--wait")
        assert (plain.code, plain.out) == (1, "job 3 fail available in fail-7\njob 3 fail discarded in fail-7\n")


def test_wait_in_vain(call: Call, to: list[str]) -> None:
    """--wait gives up after --timeout with 1, and names the job."""
    done = call("insert", "greet", "--wait", "--timeout", "0.1", *to)
    assert done.code == 1
    assert re.fullmatch(r"workerqueue: job 1 .+\n", done.err)
