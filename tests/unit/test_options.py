"""How a setting is found, and what is refused on the way to one resolved insert."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest

from workerqueue import (
    ArgsError,
    Config,
    ConfigError,
    Delays,
    Exponential,
    Fixed,
    InsertError,
    InsertOpts,
    JobArgs,
    OptionError,
    Priority,
    QueueConfig,
    TaskConfig,
    UnknownKindError,
    UnknownQueueError,
)
from workerqueue.options import NewJob, Resolver, Terms

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


class PlainArgs(JobArgs):
    """A class that says nothing of its own."""

    id: str = "7"

    @classmethod
    def kind(cls) -> str:
        return "plain"


class CleanUpArgs(JobArgs):
    run: str

    @classmethod
    def kind(cls) -> str:
        return "cleanUp"


class OtherCleanUpArgs(JobArgs):
    run: str

    @classmethod
    def kind(cls) -> str:
        return "otherCleanUp"


def class_with(own: InsertOpts | None) -> type[JobArgs]:
    """An args class of kind `job` with these options of its own."""

    class OwnArgs(JobArgs):
        id: str

        @classmethod
        def kind(cls) -> str:
            return "job"

        @classmethod
        def insert_opts(cls) -> InsertOpts | None:
            return own

    return OwnArgs


def resolve(
    call: InsertOpts | None = None,
    *,
    row: TaskConfig | None = None,
    own: InsertOpts | None = None,
    args_id: str = "7",
    strict: bool = True,
) -> NewJob:
    """Resolve a job of kind `job`, with what the call, its row and its class say."""
    queues = {name: QueueConfig() for name in ("of call", "of table", "of class")}
    config = Config(queues=queues, tasks={} if row is None else {"job": row})
    return Resolver(config, strict=strict).resolve(class_with(own).model_validate({"id": args_id}), call)


# What each place says of each setting, best first, and the default. `None`: that place can't say it.
PLACES: tuple[str, ...] = ("call", "table", "class")
SETTINGS: dict[str, tuple[Any, Any, Any, Any]] = {
    "queue": ("of call", "of table", "of class", "default"),
    "dynamic_queue": ("call-1", "table-{id}", "class-1", None),
    "priority": (11, 12, 13, 1),
    "max_attempts": (21, 22, 23, 3),
    "timeout": (timedelta(seconds=31), timedelta(seconds=32), timedelta(seconds=33), timedelta(seconds=60)),
    "retry": (Fixed(41), Exponential(42), Delays((43,)), None),
    "tags": (["call"], None, ["class"], []),
    "metadata": ({"from": "call"}, None, {"from": "class"}, {}),
    "scheduled_at": (timedelta(seconds=51), None, timedelta(seconds=53), timedelta()),
    "pending": (True, None, True, False),
    "on_discard": (CleanUpArgs(run="call"), None, OtherCleanUpArgs(run="class"), None),
}


def found(setting: str, job: NewJob) -> object:
    """What a resolved job has of a setting, in the words of the table above."""
    follow_up = json.loads(job.terms.on_discard) if job.terms.on_discard else None
    answers: dict[str, object] = {
        "queue": job.terms.pool,
        "dynamic_queue": job.queue,
        "priority": job.terms.priority,
        "max_attempts": job.terms.max_attempts,
        "timeout": job.terms.timeout,
        "retry": None if job.terms.retry is None else json.loads(job.terms.retry)["policy"],
        "tags": list(job.terms.tags),
        "metadata": job.terms.metadata,
        "scheduled_at": job.terms.delay,
        "pending": job.terms.pending,
        "on_discard": follow_up and follow_up["args"]["run"],
    }
    return answers[setting]


def expected(setting: str, places: tuple[str, ...]) -> object:
    """What the first of these places says, in the same words."""
    spoken = dict(zip(PLACES, SETTINGS[setting], strict=False))
    value = spoken[places[0]] if places else SETTINGS[setting][-1]
    if isinstance(value, Fixed | Exponential | Delays):
        return value.policy
    if isinstance(value, CleanUpArgs | OtherCleanUpArgs):
        return value.run
    return "table-7" if value == "table-{id}" else value


CELLS = [
    (setting, places)
    for setting, values in SETTINGS.items()
    for count in range(4)
    for places in itertools.combinations(
        [place for place, v in zip(PLACES, values, strict=False) if v is not None], count
    )
]


@pytest.mark.req("C22")
@pytest.mark.parametrize(
    ("setting", "places"), CELLS, ids=[f"{setting}: {' > '.join((*places, 'default'))}" for setting, places in CELLS]
)
def test_a_setting_is_found_in_the_call_then_the_table_then_the_class(setting: str, places: tuple[str, ...]) -> None:
    """Whatever places say something, the first of them counts, and without any the default."""
    said: dict[str, dict[str, Any]] = {
        place: {setting: value} for place, value in zip(PLACES, SETTINGS[setting], strict=False) if place in places
    }
    job = resolve(
        InsertOpts(**said["call"]) if "call" in said else None,
        row=TaskConfig(**said["table"]) if "table" in said else None,
        own=InsertOpts(**said["class"]) if "class" in said else None,
    )
    assert found(setting, job) == expected(setting, places)


EMPTY_VALUES: dict[str, tuple[Any, Any]] = {
    "priority": (0, 0),
    "scheduled_at": (0, timedelta()),
    "tags": ([], []),
    "metadata": ({}, {}),
    "pending": (False, False),
}


@pytest.mark.parametrize("setting", EMPTY_VALUES)
def test_nothing_is_inherited_where_0_or_empty_is_said(setting: str) -> None:
    """0, False and empty are values: they stand before the table and the class."""
    value, result = EMPTY_VALUES[setting]
    own: dict[str, Any] = {setting: SETTINGS[setting][2]}
    row = TaskConfig(priority=12) if setting == "priority" else None
    call: dict[str, Any] = {setting: value}
    assert found(setting, resolve(InsertOpts(**call), row=row, own=InsertOpts(**own))) == result


def test_a_0_in_the_table_stands_before_the_class() -> None:
    """The table's 0 is a value too."""
    assert resolve(row=TaskConfig(priority=0), own=InsertOpts(priority=9)).terms.priority == 0


