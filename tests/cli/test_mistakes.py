"""Every mistake: one line that says what is wrong, the right exit code, and no traceback."""

from __future__ import annotations

import re
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest

from tests.cli.application import Application, environment
from tests.cli.conftest import Call
from tests.cli.process import COMMAND, Finished, started

NOWHERE = "postgresql://user:s3cret@127.0.0.1:1/x"
INSERT = ["insert", "greet", "--database-url", NOWHERE]

MISTAKES: list[tuple[list[str], int, str]] = [
    # The command line itself.
    ([], 2, "--help"),
    (["nope"], 2, "No such command 'nope'"),
    (["migrate"], 2, "Missing command"),
    (["migrate", "sideways"], 2, "No such command 'sideways'"),
    (["insert"], 2, "Missing argument"),
    (["run", "--nope"], 2, "--nope"),
    (["version", "x"], 2, "unexpected extra argument"),
    (["run", "--concurrency", "0"], 2, "--concurrency"),
    (["run", "--concurrency", "x"], 2, "--concurrency"),
    (["run", "--log-level", "loud"], 2, "'debug', 'info', 'warning', 'error'"),
    (["run", "--queues", "a=0", "--database-url", NOWHERE], 2, "--queues: expected name or name=workers"),
    (["run", "--queues", "a,", "--database-url", NOWHERE], 2, "--queues: expected name or name=workers"),
    (["run", "--queues", "aa", "--database-url", NOWHERE], 2, "no queue 'aa' is configured; did you mean 'a'?"),
    (["run", "--max-time", "0", "--database-url", NOWHERE], 2, "longer than 0"),
    # The database.
    (["run"], 2, "no database given: pass its URL (--database-url postgresql://…)"),
    (["insert", "greet"], 2, "WORKERQUEUE_DATABASE_URL"),
    (["migrate", "up"], 2, "no database given"),
    (["run", "--database-url", "s3cret"], 2, "the database's URL can't be read; expected postgresql://"),
    (["run", "--database-url", "http://u:s3cret@h/x"], 2, "the database's URL can't be read"),
    (["migrate", "up", "--database-url", "postgresql://u:s3cret@h:port/x"], 2, "the database's URL can't be read"),
    (["run", "--schema", "no schema", "--database-url", NOWHERE], 2, "schema: expected a letter or underscore"),
    # The module.
    (["run", "--tasks", "nope"], 2, "--tasks nope: does not import: ModuleNotFoundError: No module named 'nope'"),
    (["dev", "--tasks", "nope"], 2, "--tasks nope: does not import"),
    (["tasks", "--tasks", "broken"], 2, "--tasks broken: does not import: SyntaxError"),
    (["tasks", "--tasks", "raises"], 2, "--tasks raises: does not import: KeyError"),
    (["tasks", "--tasks", "leaves"], 2, "--tasks leaves: does not import: SystemExit"),
    (["run", "--tasks", "without"], 2, "--tasks without: expected a Workers named `workers` in it"),
    (["run", "--tasks", "unlike"], 2, "--tasks unlike: expected a Workers named `workers` in it, got dict"),
    (["run", "--tasks", "idle", "--database-url", NOWHERE], 2, "no workers"),
    # The configuration.
    (["tasks", "--config", "nowhere"], 2, "no configuration in 'nowhere': expected queues.toml or tasks.toml there"),
    (["run", "--config", "zero"], 2, "zero/queues.toml [a] max_workers: "),
    (["run", "--config", "typo"], 2, "typo/queues.toml [a] max_worker: no such setting; did you mean 'max_workers'?"),
    (["run", "--config", "toml"], 2, "toml/queues.toml: not TOML"),
    (["run", "--config", "queue"], 2, "queue/tasks.toml [greet] queue: no queue 'b' is configured"),
    (["run", "--config", "field", "--database-url", NOWHERE], 2, "field/tasks.toml [greet] dynamic_queue: "),
    # The insert, before any database is asked.
    ([*INSERT, "--", "{"], 2, "the args are not JSON"),
    ([*INSERT, "[1]"], 2, "the args are a JSON object such as {}, got a list"),
    ([*INSERT, "null"], 2, "the args are a JSON object such as {}"),
    ([*INSERT, '{"count": "many"}'], 2, "args.count: "),
    (["insert", "fail", "{}", "--database-url", NOWHERE], 2, "args.id: "),
    (["insert", "unworked", '{"a": NaN}', "--database-url", NOWHERE], 2, "args.a: expected a finite number"),
    (["insert", "unworked", '{"a": "\\u0000"}', "--database-url", NOWHERE], 2, "args.a: "),
    (["insert", "gret", "--database-url", NOWHERE], 2, "kind 'gret'"),
    (["insert", "gret", "--database-url", NOWHERE], 2, "did you mean 'greet'?"),
    (["insert", "elswhere", "--database-url", NOWHERE], 2, "did you mean 'elsewhere'?"),
    ([*INSERT, "--queue", "aa"], 2, "no queue 'aa' is configured; did you mean 'a'?"),
    ([*INSERT, "--priority", "99999"], 2, "priority: expected an integer from -32768 to 32767, got 99999"),
    ([*INSERT, "--priority", "high"], 2, "--priority"),
    ([*INSERT, "--scheduled-at", "2099-11-22T09:00:00"], 2, "naive 2099-11-22T09:00:00"),
    ([*INSERT, "--scheduled-at", "soon"], 2, "--scheduled-at: expected 2026-11-22T09:00:00+01:00"),
    ([*INSERT, "--scheduled-at", "5000000d"], 2, "scheduled"),
    ([*INSERT, "--scheduled-at", "99999999999999999999d"], 2, "scheduled"),
    ([*INSERT, "--wait", "--timeout", "inf"], 2, "timeout"),
    ([*INSERT, "--wait", "--timeout", "1e300"], 2, "timeout"),
]
MODULES = {
    "broken": "workers = (",
    "raises": "{}['x']",
    "leaves": "import sys; sys.exit(3)",
    "without": "",
    "unlike": "workers = {}",
    "idle": "from workerqueue import Workers; workers = Workers()",
}
FILES = {
    "zero/queues.toml": "[a]\nmax_workers = 0",
    "typo/queues.toml": "[a]\nmax_worker = 3",
    "toml/queues.toml": "[a",
    "queue/tasks.toml": '[greet]\nqueue = "b"',
    "field/tasks.toml": '[greet]\ndynamic_queue = "for-{nme}"',
}


