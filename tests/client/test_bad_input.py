"""Bad input: refused at insert with the path and the cure, and nothing is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.client.kinds import Note
from tests.conftest import MakeClient
from workerqueue import (
    ArgsError,
    Client,
    Config,
    ConfigError,
    InsertError,
    InsertOpts,
    JobArgs,
    JobState,
    OptionError,
    QueueConfig,
    TaskConfig,
    UnknownKindError,
    UnknownQueueError,
    Workers,
)
from workerqueue.database import Connection


def nested(depth: int) -> Any:
    """Make lists in lists."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


class Templated(JobArgs):
    name: str = ""

    @classmethod
    def kind(cls) -> str:
        return "templated"


CONFIG = Config(
    queues={"email": QueueConfig()},
    tasks={"listed": TaskConfig(queue="email", dynamic_queue="mail-{id}"), "named": TaskConfig()},
)

Insert = Callable[[Client], Awaitable[object]]


def args(**fields: Any) -> Insert:
    """Insert a note."""
    return lambda client: client.insert(Note(**fields))


def opts(**options: Any) -> Insert:
    """Insert with options."""
    return lambda client: client.insert(Note(), InsertOpts(**options))


def kind(name: str, payload: dict[str, object], **options: Any) -> Insert:
    """Insert by name."""
    return lambda client: client.insert_kind(name, payload, InsertOpts(**options))


SURROGATE = "\ud800"

BAD: dict[str, tuple[Insert, type[InsertError], str]] = {
    "args that do not validate": (kind("note", {"n": "many"}), ArgsError, r"^args\.n: "),
    "NUL": (args(data={"a": ["x", "y\0"]}), ArgsError, r"^args\.data\.a\[1\]: .*NUL"),
    "NUL in a key": (args(data={"a\0": 1}), ArgsError, r"^args\.data\..*key.*NUL"),
    "a lone surrogate": (args(data={"a": [{"b": SURROGATE}]}), ArgsError, r"^args\.data\.a\[0\]\.b: .*surrogate"),
    "NaN": (args(data=[1, float("nan")]), ArgsError, r"^args\.data\[1\]: .*finite"),
    "Infinity": (args(data={"x": float("inf")}), ArgsError, r"^args\.data\.x: .*finite"),
    "-Infinity": (args(data={"x": float("-inf")}), ArgsError, r"^args\.data\.x: .*finite"),
    "an integer beyond 64 bits": (args(n=2**63), ArgsError, r"^args\.n: .*64 bits"),
    "an integer below 64 bits": (args(data=[-(2**63) - 1]), ArgsError, r"^args\.data\[0\]: .*64 bits"),
    "nesting beyond 64": (args(data=nested(64)), ArgsError, r"^args\.data.*64 levels"),
    "nesting far beyond": (kind("named", {"a": nested(400)}), ArgsError, r"^args.*64 levels"),
    "more than 1 MiB": (args(text="x" * 1024 * 1024), ArgsError, r"^args: expected at most 1,048,576 bytes"),
    "more than 1 MiB of UTF-8": (args(text="☃" * 400_000), ArgsError, r"^args: expected at most 1,048,576 bytes"),
    "no args": (lambda client: client.insert("x"), ArgsError, "expected an object of a JobArgs class, got str"),  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    "many with one bad": (
        lambda client: client.insert_many([Note(), Note(text="\0"), Note()]),
        ArgsError,
        r"^args\.text: .*NUL",
    ),
    "a naive datetime": (opts(scheduled_at=datetime(2030, 1, 1)), OptionError, "aware datetime.*naive.*UTC"),  # noqa: DTZ001
    "a due time that is none": (opts(scheduled_at="soon"), OptionError, "scheduled_at: expected"),
    "a due time beyond every timestamp": (opts(scheduled_at=timedelta.max), OptionError, "scheduled_at: "),
    "a due time beyond the year 9999": (opts(scheduled_at=1e12), OptionError, "scheduled_at: "),
    "an unknown queue": (opts(queue="emial"), UnknownQueueError, "no queue 'emial' .* did you mean 'email'"),
    "a queue of nothing": (opts(queue=""), UnknownQueueError, "queue.*''"),
    "an unknown kind": (
        kind("liste", {}),
        UnknownKindError,
        "nobody here knows the kind 'liste'.*did you mean 'listed'",
    ),
    "a priority too large": (opts(priority=32768), OptionError, "priority: expected an integer from -32768 to 32767"),
    "a priority too small": (opts(priority=-32769), OptionError, "priority: expected an integer from -32768 to 32767"),
    "a priority that is no integer": (opts(priority=1.5), OptionError, "priority: "),
    "a priority that is true": (opts(priority=True), OptionError, "priority: "),
    "no attempts": (opts(max_attempts=0), OptionError, "max_attempts: expected an integer from 1 to 32767, got 0"),
    "no time": (opts(timeout=0), OptionError, "timeout: expected a duration longer than 0, got 0"),
    "more time than there is": (opts(timeout=timedelta.max), OptionError, "timeout: "),
    "a template field that is missing": (kind("listed", {"name": "x"}), ArgsError, r"^args\.id: "),
    "a template field that is no name": (kind("listed", {"id": [1]}), ArgsError, r"^args\.id: "),
    "a template field too long": (kind("listed", {"id": "x" * 200}), ArgsError, "template 'mail-{id}' gave"),
    "a dynamic queue of nothing": (opts(dynamic_queue=""), OptionError, "dynamic_queue: expected 1 to 128 printable"),
    "a dynamic queue with a newline": (opts(dynamic_queue="a\nb"), OptionError, "dynamic_queue: expected 1 to 128"),
    "a plain payload with NUL": (kind("named", {"a": "\0"}), ArgsError, r"^args\.a: .*NUL"),
    "a plain payload with a surrogate": (kind("named", {SURROGATE: 1}), ArgsError, r"^args.*surrogate"),
    "a plain payload that is no JSON": (kind("named", {"a": object()}), ArgsError, r"^args"),
    "a tag of nothing": (opts(tags=["ok", ""]), ArgsError, r"^tags\[1\]: expected 1 to 255 characters"),
    "a tag with NUL": (opts(tags=["a\0"]), ArgsError, r"^tags\[0\]: .*NUL"),
    "too many tags": (opts(tags=[str(n) for n in range(33)]), ArgsError, r"^tags: expected at most 32 labels, got 33"),
    "one text for tags": (opts(tags="urgent"), ArgsError, r"^tags: expected a list"),
    "metadata with NUL": (opts(metadata={"a": {"b": "\0"}}), ArgsError, r"^metadata\.a\.b: .*NUL"),
    "metadata with NaN": (opts(metadata={"a": float("nan")}), ArgsError, r"^metadata\.a: "),
    "metadata beyond 64 KiB": (opts(metadata={"a": "x" * 64 * 1024}), ArgsError, r"^metadata: expected at most 65,536"),
    "a follow-up with NUL": (opts(on_discard=Note(text="\0")), ArgsError, "NUL"),
}