@pytest.mark.req("C21")
def test_an_unlisted_kind_has_the_defaults() -> None:
    """A kind without a row: queue `default`, priority 1, 3 attempts, 60 s, due now, the default policy."""
    assert Resolver(Config()).resolve(PlainArgs()) == NewJob(
        args=PlainArgs(),
        args_json='{"id":"7"}',
        queue=None,
        terms=Terms(
            kind="plain",
            pool="default",
            priority=1,
            max_attempts=3,
            timeout=timedelta(seconds=60),
            scheduled_at=None,
            delay=timedelta(),
            pending=False,
            retry=None,
            tags=(),
            metadata={},
            metadata_json=None,
            deadline_at=None,
            deadline=None,
            on_discard=None,
        ),
    )


def named_by_function(args: JobArgs) -> str:
    """A dynamic queue's name, computed."""
    return f"fn-{args.model_dump()['id']}"


QUEUE_CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], tuple[str, str]]] = {
    "nothing": ({}, {}, {}, ("default", "default")),
    "the table's queue": ({}, {"queue": "of table"}, {}, ("of table", "of table")),
    "the table's dynamic queue in its queue": (
        {},
        {"queue": "of table", "dynamic_queue": "runs-{id}"},
        {},
        ("runs-7", "of table"),
    ),
    "the table's dynamic queue in the class's queue": (
        {},
        {"dynamic_queue": "runs-{id}"},
        {"queue": "of class"},
        ("runs-7", "of class"),
    ),
    "a queue in the call leaves the table's dynamic name out": (
        {"queue": "of call"},
        {"queue": "of table", "dynamic_queue": "runs-{id}"},
        {},
        ("of call", "of call"),
    ),
    "a queue in the call leaves the class's dynamic name out": (
        {"queue": "of call"},
        {},
        {"dynamic_queue": "own-1"},
        ("of call", "of call"),
    ),
    "the default queue, named in the call": (
        {"queue": "default"},
        {"queue": "of table", "dynamic_queue": "runs-{id}"},
        {},
        ("default", "default"),
    ),
    "a dynamic queue in the call, inside the job's queue": (
        {"dynamic_queue": "mine:1"},
        {"queue": "of table", "dynamic_queue": "runs-{id}"},
        {},
        ("mine:1", "of table"),
    ),
    "both in the call": (
        {"queue": "of call", "dynamic_queue": "mine"},
        {"queue": "of table"},
        {},
        ("mine", "of call"),
    ),
    "a function of the args": (
        {},
        {"dynamic_queue": named_by_function},
        {},
        ("fn-7", "default"),
    ),
}


