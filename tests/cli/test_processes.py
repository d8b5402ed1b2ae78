"""`workerqueue run --processes N`: workers that share the work, come back when they fall, and end together."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import sys
from signal import SIGINT, SIGKILL, SIGTERM

import pytest

from tests.cli.application import Application
from tests.cli.conftest import Call
from tests.cli.process import Process, processes_of, until
from workerqueue.cli.supervise import LONG_LIFE, LONGEST_PAUSE, Pauses

NOTE = '''

import asyncio
import os


class Note(JobArgs):
    @classmethod
    def kind(cls) -> str:
        return "note"


@workers.worker
async def note(job: Job[Note]) -> str:
    """Notes which process ran it, and ends when two have noted one."""
    with Path("notes").open("a") as file:
        file.write(f"{job.id} {os.getpid()}\\n")
    while len({line.split()[1] for line in Path("notes").read_text().splitlines()}) < 2:
        await anyio.sleep(0.01)
    return "done"


class Loop(JobArgs):
    @classmethod
    def kind(cls) -> str:
        return "loop"


@workers.worker
async def loop(job: Job[Loop]) -> str:
    return type(asyncio.get_running_loop()).__module__.split(".")[0]
'''
TWO = ("run", "--processes", "2", "--concurrency", "1")


@pytest.fixture
def app(app: Application) -> Application:
    """The application with two more kinds, whose worker processes fail on a warning too."""
    with (app.folder / "tasks.py").open("a") as file:
        file.write(NOTE)
    app.environment["PYTHONWARNINGS"] = "error"
    return app


def begun(run: Process, number: int, *, after: int = 0) -> int:
    """Wait until one of the processes works, and give its pid."""
    line = run.line("Working ", " kinds ", f" process={number}\n", after=after)
    found = re.search(r" client=\S+-(\d+)-[0-9a-f]{8} ", line)
    assert found is not None
    return int(found[1])


def noted(app: Application) -> list[tuple[int, int]]:
    """The job and the process of each note."""
    lines = (line.split() for line in (app.folder / "notes").read_text().splitlines())
    return [(int(job), int(pid)) for job, pid in lines]


async def test_shared_queue(app: Application) -> None:
    """Two processes drain one queue, run each job once, end by themselves with 0, and every line names one."""
    jobs = await app.put(*["note"] * 30)

    ended = app.run(*TWO, "--drain")

    assert (ended.code, ended.out) == (0, "")
    assert sorted(job for job, _ in noted(app)) == jobs
    assert len({pid for _, pid in noted(app)}) == 2
    assert set(await app.states(*jobs)) == {"completed"}
    names = {line.rpartition(" process=")[2] for line in ended.err.splitlines()}
    assert names == {"1", "2", "supervisor"}
    assert "Working in 2 processes" in ended.err


async def test_killed_worker(app: Application) -> None:
    """A worker that is killed is started again and said why, while the other goes on, and both work."""
    with app.start(*TWO) as run:
        first, second = begun(run, 1), begun(run, 2)
        os.kill(first, SIGKILL)
        run.line("Process 1 was ended by SIGKILL, starting it again in 0.", "process=supervisor")
        replaced = begun(run, 1, after=len(run.lines))
        await app.put("note", "note")
        for number in (1, 2):
            run.line("Task completed", f" process={number}\n")
        run.signal(SIGTERM)
        ended = run.end()

    assert ended.code == 0
    assert {pid for _, pid in noted(app)} == {replaced, second}


async def test_worker_stopped_by_another(app: Application) -> None:
    """A worker that somebody else stops is started again, although it ended softly."""
    await app.put("gate", "gate")
    with app.start(*TWO) as run:
        stopped = begun(run, 2)
        run.line("Task started", " process=2\n")
        os.kill(stopped, SIGTERM)
        run.line("Waiting for 1 ", " process=2\n")
        (app.folder / "open").touch()
        run.line("Process 2 ended with 0, starting it again")
        assert begun(run, 2, after=len(run.lines)) != stopped
        run.signal(SIGTERM)
        assert run.end().code == 0


@pytest.mark.parametrize("first", [SIGTERM, SIGINT])
async def test_soft_stop(app: Application, first: signal.Signals) -> None:
    """The first signal lets every process finish what it runs, each says so once, and the run ends with 0."""
    jobs = await app.put("gate", "gate")
    with app.start(*TWO) as run:
        for number in (1, 2):
            run.line("Task started", f" process={number}\n")
        run.signal(first)
        for number in (1, 2):
            run.line("Waiting for 1 ", f" process={number}\n")
        (app.folder / "open").touch()
        ended = run.end()

    assert (ended.code, ended.out) == (0, "")
    assert await app.states(*jobs) == ["completed", "completed"]
    lines = ended.err.splitlines()
    for number in (1, 2):
        for message in ("Received SIGTERM, stopping", "Waiting for 1 ", "Stopped "):
            assert len([line for line in lines if message in line and line.endswith(f" process={number}")]) == 1
    assert f"Received {first.name}, stopping 2 processes" in ended.err
    assert lines[-1].endswith(" Stopped process=supervisor")


async def test_second_signal(app: Application) -> None:
    """A second signal has every process release what it runs, without an attempt lost, and the run ends with 1."""
    jobs = await app.put("gate", "gate")
    with app.start(*TWO) as run:
        for number in (1, 2):
            run.line("Task started", f" process={number}\n")
        run.signal(SIGTERM)
        for number in (1, 2):
            run.line("Waiting for 1 ", f" process={number}\n")
        run.signal(SIGINT)
        ended = run.end()

    assert (ended.code, ended.out) == (1, "")
    assert await app.states(*jobs) == ["available", "available"]
    assert await app.value("select sum(attempt) from {schema}.job") == 0
    assert "Received SIGINT again, hurrying 2 processes" in ended.err
    assert ended.err.splitlines()[-1] == "workerqueue: not every process ended softly"
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("first", [SIGTERM, SIGINT])
def test_stop_at_the_start(app: Application, first: signal.Signals) -> None:
    """A signal that comes while the processes start ends the run with 0 and without a traceback."""
    (app.folder / "tasks.py").write_text("import sys, time\nprint('importing', file=sys.stderr)\ntime.sleep(60)\n")
    with app.start(*TWO) as run:
        run.line("importing")
        run.signal(first)
        ended = run.end()

    assert ended.code == 0
    assert "Traceback" not in ended.err
    assert not processes_of(app.folder)


async def test_killed_supervisor(app: Application) -> None:
    """A supervisor that is killed leaves no process behind, and no process is shown with the database's URL."""
    del app.environment["WORKERQUEUE_DATABASE_URL"]
    await app.put("note", "note")
    with app.start(*TWO, "--database-url", app.url) as run:
        workers = {begun(run, 1), begun(run, 2)}
        for number in (1, 2):
            run.line("Task completed", f" process={number}\n")
        shown = processes_of(app.folder)
        assert workers < set(shown)
        assert not [shown[pid] for pid in workers if app.url in shown[pid]]
        run.signal(SIGKILL)
        until(lambda: not processes_of(app.folder), "no worker process left")
        ended = run.end()

    assert ended.code == -SIGKILL
    for number in (1, 2):
        assert re.search(rf" Stopped .* process={number}\n", ended.err)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--tasks", "nope"], "--tasks nope: does not import"),
        (["--queues", "aa"], "no queue 'aa' is configured"),
        (["--max-time", "0"], "--max-time: expected a duration longer than 0"),
    ],
)
def test_wrong_use(app: Application, options: list[str], problem: str) -> None:
    """What no process can start with ends the run with 2 and one line, however many processes there are."""
    ended = app.run(*TWO, *options)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"workerqueue: {problem}")
    assert ended.err.count("\n") == 1


