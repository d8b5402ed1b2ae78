"""A user's application in a folder of its own, run as processes or, for speed, in this one."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests.cli.application import DATABASE_VARIABLES, Application, environment, write_application
from tests.cli.process import Finished
from workerqueue.cli.main import main

Call = Callable[..., Finished]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with `tasks.py` and `config/`, and without a database."""
    write_application(tmp_path)
    return tmp_path


@pytest.fixture
def app(folder: Path, database_url: str, schema: str) -> Application:
    """The application on a migrated schema."""
    return Application(folder, database_url, schema)


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """The application's folder as the current one, with what the command changes of this process put back."""
    for name in set(environment()) ^ set(os.environ):
        if name.startswith(DATABASE_VARIABLES):
            monkeypatch.delenv(name)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    ours = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "tasks"}
    before = set(sys.modules) - set(ours)
    for name in ours:
        del sys.modules[name]
    yield folder
    for name in set(sys.modules) - before:
        if Path(str(getattr(sys.modules[name], "__file__", None))).is_relative_to(folder):
            del sys.modules[name]
    sys.modules.update(ours)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("workerqueue").setLevel(logging.NOTSET)


@pytest.fixture
def call(here: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command in this process, in the application's folder."""

    def run(*arguments: str) -> Finished:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main(list(arguments))
        written = capsys.readouterr()
        code = exit_.value.code
        assert isinstance(code, int)
        return Finished(code, written.out, written.err)

    return run