@pytest.mark.parametrize("case", QUEUE_CASES)
def test_a_job_waits_under_a_name_in_a_pool(case: str) -> None:
    """`queue` is the name the job waits under, `pool` the configured queue that works it."""
    call, row, own, names = QUEUE_CASES[case]
    job = resolve(InsertOpts(**call), row=TaskConfig(**row), own=InsertOpts(**own))
    assert (job.queue or job.terms.pool, job.terms.pool) == names


@pytest.mark.parametrize(
    ("given", "scheduled_at", "delay"),
    [
        (NOON, NOON, timedelta()),
        (datetime(2001, 1, 1, tzinfo=UTC), datetime(2001, 1, 1, tzinfo=UTC), timedelta()),
        (NOON.astimezone(timezone(timedelta(hours=5, minutes=30))), NOON, timedelta()),
        (timedelta(minutes=1), None, timedelta(minutes=1)),
        (1.5, None, timedelta(seconds=1.5)),
        (0, None, timedelta()),
        (-5, None, timedelta()),
        (timedelta(days=-1), None, timedelta()),
    ],
    ids=["aware", "past", "another zone", "timedelta", "seconds", "0", "negative", "negative timedelta"],
)
def test_a_job_is_due_at_an_aware_time_or_after_a_delay(
    given: Any, scheduled_at: datetime | None, delay: timedelta
) -> None:
    """A delay counts from the database's now; what would be past means now."""
    job = resolve(InsertOpts(scheduled_at=given))
    assert (job.terms.scheduled_at, job.terms.delay) == (scheduled_at, delay)


def test_a_due_time_in_the_call_stands_before_a_delay_of_the_class() -> None:
    """An instant and a delay never mix."""
    job = resolve(InsertOpts(scheduled_at=NOON), own=InsertOpts(scheduled_at=timedelta(hours=1)))
    assert (job.terms.scheduled_at, job.terms.delay) == (NOON, timedelta())


@pytest.mark.parametrize("priority", [-32768, 0, 32767, Priority.LOW])
def test_a_priority_is_any_smallint(priority: int) -> None:
    """Both ends of the range pass, and the named priorities."""
    job = resolve(InsertOpts(priority=priority))
    assert (job.terms.priority, type(job.terms.priority)) == (int(priority), int)


@pytest.mark.parametrize("max_attempts", [1, 32767])
def test_a_job_may_be_started_1_to_32767_times(max_attempts: int) -> None:
    """Both ends of the range pass, in the call, the table and the class."""
    call, row = InsertOpts(max_attempts=max_attempts), TaskConfig(max_attempts=max_attempts)
    jobs = [resolve(call), resolve(row=row), resolve(own=call)]
    assert [job.terms.max_attempts for job in jobs] == [max_attempts] * 3


class Nowhere(tzinfo):
    """A zone that knows no offset, so that a datetime in it is naive to Python."""

    def utcoffset(self, _: datetime | None, /) -> None:
        return None

    dst = utcoffset

    def tzname(self, _: datetime | None, /) -> None:
        return None