@pytest.mark.req("A18", "C20")
@pytest.mark.parametrize(("insert", "error", "text"), BAD.values(), ids=BAD.keys())
async def test_bad_input_is_refused_and_nothing_stored(
    make_client: MakeClient, sql: Connection, insert: Insert, error: type[InsertError], text: str
) -> None:
    """The error's class and text say where and what to do; the table stays empty."""
    workers = Workers()
    workers.declare(Note)
    client = make_client(workers, config=CONFIG)
    with pytest.raises(error, match=text):
        await insert(client)
    assert await sql.fetchval("select count(*) from job") == 0
    assert (await client.insert(Note())).job.id == 1, "a refusal comes before the database"


GOOD: dict[str, Insert] = {
    "an integer of 64 bits": args(n=2**63 - 1, data=[-(2**63)]),
    "63 levels below the args": args(data=nested(63)),
    "exactly 1 MiB": args(text="x" * (1024 * 1024 - len(Note().model_dump_json()))),
    "every character but NUL": args(text="".join(map(chr, range(1, 0x2000))) + "\U0010ffff\ufffe\u2028"),
    "escapes": args(data={"\\u0000": "\\u0000", "": ["", {"": None}]}),
    "32 tags of 255 characters": opts(tags=[str(n).zfill(255) for n in range(32)]),
    "names like code": opts(dynamic_queue="'; drop table job; --"),
    "the smallest priority": opts(priority=-32768),
}


@pytest.mark.parametrize("insert", GOOD.values(), ids=GOOD.keys())
async def test_what_is_just_within_the_limits_round_trips(make_client: MakeClient, insert: Insert) -> None:
    """What is accepted is read back equal."""
    workers = Workers()
    workers.declare(Note)
    client = make_client(workers)
    result: Any = await insert(client)
    assert await client.jobs.get(result.job.id) == result.job


async def test_a_template_that_its_class_does_not_fit_is_an_error_when_they_meet(make_client: MakeClient) -> None:
    """At the first insert, and where the class is known to the client when it is made."""
    config = Config(tasks={"templated": TaskConfig(dynamic_queue="t-{id}")})
    with pytest.raises(ConfigError, match=r"\[templated\] dynamic_queue: 't-\{id\}' uses \{id\}, but Templated has no"):
        await make_client(config=config).insert(Templated())
    workers = Workers()
    workers.declare(Templated)
    with pytest.raises(ConfigError, match="Templated has no such field"):
        make_client(workers, config=config)


async def test_a_client_that_is_not_strict_stores_what_it_does_not_know(make_client: MakeClient) -> None:
    """Unknown queues and kinds wait for somebody who knows them; what can't be stored is refused all the same."""
    client = make_client(strict=False)
    result = await client.insert_kind("stranger", {"a": 1}, InsertOpts(queue="elsewhere"))
    assert (result.job.kind, result.job.queue, result.job.pool) == ("stranger", "elsewhere", "elsewhere")
    assert (result.job.args, result.job.state) == ({"a": 1}, JobState.AVAILABLE)
    with pytest.raises(UnknownQueueError):
        await client.insert(Note(), InsertOpts(queue="a\nb"))
    with pytest.raises(UnknownKindError):
        await client.insert_kind("\0", {})
