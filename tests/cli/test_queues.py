"""`workerqueue queues`."""

from __future__ import annotations

import json

import pytest

from tests.cli.application import Application
from tests.cli.conftest import Call


@pytest.fixture
def queues(call: Call, database_url: str, schema: str, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs `workerqueue queues` on the test's schema."""
    monkeypatch.setenv("WORKERQUEUE_DATABASE_URL", database_url)
    return lambda *arguments: call("queues", *arguments, "--schema", schema)


def test_a_queue_is_paused_shown_and_resumed(queues: Call) -> None:
    """As a table for people."""
    assert queues("pause", "a").out == "paused a\n"
    assert queues("pause", "a").out == "a was paused before\n"
    lines = queues("list").out.splitlines()
    assert lines[0].split() == (
        ["queue", "pool", "available", "scheduled", "pending", "running", "retryable", "workers", "limits", "clients"]
    )
    notes = {line.split()[0]: line.split()[-1] for line in lines[1:]}
    assert (notes["a"], notes["b"]) == ("paused", "0")
    assert queues("resume", "*").out == "resumed *\n"
    assert queues("resume", "a").out == "a was not paused\n"


def test_json(queues: Call) -> None:
    """One queue is an object, the list a list of them; durations and times are plain."""
    one = json.loads(queues("set", "a", "--max-workers", "3", "--rate", "10/s", "--burst", "2", "--json").out)
    assert (one["name"], one["max_workers"], one["limits"]) == (
        "a",
        3,
        {"global_limit": None, "rate": "10/s", "burst": 2},
    )
    assert one["counts"]["available"] == one["counts"]["completed"] == 0
    assert [each["name"] for each in json.loads(queues("list", "--json").out)] == ["a", "b", "default"]
    assert "10/s burst 2" in queues("get", "a").out
    reset = json.loads(queues("set", "a", "--reset", "--global-limit", "4", "--json").out)
    assert reset["limits"] == {"global_limit": 4, "rate": None, "burst": None}


def test_queues_come_and_go(queues: Call, call: Call, schema: str) -> None:
    """One that was added takes jobs from other processes; with them it is not removed."""
    assert "burst" in queues("add", "burst", "--max-workers", "7").out
    assert call("insert", "greet", "--queue", "burst", "--schema", schema).code == 0
    refused = queues("remove", "burst")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == "workerqueue: queue 'burst' has 1 live jobs: let them end, or cancel them, before\n"
    assert queues("get", "burst").out.splitlines()[1].endswith("nobody works it")


@pytest.mark.req("A49")
def test_drain_waits_for_the_last_live_job(
    app: Application, call: Call, schema: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what is left, and of a queue that nobody works; once all is worked it ends well."""
    monkeypatch.setenv("WORKERQUEUE_DATABASE_URL", database_url)
    assert call("insert", "greet", "--schema", schema).code == 0
    left = call("drain", "default", "--schema", schema)
    assert (left.code, left.out) == (1, "")
    assert "nobody works default: its jobs wait for a client that does" in left.err
    assert "default has 1 live jobs: 1 available, 0 scheduled, 0 pending, 0 retryable, 0 running" in left.err
    late = call("drain", "default", "--wait", "--timeout", "0.1", "--schema", schema)
    assert late.code == 1
    assert app.run("run", "--drain").code == 0
    done = call("drain", "default", "--wait", "--schema", schema)
    assert (done.code, done.out) == (0, "default has no live job\n")
    assert call("drain", "nothing", "--schema", schema).code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pause", "c"], "no queue 'c' is configured"),
        (["set", "a", "--rate", "fast"], "such as '100/m'"),
        (["set", "a", "--max-workers", "0"], "max_workers: expected an integer from 1"),
        (["set", "fail-1", "--max-workers", "1"], "whose workers are those of 'b'"),
        (["remove", "a"], "it is configured"),
        (["add", "a"], "queues.set changes it"),
    ],
)
def test_mistakes(queues: Call, arguments: list[str], said: str) -> None:
    """One line with the cure, and exit code 2."""
    done = queues(*arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert done.err.count("\n") == 1