REFUSED_OPTIONS: dict[str, tuple[dict[str, Any], type[InsertError], list[str]]] = {
    "priority too large": ({"priority": 40000}, OptionError, ["priority", "-32768 to 32767", "40000"]),
    "priority just too large": ({"priority": 32768}, OptionError, ["priority", "32768"]),
    "priority too small": ({"priority": -32769}, OptionError, ["priority", "-32769"]),
    "priority True": ({"priority": True}, OptionError, ["priority", "True"]),
    "priority False": ({"priority": False}, OptionError, ["priority", "False"]),
    "priority 1.5": ({"priority": 1.5}, OptionError, ["priority", "1.5"]),
    "priority 1.0": ({"priority": 1.0}, OptionError, ["priority", "1.0"]),
    "priority as text": ({"priority": "high"}, OptionError, ["priority", "'high'"]),
    "no attempts": ({"max_attempts": 0}, OptionError, ["max_attempts", "from 1 to 32767", "0"]),
    "too many attempts": ({"max_attempts": 32768}, OptionError, ["max_attempts", "32768"]),
    "attempts True": ({"max_attempts": True}, OptionError, ["max_attempts", "True"]),
    "naive time": ({"scheduled_at": datetime(2026, 1, 2)}, OptionError, ["scheduled_at", "naive", "UTC"]),  # noqa: DTZ001 - the point of it
    "time in no zone": ({"scheduled_at": datetime(2026, 1, 2, tzinfo=Nowhere())}, OptionError, ["naive", "UTC"]),
    "time that UTC can't hold": (
        {"scheduled_at": datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))},
        OptionError,
        ["scheduled_at"],
    ),
    "time as text": ({"scheduled_at": "tomorrow"}, OptionError, ["scheduled_at", "'tomorrow'", "aware datetime"]),
    "time True": ({"scheduled_at": True}, OptionError, ["scheduled_at", "True"]),
    "a date": ({"scheduled_at": NOON.date()}, OptionError, ["scheduled_at", "aware datetime"]),
    "a delay that no timestamp holds": ({"scheduled_at": timedelta.max}, OptionError, ["scheduled_at"]),
    "no time to work": ({"timeout": 0}, OptionError, ["timeout", "longer than 0", "0"]),
    "negative timeout": ({"timeout": timedelta(-1)}, OptionError, ["timeout", "longer than 0"]),
    "timeout as text": ({"timeout": "60"}, OptionError, ["timeout", "'60'"]),
    "policy as text": ({"retry": "fixed"}, OptionError, ["retry", "'fixed'"]),
    "policy as a dict": ({"retry": {"policy": "fixed"}}, OptionError, ["retry"]),
    "empty dynamic queue": ({"dynamic_queue": ""}, OptionError, ["dynamic_queue", "1 to 128", "''"]),
    "dynamic queue too long": ({"dynamic_queue": "x" * 129}, OptionError, ["dynamic_queue", "1 to 128"]),
    "unprintable dynamic queue": ({"dynamic_queue": "a\n"}, OptionError, ["dynamic_queue", r"'a\n'"]),
    "dynamic queue as a number": ({"dynamic_queue": 7}, OptionError, ["dynamic_queue", "7"]),
    "unknown queue": ({"queue": "of cal"}, UnknownQueueError, ["'of cal'", "did you mean 'of call'", "dynamic_queue"]),
    "unknown queue, none near": ({"queue": "zzz"}, UnknownQueueError, ["'zzz'", "known are 'default', 'of call'"]),
    "queue as a number": ({"queue": 7}, UnknownQueueError, ["7"]),
    "tags that are a text": ({"tags": "urgent"}, ArgsError, ["tags", "['urgent']"]),
    "a tag with NUL": ({"tags": ["a", "\0"]}, ArgsError, ["tags[1]", "NUL"]),
    "metadata with NUL": ({"metadata": {"a": {"b": "\0"}}}, ArgsError, ["metadata.a.b", "NUL"]),
    "metadata with NaN": ({"metadata": {"a": float("nan")}}, ArgsError, ["metadata.a", "finite"]),
    "metadata too large": ({"metadata": {"a": "x" * 65536}}, ArgsError, ["metadata", "65,536"]),
    "metadata that is a list": ({"metadata": ["a"]}, ArgsError, ["metadata"]),
    "metadata that is a text": ({"metadata": "a"}, ArgsError, ["metadata"]),
    "empty follow-up that is no args": ({"on_discard": {}}, ArgsError, ["on_discard", "dict"]),
    "follow-up that is no args": ({"on_discard": {"run": "1"}}, ArgsError, ["on_discard", "dict"]),
    "follow-up that can't be stored": ({"on_discard": CleanUpArgs(run="\0")}, ArgsError, ["on_discard", "run", "NUL"]),
}