def test_not_migrated(app: Application, empty_schema: str) -> None:
    """A schema that is not migrated ends the run with 2 and the line that cures it."""
    ended = app.run(*TWO, "--schema", f"{empty_schema}_not", schema=False)
    assert ended.code == 2
    assert re.fullmatch(r"workerqueue: .* `workerqueue migrate up .*\n", ended.err)


def test_wrong_use_later(app: Application) -> None:
    """A configuration broken under a running supervisor ends the run with 2 when a process starts, others softly."""
    with app.start(*TWO) as run:
        first, _ = begun(run, 1), begun(run, 2)
        (app.folder / "config" / "queues.toml").write_text("[a]\nmax_worker = 1\n")
        os.kill(first, SIGKILL)
        ended = run.end()

    assert ended.code == 2
    assert "Process 1 refused to start, stopping 1 process" in ended.err
    assert re.search(r" Stopped .* process=2\n", ended.err)
    assert ended.err.count("workerqueue: ") == 1


def test_crash_at_start(app: Application) -> None:
    """A worker that crashes whenever it starts is started again after growing pauses, until a signal."""
    (app.folder / "tasks.py").write_text("import os\nos._exit(7)\n")
    with app.start(*TWO) as run:
        seen, pauses = 0, list[float]()
        for _ in range(4):
            line = run.line("Process 1 ended with 7, starting it again in 0.", after=seen)
            seen = run.lines.index(line) + 1
            pauses.append(float(line.partition(" pause=")[2].split()[0]))
        run.signal(SIGTERM)
        ended = run.end()

    assert ended.code == 0
    for pause, longest in zip(pauses, [0.1, 0.2, 0.4, 0.8], strict=True):
        assert 0.74 * longest <= pause <= longest  # up to a quarter less, rounded
    assert "Process 2 ended with 7" in ended.err


