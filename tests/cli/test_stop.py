"""How `workerqueue run` ends: softly at the first signal, at once at the second."""

from __future__ import annotations

import signal
from signal import SIGINT, SIGTERM

import pytest

from tests.cli.application import Application


@pytest.mark.req("D26")
@pytest.mark.parametrize("first", [SIGTERM, SIGINT])
async def test_soft_stop(app: Application, first: signal.Signals) -> None:
    """The first signal logs three lines, lets the running job finish, claims no other, and ends with 0."""
    (running,) = await app.put("gate")
    with app.start("run") as run:
        run.line("Task started", f"job_id={running} ")
        run.signal(first)
        run.line("Waiting for 1 ", "running=1")
        (late,) = await app.put("greet")
        (app.folder / "open").touch()
        ended = run.end()

    assert (ended.code, ended.out) == (0, "")
    assert await app.states(running, late) == ["completed", "available"]
    stop = [line for line in ended.err.splitlines() if "Task" not in line][1:]
    assert len(stop) == 3
    assert f"INFO    Received {first.name}, stopping" in stop[0]
    assert "Waiting for 1 " in stop[1]
    assert "Stopped " in stop[2]


@pytest.mark.req("D26")
@pytest.mark.parametrize("kind", ["gate", "block"])
@pytest.mark.parametrize(("first", "second"), [(SIGTERM, SIGTERM), (SIGINT, SIGINT), (SIGINT, SIGTERM)])
async def test_second_signal(app: Application, kind: str, first: signal.Signals, second: signal.Signals) -> None:
    """A second signal releases what runs, an endless thread too: the attempt is given back, and the code is 1."""
    (running,) = await app.put(kind)
    with app.start("run") as run:
        run.line("Task started", f"job_id={running} ")
        run.signal(first)
        run.line("Waiting for 1 ")
        run.signal(second)
        ended = run.end()

    assert (ended.code, ended.out) == (1, "")
    assert await app.states(running) == ["available"]
    assert await app.value("select attempt from {schema}.job where id = $1", running) == 0
    assert f"Received {second.name} again" in ended.err
    assert ended.err.splitlines()[-1].startswith("workerqueue: ")
    assert "Traceback" not in ended.err


async def test_released_job_is_worked_by_the_next_run(app: Application) -> None:
    """What a second signal released is worked by the next run, as its first attempt."""
    (job,) = await app.put("gate")
    with app.start("run") as run:
        run.line("Task started")
        run.signal(SIGTERM)
        run.line("Waiting for 1 ")
        run.signal(SIGTERM)
        assert run.end().code == 1
    (app.folder / "open").touch()

    ended = app.run("run", "--drain")

    assert f"Task completed task_kind=gate job_id={job} queue=default attempt=1 " in ended.err


async def test_stop_of_an_idle_run(app: Application) -> None:
    """A run with nothing to do ends at once with 0, and says that it received the signal and stopped."""
    (job,) = await app.put("greet")
    with app.start("run") as run:
        run.line("Task completed", f"job_id={job} ")
        run.signal(SIGTERM)
        ended = run.end()
    assert ended.code == 0
    assert "Received SIGTERM" in ended.err
    assert "Stopped " in ended.err


async def test_interrupted_wait(app: Application) -> None:
    """Ctrl-C while `insert --wait` waits ends it with one line and 1; the job stays."""
    with app.start("insert", "greet", "--wait") as insert:
        await app.reaches(1, "available")
        insert.signal(SIGINT)
        ended = insert.end()
    assert (ended.code, ended.err) == (1, "workerqueue: interrupted\n")
    assert await app.states(1) == ["available"]