@pytest.mark.parametrize("case", REFUSED_OPTIONS)
def test_an_option_that_cannot_be_right_is_refused_with_its_name(case: str) -> None:
    """The refusal is one of ours and says which option, what was expected and what came."""
    options, refusal_class, said = REFUSED_OPTIONS[case]
    with pytest.raises(InsertError) as refusal:
        resolve(InsertOpts(**options))
    assert (type(refusal.value), [part for part in said if part not in str(refusal.value)]) == (refusal_class, [])
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize("case", REFUSED_OPTIONS)
def test_an_option_of_the_class_is_held_to_the_same_rules(case: str) -> None:
    """What a class says of its own jobs is refused as it is in a call."""
    options, refusal_class, _ = REFUSED_OPTIONS[case]
    with pytest.raises(refusal_class):
        resolve(own=InsertOpts(**options))


@pytest.mark.req("D7")
def test_a_naive_time_is_refused_with_the_cure() -> None:
    """The message shows the time and how to give it a zone."""
    with pytest.raises(OptionError, match=r"naive 2026-01-02T12:00:00; give it a zone, such as datetime\.now\(UTC\)"):
        resolve(InsertOpts(scheduled_at=NOON.replace(tzinfo=None)))


def test_without_strictness_an_unknown_queue_is_kept() -> None:
    """Whoever configures that queue works the job."""
    job = resolve(InsertOpts(queue="elsewhere"), strict=False)
    assert (job.queue, job.terms.pool) == (None, "elsewhere")


@pytest.mark.parametrize("queue", ["", "x" * 129, "a\0"], ids=["empty", "too long", "NUL"])
def test_without_strictness_a_queue_still_needs_a_name(queue: str) -> None:
    """What can't name a queue anywhere is refused anyway."""
    with pytest.raises(UnknownQueueError, match="1 to 128 printable characters"):
        resolve(InsertOpts(queue=queue), strict=False)


@pytest.mark.parametrize(
    "value", ["x", {"id": "7"}, None, 7, PlainArgs, object()], ids=lambda value: type(value).__name__
)
def test_only_args_are_inserted(value: Any) -> None:
    """What is no object of a JobArgs class is refused, saying what came."""
    with pytest.raises(ArgsError, match="expected an object of a JobArgs class") as refusal:
        Resolver(Config()).resolve(value)
    assert refusal.value.path == "args"
    assert type(value).__name__ in str(refusal.value)


def test_args_that_cannot_be_stored_are_refused_with_their_path() -> None:
    """Every insert passes the door of payloads."""
    with pytest.raises(ArgsError) as refusal:
        resolve(args_id="a\0")
    assert refusal.value.path == "args.id"


def test_args_that_give_no_dynamic_name_are_refused() -> None:
    """A job without a name to wait under is not stored anywhere."""
    with pytest.raises(ArgsError, match="runs-"):
        resolve(row=TaskConfig(dynamic_queue="{id}runs-"), args_id="\t")


def test_a_template_that_does_not_fit_the_class_is_refused() -> None:
    """A class that was never registered meets the configuration at its first insert."""
    with pytest.raises(ConfigError, match=r"\[job\] dynamic_queue.*no such field"):
        resolve(row=TaskConfig(dynamic_queue="runs-{run}"))