def test_pauses() -> None:
    """Pauses double up to the longest, and begin anew after a long life."""
    pauses = Pauses()
    last = [pauses.after(0.1) for _ in range(10)][-1]
    assert 0.74 * LONGEST_PAUSE <= last <= LONGEST_PAUSE
    assert pauses.after(LONG_LIFE) <= 0.1
    assert 0.14 <= pauses.after(0.1) <= 0.2


def test_max_time(app: Application) -> None:
    """With --max-time the run ends by itself with 0, and a worker started late is given what is left."""
    with app.start(*TWO, "--max-time", "12") as run:
        os.kill(begun(run, 2), SIGKILL)
        begun(run, 2, after=len(run.lines))
        ended = run.end()
    assert ended.code == 0
    assert "Received" not in ended.err
    assert ended.err.count("Process ") == 1


async def test_one_process(app: Application) -> None:
    """One process is no supervisor: it works by itself, and its lines name no process."""
    await app.put("greet")
    with app.start("run", "--processes", "1") as run:
        run.line("Task completed")
        assert len(processes_of(app.folder)) == 1
        run.signal(SIGTERM)
        ended = run.end()
    assert ended.code == 0
    assert "process=" not in ended.err


@pytest.mark.parametrize("forced", [None, "asyncio"])
async def test_loop(app: Application, forced: str | None) -> None:
    """Jobs run on uvloop where it is installed, or on the loop that the environment names; the first line says so."""
    (job,) = await app.put("loop")
    app.environment |= {"WORKERQUEUE_LOOP": forced} if forced else {}

    ended = app.run("run", "--drain")

    expected = forced or ("uvloop" if importlib.util.find_spec("uvloop") else "asyncio")
    assert ended.code == 0
    assert ended.err.splitlines()[0].endswith(f" loop={expected}")
    assert ended.err.count(" loop=") == 1
    assert await app.value("select output #>> '{{}}' from {schema}.job_all where id = $1", job) == expected


def test_unknown_loop(app: Application) -> None:
    """A loop that nobody knows is wrong use, in a process of many too."""
    app.environment["WORKERQUEUE_LOOP"] = "trio"
    ended = app.run(*TWO)
    assert (ended.code, ended.err) == (2, "workerqueue: WORKERQUEUE_LOOP: expected asyncio or uvloop, got 'trio'\n")


def test_missing_loop(app: Application, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for a loop that is not installed is wrong use, and the line has the extra that brings it."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    monkeypatch.setenv("WORKERQUEUE_LOOP", "uvloop")
    done = call("run", "--database-url", app.url)
    assert done.code == 2
    assert done.err == "workerqueue: WORKERQUEUE_LOOP: uvloop is not installed; install workerqueue-postgres[fast]\n"
