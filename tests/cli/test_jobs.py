"""`workerqueue jobs`."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.cli.conftest import Call
from tests.engine.jobs import Work
from workerqueue import Client, context


@pytest.fixture
def run(call: Call, database_url: str, schema: str, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs a command on the test's schema."""
    monkeypatch.setenv("WORKERQUEUE_DATABASE_URL", database_url)
    return lambda *arguments: call(*arguments, "--schema", schema)


def test_jobs_are_listed_and_handled(run: Call) -> None:
    """By their ids, and by their keys where one says so."""
    inserted = json.loads(run("insert", "greet", '{"name": "a"}', "--scheduled-at", "1h", "--json").out)
    job = str(inserted["id"])
    run("insert", "greet", "--job-key", "42", "--scheduled-at", "1h")
    lines = run("jobs", "list").out.splitlines()
    assert lines[0].split()[:5] == ["id", "kind", "state", "queue", "attempt"]
    assert [line.split()[1:5] for line in lines[1:]] == [["greet", "scheduled", "default", "0/3"]] * 2
    assert run("jobs", "retry", job).out == f"job {job} greet available in default\n"
    assert json.loads(run("jobs", "get", job).out)["state"] == "available"
    assert run("jobs", "cancel", "42", "--key").out.endswith("greet cancelled in default\n")
    assert [each["id"] for each in json.loads(run("jobs", "list", "--state", "available", "--json").out)] == [int(job)]
    assert run("jobs", "list", "--limit", "1").out.splitlines()[-1].startswith("there are more: --cursor ")
    assert run("jobs", "delete", job).out == f"job {job} greet deleted in default\n"
    assert json.loads(run("jobs", "cancel", "42", "--key", "--json").out)["reason"] == "cancelled"


def test_jobs_of_one_tenant_are_listed(run: Call, database_url: str, schema: str) -> None:
    """With the context as a field of their own, and nothing of what is internal."""

    async def insert() -> None:
        async with Client(database_url, schema=schema) as client:
            for tenant in ("t1", "t2"):
                with context(tenant=tenant, user="u1"):
                    await client.insert(Work())

    asyncio.run(insert())
    (job,) = json.loads(run("jobs", "list", "--tenant", "t2", "--json").out)
    assert {name: value for name, value in job["context"].items() if value} == {"tenant": "t2", "user": "u1"}
    assert [name for name in job if name.startswith("_")] == []
    assert (job["last_progress"], job["last_checkpoint"], job["deadline_at"]) == (None, None, None)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["jobs", "get", "404"], 1, "there is no job 404"),
        (["jobs", "cancel", "404"], 1, "job 404: there is none"),
        (["jobs", "cancel", "k"], 2, "expected a job's id, got 'k'; a key needs --key"),
        (["jobs", "cancel", "k", "--key"], 1, "job k: there is none"),
        (["jobs", "list", "--state", "done"], 2, "no state 'done'"),
        (["jobs", "list", "--limit", "0"], 2, "limit: expected 1 to 1000"),
    ],
)
def test_mistakes(run: Call, arguments: list[str], code: int, said: str) -> None:
    """One line with what was wrong."""
    done = run(*arguments)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert done.err.count("\n") == 1