def test_a_resolver_finds_the_settings_of_each_class_once() -> None:
    """Inserts of one class share its settings, and other options do not stay behind."""
    resolver = Resolver(Config())
    first = resolver.resolve(PlainArgs(), InsertOpts(priority=9, tags=["a"]))
    second = resolver.resolve(PlainArgs(id="8"))
    assert (first.terms.priority, first.terms.tags) == (9, ("a",))
    assert (second.terms.priority, second.terms.tags, second.args_json) == (1, (), '{"id":"8"}')


# By kind

KNOWN: Mapping[str, type[JobArgs]] = {"cleanUp": CleanUpArgs}


def by_kind(kind: str, payload: Any, opts: InsertOpts | None = None, *, strict: bool = True) -> NewJob:
    """Resolve an insert by name, where `cleanUp` has a class, `listed` a row and `plain` a row without a template."""
    config = Config(
        queues={"slow": QueueConfig()},
        tasks={"listed": TaskConfig(queue="slow", priority=5, dynamic_queue="runs-{id}"), "plain": TaskConfig()},
    )
    return Resolver(config, strict=strict).resolve_plain(kind, payload, opts, KNOWN)


def test_a_payload_is_validated_by_the_class_of_its_kind() -> None:
    """Where the class is known, an insert by name is an insert of its args."""
    job = by_kind("cleanUp", {"run": "1", "newer": True})
    assert (job.args, job.args_json) == (CleanUpArgs(run="1"), '{"run":"1"}')


@pytest.mark.parametrize(
    ("payload", "path"),
    [({}, "args.run"), ({"run": ["s3cret"]}, "args.run"), (["s3cret"], "args")],
    ids=["missing", "wrong type", "no object"],
)
def test_a_payload_that_does_not_fit_its_class_is_refused_without_its_values(payload: Any, path: str) -> None:
    """The path is named, what came is not."""
    with pytest.raises(ArgsError) as refusal:
        by_kind("cleanUp", payload)
    assert (refusal.value.path, "s3cret" in str(refusal.value)) == (path, False)


def test_a_payload_without_a_class_is_plain_json() -> None:
    """A row is enough to know a kind: its settings apply, its template reads the payload."""
    job = by_kind("listed", {"id": 4, "at": NOON})
    assert (job.args, job.queue, job.terms.pool, job.terms.priority) == (
        {"id": 4, "at": "2026-01-02T12:00:00Z"},
        "runs-4",
        "slow",
        5,
    )
    assert json.loads(job.args_json) == job.args


def test_a_call_by_kind_has_options_too() -> None:
    """Options stand before the row."""
    job = by_kind("listed", {"id": 4}, InsertOpts(priority=0, queue="default"))
    assert (job.terms.priority, job.queue) == (0, None)


@pytest.mark.parametrize(
    ("kind", "near"),
    [("cleanup", "did you mean 'cleanUp'?"), ("liste", "did you mean 'listed'?"), ("zzz", "known are 'cleanUp'")],
)
def test_an_unknown_kind_is_refused_with_near_matches(kind: str, near: str) -> None:
    """A kind that nobody here knows is probably a typing mistake."""
    with pytest.raises(UnknownKindError) as refusal:
        by_kind(kind, {})
    assert [part for part in (repr(kind), near) if part not in str(refusal.value)] == []


def test_without_strictness_an_unknown_kind_is_kept() -> None:
    """Whoever knows the kind works the job."""
    job = by_kind("elsewhere", {"a": 1}, strict=False)
    assert (job.terms.kind, job.args, job.queue) == ("elsewhere", {"a": 1}, None)


@pytest.mark.parametrize("kind", ["", " ", "x" * 129, "a\0"], ids=["empty", "white space", "too long", "NUL"])
def test_without_strictness_a_kind_still_needs_a_name(kind: str) -> None:
    """What can name no kind is refused anyway."""
    with pytest.raises(UnknownKindError, match="1 to 128 printable characters"):
        by_kind(kind, {}, strict=False)


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({"a": [{"b": "\0"}]}, "args.a[0].b"),
        ({"a": float("nan")}, "args.a"),
        ({"a": 2**63}, "args.a"),
        ({"a": "x" * 1024 * 1024}, "args"),
        ([1, 2], "args"),
        ("text", "args"),
        (None, "args"),
    ],
    ids=["NUL", "NaN", "2**63", "too large", "a list", "a text", "nothing"],
)
def test_a_payload_without_a_class_that_cannot_be_stored_is_refused(payload: Any, path: str) -> None:
    """Plain JSON passes the same door, and must be an object."""
    with pytest.raises(ArgsError) as refusal:
        by_kind("plain", payload)
    assert refusal.value.path == path


