"""Setting and reading a context."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workerqueue import ContextError, context, current_context
from workerqueue.job_context import NOTHING, Context, read_context, written_context


def test_blocks_add_to_each_other_and_end() -> None:
    """Inside, what was set around stays; behind, it is as before."""
    assert current_context() is NOTHING
    assert written_context() is None
    with context(tenant="t1", user="u1") as outer:
        assert current_context() is outer
        with context(user="u2", correlation_id="c1"):
            assert current_context() == Context(tenant="t1", user="u2", correlation_id="c1")
        with context(fresh=True):
            assert current_context() == NOTHING
            assert written_context() is None
        with context(tenant="t1"):
            assert current_context() == outer
        with pytest.raises(KeyError), context(user="u3"):
            raise KeyError
        assert current_context() is outer
    assert current_context() is NOTHING


@pytest.mark.parametrize("name", ["tenant", "organization", "scope", "user", "correlation_id"])
@pytest.mark.parametrize("value", ["", " ", "x" * 256, "a\0", "a\x1fb", "\ud800", 7, True, ["t"]])
def test_what_can_be_no_value_is_refused(name: str, value: Any) -> None:
    """With the field's name; nothing is set."""
    given: dict[str, Any] = {name: value}
    with pytest.raises(ContextError, match=f"^{name}: expected 1 to 255 printable characters"), context(**given):
        pass
    with pytest.raises(ContextError, match=name):
        read_context(given)
    assert current_context() is NOTHING


@pytest.mark.parametrize("value", ["00", "00-" + "A" * 32 + "-" + "0" * 16 + "-01", "00-" + "0" * 32 + "-01"])
def test_a_trace_parent_is_one(value: str) -> None:
    """As W3C Trace Context writes it."""
    with pytest.raises(ContextError, match=r"^traceparent: expected 00-"), context(traceparent=value):
        pass


def test_what_is_written_is_read() -> None:
    """Whatever characters it has."""
    with context(tenant="Ünïcode ☃ \"'", scope="a:b/c") as whole:
        written = written_context()
    assert written is not None
    assert read_context(json.loads(written)) == whole
    assert read_context(None) is NOTHING
    assert read_context({}) is NOTHING
