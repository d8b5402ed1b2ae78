"""The context of a job: on whose behalf it was inserted, and what it belongs to; there before its worker's first line.

Theory. A context is set around a block of code, and every job inserted there carries it. Whoever works the job sets it
again, in middleware, worker, hooks, threads and child processes alike; so jobs that a worker inserts have it too. What
may travel is the white list of `Context`'s fields, none of which is a secret: an application looks permissions up
again when the job runs, by the user's id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from typing import Final

from workerqueue.errors import ContextError, brief

LENGTH: Final = 255

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Context:
    """What travels with a job beside its args; each is `None`, or 1 to 255 printable characters."""

    tenant: str | None = None
    """Whose job it is: keys, locks and values are each tenant's own, and its jobs are only its own to look at."""
    organization: str | None = None
    scope: str | None = None
    user: str | None = None
    """Who asked for it, by an id."""
    correlation_id: str | None = None
    """What ties together all that one request set off."""
    traceparent: str | None = None
    """The trace that it belongs to, as W3C Trace Context writes it: `00-{32 hex}-{16 hex}-01`."""

    def __post_init__(self) -> None:
        for name in NAMES:
            value: object = getattr(self, name)
            if value is not None:
                _check(name, value)

    @property
    def said(self) -> dict[str, str]:
        """What is set."""
        return {name: value for name, value in asdict(self).items() if value is not None}


NAMES: Final = tuple(each.name for each in fields(Context))
NOTHING: Final = Context()
"""Nothing is set."""

_current: ContextVar[Context] = ContextVar("workerqueue_context", default=NOTHING)


def current_context() -> Context:
    """Give the context that jobs inserted here get: inside a worker, that of its job."""
    return _current.get()


@contextmanager
def context(
    *,
    tenant: str | None = None,
    organization: str | None = None,
    scope: str | None = None,
    user: str | None = None,
    correlation_id: str | None = None,
    traceparent: str | None = None,
    fresh: bool = False,
) -> Generator[Context]:
    """Set the context of the jobs that are inserted inside a block.

    ::

        with context(tenant="t1", user="u7"):
            await client.insert(StartRunArgs(id="run_1"))

    Args:
        tenant: Whose jobs they are. Inside a block or a worker of one tenant another can't be named.
        organization: What is `None`, here and below, stays as it is around the block.
        scope: Free for the application's use, as `organization` is.
        user: Who asks for it, by an id.
        correlation_id: What ties together all that one request sets off.
        traceparent: The trace that they belong to, as W3C Trace Context writes it.
        fresh: Begin with nothing, instead of with what is set around the block: the way to act for another tenant.

    Raises:
        ContextError: If a value is not 1 to 255 printable characters, or is of another tenant.
    """
    given = Context(tenant, organization, scope, user, correlation_id, traceparent).said
    around = NOTHING if fresh else current_context()
    if around.tenant is not None and given.get("tenant", around.tenant) != around.tenant:
        raise ContextError(
            f"tenant: expected {brief(around.tenant)}, whose context this is, got {brief(tenant)}; "
            "context(fresh=True, …) acts for another on purpose"
        )
    with entered(replace(around, **given)) as inside:
        yield inside


@contextmanager
def entered(whole: Context) -> Generator[Context]:
    """Have this context, and nothing of the one around it, inside a block."""
    token = _current.set(whole)
    try:
        yield whole
    finally:
        _current.reset(token)


def written_context() -> str | None:
    """Write the current context as it is stored; `None` if nothing is set."""
    current = _current.get()
    return None if current is NOTHING else _write(current)


@lru_cache(maxsize=256)
def _write(current: Context) -> str | None:
    said = current.said
    return json.dumps(said, ensure_ascii=False) if said else None


def read_context(stored: Mapping[str, object] | None) -> Context:
    """Read a context as it is stored.

    Raises:
        ContextError: If it is not one: it has a field that may not travel, or a value that can't be right.
    """
    if not stored:
        return NOTHING
    if unknown := sorted(stored.keys() - set(NAMES)):
        raise ContextError(f"context: expected {', '.join(NAMES)}, got {brief(unknown[0])}")
    for name, value in stored.items():
        _check(name, value)
    return Context(**{name: str(value) for name, value in stored.items()})


def _check(name: str, value: object) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= LENGTH or not value.isprintable() or not value.strip():
        raise ContextError(f"{name}: expected 1 to {LENGTH} printable characters, got {brief(value)}")
    if name == "traceparent" and not _TRACEPARENT.fullmatch(value):
        raise ContextError(f"traceparent: expected 00-{{32 hex digits}}-{{16 hex digits}}-01, got {brief(value)}")