# The follow-up


def test_the_follow_up_is_a_whole_insert() -> None:
    """What is kept on a job, to be inserted when it is discarded, has every column of an insert."""
    config = Config(
        queues={"slow": QueueConfig()},
        tasks={
            "cleanUp": TaskConfig(
                queue="slow", dynamic_queue="clean-{run}", priority=-3, max_attempts=9, timeout=1.5, retry=Fixed(2)
            )
        },
    )
    job = Resolver(config).resolve(PlainArgs(), InsertOpts(on_discard=CleanUpArgs(run='r"1')))
    assert job.terms.on_discard is not None
    assert json.loads(job.terms.on_discard) == {
        "kind": "cleanUp",
        "args": {"run": 'r"1'},
        "queue": 'clean-r"1',
        "lane": None,
        "context": None,
        "deadline_at": None,
        "deadline_seconds": None,
        "pool": "slow",
        "priority": -3,
        "max_attempts": 9,
        "timeout_seconds": 1.5,
        "scheduled_at": None,
        "delay_seconds": 0.0,
        "pending": False,
        "retry": {"policy": "fixed", "delay_seconds": 2.0, "jitter": 0.0},
        "tags": None,
        "metadata": None,
        "on_discard": None,
    }


def test_the_follow_up_keeps_what_its_class_says() -> None:
    """Tags and metadata of the follow-up's own class travel with it."""
    args_class = class_with(InsertOpts(tags=["a"], metadata={"b": {"c": None}}))
    job = Resolver(Config()).resolve(PlainArgs(), InsertOpts(on_discard=args_class.model_validate({"id": "1"})))
    follow_up = json.loads(job.terms.on_discard or "null")
    assert (follow_up["tags"], follow_up["metadata"], follow_up["retry"]) == (["a"], {"b": {"c": None}}, None)


def test_a_follow_up_that_is_falsy_is_one_all_the_same() -> None:
    """Args that have a length of 0 are args."""

    class EmptyArgs(JobArgs):
        @classmethod
        def kind(cls) -> str:
            return "empty"

        def __len__(self) -> int:
            return 0

    job = Resolver(Config()).resolve(PlainArgs(), InsertOpts(on_discard=EmptyArgs()))
    assert json.loads(job.terms.on_discard or "{}").get("kind") == "empty"


def test_a_job_may_be_followed_by_one_of_its_own_kind() -> None:
    """Another object of the same class, given in the call, ends where its class says nothing more."""
    job = Resolver(Config()).resolve(PlainArgs(), InsertOpts(on_discard=PlainArgs(id="8")))
    assert json.loads(job.terms.on_discard or "{}")["args"] == {"id": "8"}


def test_a_refused_follow_up_leaves_nothing_behind() -> None:
    """After a refusal the next insert of the same kinds is resolved as ever."""
    resolver = Resolver(Config())
    with pytest.raises(ArgsError):
        resolver.resolve(PlainArgs(), InsertOpts(on_discard=CleanUpArgs(run="\0")))
    assert resolver.resolve(PlainArgs(), InsertOpts(on_discard=CleanUpArgs(run="1"))).terms.on_discard is not None


def test_a_class_whose_follow_up_is_of_its_own_kind_is_refused() -> None:
    """A follow-up that has itself for a follow-up would never end."""

    class EndlessArgs(JobArgs):
        @classmethod
        def kind(cls) -> str:
            return "endless"

        @classmethod
        def insert_opts(cls) -> InsertOpts:
            return InsertOpts(on_discard=cls())

    with pytest.raises((OptionError, ConfigError)):
        Resolver(Config()).resolve(EndlessArgs())