@pytest.fixture
def mistaken(folder: Path) -> Path:
    """The application's folder, with modules and configurations that are wrong."""
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text(text)
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def name_of(case: object) -> str:
    """A case's name: its arguments."""
    return " ".join(cast("list[str]", case)).replace(NOWHERE, "…") if isinstance(case, list) else ""


def is_one_line(done: Finished) -> bool:
    """Whether a mistake is one line on stderr, and the password in no line."""
    return bool(re.fullmatch(r"workerqueue: .+\n", done.err)) and "s3cret" not in done.both


@pytest.mark.parametrize(("arguments", "code", "problem"), MISTAKES, ids=name_of)
@pytest.mark.usefixtures("mistaken")
def test_mistake(call: Call, arguments: list[str], code: int, problem: str) -> None:
    """A mistake is one line on stderr that names it, nothing on stdout, the exit code of its class, and no password."""
    done = call(*arguments)
    assert problem in done.err
    assert (done.code, done.out) == (code, "")
    assert is_one_line(done)


def test_own_words(call: Call) -> None:
    """A mistake in a value that we read ourselves is not prefixed with the parser's words."""
    done = call(*INSERT, "--scheduled-at", "soon")
    assert done.err.startswith("workerqueue: --scheduled-at: expected ")


def test_database_away(folder: Path) -> None:
    """A command whose database is away ends by itself with one line and 1, and does not show the password."""
    commands = [
        ["run"],
        ["run", "--drain"],
        ["dev"],
        ["migrate", "up"],
        ["migrate", "status", "--json"],
        ["insert", "greet", "--json"],
    ]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(started([*command, "--database-url", NOWHERE], folder, environment()))
            for command in commands
        ]
        ends = [process.end() for process in processes]
    for done in ends:
        assert (done.code, done.out) == (1, "")
        assert is_one_line(done)
        assert "PostgreSQL is not available" in done.err


@pytest.mark.parametrize(
    ("old", "new"),
    [(r":[^:@/]+@", ":s3cret@"), (r"/\w+$", "/nosuchdatabase")],
    ids=["wrong password", "no such database"],
)
def test_database_refuses(call: Call, database_url: str, old: str, new: str) -> None:
    """A database that lets nobody in is named as what it is, not as a statement that was refused."""
    done = call("migrate", "status", "--database-url", re.sub(old, new, database_url))
    assert done.code in {1, 2}
    assert is_one_line(done)
    assert "refused a statement" not in done.err


def test_not_migrated(call: Call, database_url: str, empty_schema: str) -> None:
    """A schema that is not migrated is wrong use, and the line has the command that cures it."""
    to = ["--database-url", database_url, "--schema", empty_schema]
    for command in (["run"], ["run", "--drain"], ["insert", "greet", "--json"], ["insert", "greet", "--wait"]):
        done = call(*command, *to)
        assert (done.code, done.out) == (2, "")
        assert is_one_line(done)
        assert f"workerqueue migrate up --schema {empty_schema}" in done.err


def test_no_workers(folder: Path, call: Call) -> None:
    """Where no tasks module lies, `run` says how to name one, and `tasks` works without."""
    (folder / "tasks.py").unlink()
    done = call("run", "--database-url", NOWHERE)
    assert (done.code, done.out) == (2, "")
    assert is_one_line(done)
    assert "no workers: pass --tasks MODULE" in done.err
    assert call("tasks").code == 0


@pytest.mark.parametrize("place", [0, 1, 2])
def test_debug(call: Call, place: int) -> None:
    """--debug, wherever it stands, shows the traceback before the one line."""
    arguments = ["insert", "gret", "--database-url", NOWHERE]
    plain = call(*arguments)
    arguments.insert(place, "--debug")
    done = call(*arguments)
    assert done.code == 2
    assert done.err.startswith("Traceback (most recent call last):\n")
    assert done.err.endswith(plain.err)
    assert "s3cret" not in done.both


def test_debug_as_a_value(call: Call) -> None:
    """What stands after `--` is a value, `--debug` too."""
    done = call("insert", "--database-url", NOWHERE, "--", "--debug")
    assert "kind '--debug'" in done.err
    assert "Traceback" not in done.err


def test_as_a_process(app: Application) -> None:
    """A mistake looks the same from a shell, and an unforeseen one too is one line unless --debug asks for more."""
    done = app.run("insert", "gret")
    assert (done.code, done.out) == (2, "")
    assert is_one_line(done)
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [*COMMAND, "tasks"],
            cwd=app.folder,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
