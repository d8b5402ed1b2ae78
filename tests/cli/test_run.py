"""`workerqueue run`: works jobs and says so."""

from __future__ import annotations

import re
import signal

import pytest

from tests.cli.application import Application
from tests.waiting import eventually


async def test_drain(app: Application) -> None:
    """A drain works what is there and what falls due within the horizon, logs each job, and ends by itself with 0."""
    (greeted,) = await app.put("greet")
    soon = app.insert("greet", "{}", "--scheduled-at", "1s")
    later = app.insert("greet", "{}", "--scheduled-at", "1h")
    failed = app.insert("fail", '{"id": 7}')

    ended = app.run("run", "--drain")

    assert (ended.code, ended.out) == (0, "")
    assert await app.states(greeted, soon, later, failed) == ["completed", "completed", "scheduled", "discarded"]
    time = r"(?m)^\d\d:\d\d:\d\d "
    facts = rf"task_kind=greet job_id={greeted} queue=default attempt=1 max_attempts=\d+"
    assert re.search(rf"{time}INFO    Task started {facts}$", ended.err)
    assert re.search(rf"{time}INFO    Task completed {facts} duration_ms=[\d.]+$", ended.err)
    facts = rf"task_kind=fail job_id={failed} queue=fail-7 attempt=1 max_attempts=\d+"
    error = 'error="ValueError: no such customer"'
    assert re.search(rf"{time}ERROR   Task discarded {facts} duration_ms=[\d.]+ {error}$", ended.err)
    assert len(re.findall(r"Task started", ended.err)) == 3


async def test_failed_attempt(app: Application) -> None:
    """An attempt that fails is logged with its error, and a retry beyond the horizon does not hold up a drain."""
    (job,) = await app.put("falter")

    ended = app.run("run", "--drain", "--horizon", "0")

    assert ended.code == 0
    line = next(line for line in ended.err.splitlines() if "Task failed" in line)
    assert " WARNING " in line
    assert f"task_kind=falter job_id={job} " in line
    assert re.search(r'duration_ms=[\d.]+ error="ValueError: not today"$', line)
    assert await app.states(job) == ["retryable"]


@pytest.mark.req("D31o")
async def test_max_time(app: Application) -> None:
    """A drain that still has a job to wait for ends at --max-time with 0, and leaves the job as it is."""
    job = app.insert("greet", "{}", "--scheduled-at", "50s")

    ended = app.run("run", "--drain", "--max-time", "0.3")

    assert (ended.code, await app.states(job)) == (0, ["scheduled"])
    assert "Task started" not in ended.err


async def test_max_time_lets_a_running_job_finish(app: Application) -> None:
    """At --max-time what runs is finished first, without --drain too."""
    (job,) = await app.put("gate")
    with app.start("run", "--max-time", "0.5") as run:
        run.line("Waiting for 1 ")
        (app.folder / "open").touch()
        assert run.end().code == 0
    assert await app.states(job) == ["completed"]


async def test_queues(app: Application) -> None:
    """Only the queues named in --queues are worked, with the workers given there or else configured."""
    meeting = await app.put("meet", "meet", pool="a")  # two at once, where the configuration says one
    (greeted,) = await app.put("greet", pool="b")
    (other,) = await app.put("greet")

    ended = app.run("run", "--drain", "--queues", "a=2,b")

    assert ended.code == 0
    assert await app.states(*meeting, greeted, other) == ["completed"] * 3 + ["available"]
    assert "Task failed" not in ended.err


async def test_concurrency(app: Application) -> None:
    """At most --concurrency jobs run at once over all queues."""
    jobs = [*await app.put(*["alone"] * 4, pool="b"), *await app.put(*["alone"] * 4)]

    ended = app.run("run", "--drain", "--horizon", "0", "--concurrency", "1")

    assert (ended.code, await app.states(*jobs)) == (0, ["completed"] * 8)


async def test_log_level(app: Application) -> None:
    """With --log-level error nothing is written about jobs that go well."""
    await app.put("greet")

    ended = app.run("run", "--drain", "--log-level", "error")

    assert (ended.code, ended.both) == (0, "")


async def test_lost_connections(app: Application) -> None:
    """A run whose database connections are all cut goes on with the next job."""
    with app.start("run") as run:
        (before,) = await app.put("greet")
        await app.reaches(before, "completed")
        cut = await app.value(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name like $1",
            f"workerqueue %-{run.pid}-%",
        )
        assert isinstance(cut, int)
        assert cut >= 4
        (after,) = await app.put("greet")
        await app.reaches(after, "completed")
        run.signal(signal.SIGTERM)
        ended = run.end()
    assert ended.code == 0
    assert "Traceback" not in ended.err
    assert app.secret not in ended.both


async def test_job_inserted_meanwhile(app: Application) -> None:
    """A run works a job that is inserted while it runs, and names itself on it."""
    with app.start("run") as run:
        job = app.insert("greet")
        run.line("Task completed", f"job_id={job} ")

        async def look() -> object:
            return await app.value("select attempted_by[1] from {schema}.job_all where id = $1", job)

        assert f"-{run.pid}-" in str(await eventually(look))
        run.signal(signal.SIGINT)
        assert run.end().code == 0
