"""The tree of errors is the one drawn, and all of it is public."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

import workerqueue
from workerqueue import ArgsError, JobWaitTimeout, WorkerQueueError, errors
from workerqueue.errors import near_matches


def drawn_tree() -> dict[str, str | None]:
    """Each class in the docstring's drawing, with the class it hangs on."""
    tree: dict[str, str | None] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        drawn = re.match(r"^((?:│   |    )*(?:├── |└── )?)([A-Z]\w+)(?: \(.*\))?$", line)
        if drawn:
            depth = len(drawn[1]) // 4
            above[depth:] = [drawn[2]]
            tree[drawn[2]] = above[depth - 1] if depth else None
    return tree


def real_tree() -> dict[str, str | None]:
    """Each class of the module, with the class of ours it derives from."""
    classes = [each for _, each in inspect.getmembers(errors, inspect.isclass) if each.__module__ == errors.__name__]
    return {
        each.__name__: next((base.__name__ for base in each.__bases__ if base in classes), None) for each in classes
    }


def test_the_drawing_is_the_tree() -> None:
    """The docstring shows every error and where it hangs."""
    assert drawn_tree() == real_tree()
    assert [name for name, above in drawn_tree().items() if above is None] == ["WorkerQueueError"]


def test_every_error_is_public() -> None:
    """Whatever can be raised can be caught by a public name."""
    assert set(real_tree()) - set(workerqueue.__all__) == set()


def test_what_is_drawn_as_also_a_timeout_error_is_one() -> None:
    """A caller may catch a wait that took too long as the built-in."""
    assert issubclass(JobWaitTimeout, TimeoutError)


def test_a_refusal_of_args_carries_its_path() -> None:
    """The path is an attribute and the beginning of the text."""
    error = ArgsError("args.id", "expected text")
    assert (error.path, str(error)) == ("args.id", "args.id: expected text")
    assert isinstance(error, WorkerQueueError)


def test_a_refusal_of_args_survives_a_process_boundary() -> None:
    """An error that a process executor or a test runner pickles comes back as it was."""
    error = pickle.loads(pickle.dumps(ArgsError("args.id", "expected text")))  # noqa: S301 - our own bytes
    assert (type(error), error.path, str(error)) == (ArgsError, "args.id", "args.id: expected text")


@pytest.mark.parametrize(
    ("name", "known", "ending"),
    [
        ("exections", ["default", "executions"], "did you mean 'executions'?"),
        ("run", ["runs", "rune", "x"], "did you mean 'runs' or 'rune'?"),
        ("zzz", ["b", "a"], "known are 'a', 'b'"),
        ("zzz", [], "none is known"),
    ],
    ids=["one near", "two near", "none near", "none known"],
)
def test_an_unknown_name_is_answered_with_what_was_probably_meant(name: str, known: list[str], ending: str) -> None:
    """Near matches come first, else all that is known."""
    assert near_matches(name, known) == ending
