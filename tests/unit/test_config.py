"""The configuration is checked whole: what can't be right names its file, table and field."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from workerqueue import Config, ConfigError, Exponential, Fixed, JobArgs, QueueConfig, TaskConfig
from workerqueue.config import DEFAULT_QUEUE


class RunArgs(JobArgs):
    id: str
    note: str | None = None

    @classmethod
    def kind(cls) -> str:
        return "run"


def named_by_function(args: RunArgs) -> str:
    """A dynamic queue's name, computed."""
    return f"runs-{args.id}"


def folder(tmp_path: Path, *, queues: str | None = None, tasks: str | None = None) -> Path:
    """A configuration folder with these files."""
    if queues is not None:
        (tmp_path / "queues.toml").write_text(queues, encoding="utf-8")
    if tasks is not None:
        (tmp_path / "tasks.toml").write_text(tasks, encoding="utf-8")
    return tmp_path


def refusal_of(tmp_path: Path, **files: str) -> str:
    """The text that refuses this configuration, its folder left out."""
    with pytest.raises(ConfigError) as refusal:
        Config.load(folder(tmp_path, **files))
    return str(refusal.value).replace(f"{tmp_path}/", "")


QUEUES = """
[executions]
max_workers = 10

[slow]
"""

TASKS = """
[startRun]
queue = "executions"
dynamic_queue = "runs-{id}"
priority = -5
max_attempts = 13
timeout_seconds = 600
retry = { policy = "fixed", delay_seconds = 2.5, jitter = 0.5 }

["events.deliver"]
timeout_seconds = 0.5

[bare]
"""

IN_PYTHON = Config(
    queues={"executions": QueueConfig(max_workers=10), "slow": QueueConfig()},
    tasks={
        "startRun": TaskConfig(
            queue="executions",
            dynamic_queue="runs-{id}",
            priority=-5,
            max_attempts=13,
            timeout=timedelta(minutes=10),
            retry=Fixed(2.5, jitter=0.5),
        ),
        "events.deliver": TaskConfig(timeout=0.5),
        "bare": TaskConfig(),
    },
)


def test_the_files_say_what_python_says(tmp_path: Path) -> None:
    """A folder of TOML and the same in Python are one configuration."""
    assert Config.load(folder(tmp_path, queues=QUEUES, tasks=TASKS)) == IN_PYTHON


def test_a_folder_may_be_given_as_text(tmp_path: Path) -> None:
    """The path is a text or a Path."""
    assert Config.load(str(folder(tmp_path, queues=QUEUES))) == Config(queues=IN_PYTHON.queues)


@pytest.mark.parametrize("files", [{"queues": QUEUES}, {"tasks": "[bare]"}, {"queues": ""}], ids=["q", "t", "empty"])
def test_either_file_may_be_missing(tmp_path: Path, files: dict[str, str]) -> None:
    """A file that is not there has no tables."""
    config = Config.load(folder(tmp_path, **files))
    assert (set(config.queues), set(config.tasks)) == (
        {"executions", "slow"} if files.get("queues") else set(),
        {"bare"} if "tasks" in files else set(),
    )


@pytest.mark.parametrize("name", ["there/is/none", "empty"])
def test_a_folder_without_either_file_is_refused(tmp_path: Path, name: str) -> None:
    """A path with a typing mistake is no empty configuration."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"expected queues\.toml or tasks\.toml") as refusal:
        Config.load(tmp_path / name)
    assert str(tmp_path / name) in str(refusal.value)


QUEUE_MISTAKES: dict[str, tuple[str, list[str]]] = {
    "not TOML": ("[executions\n", ["queues.toml", "not TOML"]),
    "not UTF-8": ("[a]\n# \udcff", ["queues.toml", "not TOML"]),
    "no workers": ("[a]\nmax_workers = 0", ["queues.toml [a] max_workers", "got 0"]),
    "too many workers": ("[a]\nmax_workers = 10001", ["queues.toml [a] max_workers", "got 10001"]),
    "workers as text": ('[a]\nmax_workers = "10"', ["queues.toml [a] max_workers", "got '10'"]),
    "workers as a fraction": ("[a]\nmax_workers = 1.0", ["queues.toml [a] max_workers", "got 1.0"]),
    "workers as a truth value": ("[a]\nmax_workers = true", ["queues.toml [a] max_workers", "got True"]),
    "unknown key": ("[a]\nmax_worker = 1", ["queues.toml [a] max_worker", "did you mean 'max_workers'?"]),
    "no table": ("max_workers = 3", ["queues.toml [max_workers]", "expected a table", "3"]),
    "two mistakes, the table is named": ("[a]\n[b]\nmax_workers = -1", ["queues.toml [b] max_workers", "got -1"]),
    "empty name": ('[""]\nmax_workers = 1', ["queues.toml", "1 to 128 printable characters"]),
    "name too long": (f"[{'x' * 129}]", ["queues.toml", "1 to 128 printable characters"]),
    "unprintable name": ('["a\\tb"]', ["queues.toml", "1 to 128 printable characters"]),
}

TASK_MISTAKES: dict[str, tuple[str, list[str]]] = {
    "not TOML": ("queue = ", ["tasks.toml", "not TOML"]),
    "a table twice": ("[a]\n[a]", ["tasks.toml", "not TOML", "a"]),
    "unknown queue": ('[a]\nqueue = "executionz"', ["tasks.toml [a] queue", "did you mean 'executions'?"]),
    "queue that is no name": ("[a]\nqueue = 5", ["tasks.toml [a] queue", "1 to 128 printable", "got 5"]),
    "empty queue": ('[a]\nqueue = ""', ["tasks.toml [a] queue", "1 to 128 printable", "got ''"]),
    "priority too large": ("[a]\npriority = 32768", ["tasks.toml [a] priority", "got 32768"]),
    "priority too small": ("[a]\npriority = -32769", ["tasks.toml [a] priority", "got -32769"]),
    "priority as a truth value": ("[a]\npriority = true", ["tasks.toml [a] priority", "got True"]),
    "priority as a fraction": ("[a]\npriority = 1.0", ["tasks.toml [a] priority", "got 1.0"]),
    "priority as text": ('[a]\npriority = "1"', ["tasks.toml [a] priority", "got '1'"]),
    "no attempts": ("[a]\nmax_attempts = 0", ["tasks.toml [a] max_attempts", "got 0"]),
    "too many attempts": ("[a]\nmax_attempts = 32768", ["tasks.toml [a] max_attempts", "got 32768"]),
    "no time": ("[a]\ntimeout_seconds = 0", ["tasks.toml [a] timeout_seconds", "longer than 0", "got 0"]),
    "negative time": ("[a]\ntimeout_seconds = -1.5", ["tasks.toml [a] timeout_seconds", "got -1.5"]),
    "time as text": ('[a]\ntimeout_seconds = "60"', ["tasks.toml [a] timeout_seconds", "got '60'"]),
    "time as a truth value": ("[a]\ntimeout_seconds = true", ["tasks.toml [a] timeout_seconds", "got True"]),
    "endless time": ("[a]\ntimeout_seconds = inf", ["tasks.toml [a] timeout_seconds", "got inf"]),
    "time without its unit": ("[a]\ntimeout = 60", ["tasks.toml [a] timeout", "write timeout_seconds"]),
    "unknown key": ("[a]\nmax_atempts = 1", ["tasks.toml [a] max_atempts", "did you mean 'max_attempts'?"]),
    "unknown key near one with a unit": (
        "[a]\ntimeout_second = 1",
        ["tasks.toml [a] timeout_second", "did you mean 'timeout_seconds'"],
    ),
    "no table": ("startRun = 3", ["tasks.toml [startRun]", "expected a table", "3"]),
    "template without a field": ('[a]\ndynamic_queue = "runs"', ["tasks.toml [a] dynamic_queue", "'runs'"]),
    "template that does not parse": ('[a]\ndynamic_queue = "runs-{id"', ["tasks.toml [a] dynamic_queue"]),
    "template with a format": ('[a]\ndynamic_queue = "runs-{id:>3}"', ["tasks.toml [a] dynamic_queue", "'{id}'"]),
    "template that is a number": ("[a]\ndynamic_queue = 3", ["tasks.toml [a] dynamic_queue", "3"]),
    "retry as text": ('[a]\nretry = "fixed"', ["tasks.toml [a] retry"]),
    "retry without a policy": ("[a]\nretry = { delay_seconds = 3 }", ["tasks.toml [a] retry", "policy"]),
    "unknown policy": ('[a]\nretry = { policy = "often" }', ["tasks.toml [a] retry", "often"]),
    "retry with a wrong value": (
        '[a]\nretry = { policy = "fixed", delay_seconds = -1 }',
        ["tasks.toml [a] retry", "delay_seconds", "got -1"],
    ),
    "retry with an unknown key": (
        '[a]\nretry = { policy = "fixed", delay_second = 1 }',
        ["tasks.toml [a] retry", "delay_second"],
    ),
    "retry without its unit": (
        '[a]\nretry = { policy = "fixed", delay = 1 }',
        ["tasks.toml [a] retry", "delay", "delay_seconds"],
    ),
    "dots that make tables": ('[events.deliver]\nqueue = "slow"', ["tasks.toml [events] deliver"]),
    "kind too long": (f"[{'x' * 129}]", ["tasks.toml", "1 to 128 printable characters"]),
    "empty kind": ('[""]', ["tasks.toml", "1 to 128 printable characters"]),
    "two mistakes, the table is named": ("[a]\n[b]\npriority = 99999", ["tasks.toml [b] priority", "got 99999"]),
}


@pytest.mark.parametrize("case", QUEUE_MISTAKES)
def test_a_mistake_in_the_queues_names_file_table_and_field(tmp_path: Path, case: str) -> None:
    """One line says where to look and what came."""
    text, said = QUEUE_MISTAKES[case]
    (tmp_path / "queues.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    message = refusal_of(tmp_path, tasks="[startRun]")
    assert [part for part in said if part not in message] == [], message
    assert ("tasks.toml" in message, "\n" in message.strip()) == (False, False)


@pytest.mark.parametrize("case", TASK_MISTAKES)
def test_a_mistake_in_the_task_table_names_file_table_and_field(tmp_path: Path, case: str) -> None:
    """One line says where to look and what came."""
    text, said = TASK_MISTAKES[case]
    message = refusal_of(tmp_path, queues=QUEUES, tasks=text)
    assert [part for part in said if part not in message] == [], message
    assert ("queues.toml" in message, "\n" in message.strip()) == (False, False)


PYTHON_MISTAKES: dict[str, tuple[Any, dict[str, Any], list[str]]] = {
    "no workers": (QueueConfig, {"max_workers": 0}, ["QueueConfig", "max_workers", "got 0"]),
    "workers as a truth value": (QueueConfig, {"max_workers": True}, ["QueueConfig", "max_workers", "got True"]),
    "unknown setting of a queue": (QueueConfig, {"workers": 1}, ["QueueConfig", "workers"]),
    "priority as a truth value": (TaskConfig, {"priority": True}, ["TaskConfig", "priority", "got True"]),
    "priority as a fraction": (TaskConfig, {"priority": 1.5}, ["TaskConfig", "priority", "got 1.5"]),
    "priority too large": (TaskConfig, {"priority": 40000}, ["TaskConfig", "priority", "got 40000"]),
    "no attempts": (TaskConfig, {"max_attempts": 0}, ["TaskConfig", "max_attempts", "got 0"]),
    "no time": (TaskConfig, {"timeout": 0}, ["TaskConfig", "timeout", "longer than 0"]),
    "negative time": (TaskConfig, {"timeout": timedelta(-1)}, ["TaskConfig", "timeout", "longer than 0"]),
    "template without a field": (TaskConfig, {"dynamic_queue": "x"}, ["TaskConfig", "dynamic_queue", "'x'"]),
    "unknown setting of a task": (TaskConfig, {"attempts": 1}, ["TaskConfig", "attempts"]),
    "unknown queue": (
        Config,
        {"tasks": {"startRun": TaskConfig(queue="defualt")}},
        ["[startRun] queue", "did you mean 'default'?"],
    ),
    "queue without a name": (Config, {"queues": {"": QueueConfig()}}, ["Config", "queues", "1 to 128"]),
    "kind without a name": (Config, {"tasks": {"": TaskConfig()}}, ["Config", "tasks", "1 to 128"]),
    "unknown part": (Config, {"queue": {}}, ["Config", "queue"]),
}


@pytest.mark.parametrize("case", PYTHON_MISTAKES)
def test_a_mistake_in_python_names_class_and_field(case: str) -> None:
    """In code too a wrong value is a ConfigError that says where and what came."""
    model, values, said = PYTHON_MISTAKES[case]
    with pytest.raises(ConfigError) as refusal:
        model(**values)
    assert [part for part in said if part not in str(refusal.value)] == [], str(refusal.value)


@pytest.mark.parametrize("priority", [-32768, -1, 0, 1, 32767])
def test_a_priority_is_any_smallint(priority: int) -> None:
    """Both ends of the range are legal, and 0 is a value."""
    assert TaskConfig(priority=priority).priority == priority


def test_without_a_configuration_there_is_one_queue() -> None:
    """The queue `default` has 100 workers."""
    assert Config().all_queues == {DEFAULT_QUEUE: QueueConfig(max_workers=100)} == {"default": QueueConfig()}


def test_the_default_queue_is_always_there() -> None:
    """Kinds without a row wait in it, so it is there beside others, and may be configured."""
    assert set(Config(queues={"a": QueueConfig()}).all_queues) == {"default", "a"}
    own = Config(queues={"default": QueueConfig(max_workers=3)})
    assert own.all_queues["default"].max_workers == 3


def test_a_task_may_name_the_default_queue() -> None:
    """`default` needs no table of its own to be named."""
    assert Config(tasks={"a": TaskConfig(queue="default")}).task("a").queue == "default"


def test_a_kind_without_a_row_inherits_everything() -> None:
    """An unlisted kind has an empty row."""
    assert IN_PYTHON.task("unlisted") == TaskConfig()
    assert set(TaskConfig().model_dump(exclude={"dynamic_limit", "dynamic_order"}).values()) == {None}
    assert TaskConfig().dynamic_limit == 1


@pytest.mark.parametrize(
    ("thing", "field", "value"),
    [
        (QueueConfig(), "max_workers", 3),
        (TaskConfig(), "priority", 3),
        (Config(), "queues", {}),
    ],
    ids=["queue", "task", "config"],
)
def test_a_configuration_is_frozen(thing: Any, field: str, value: object) -> None:
    """What was checked stays as it was checked."""
    with pytest.raises((ValidationError, ConfigError)):
        setattr(thing, field, value)


def test_a_configuration_does_not_change_with_the_callers_dicts() -> None:
    """A queue that the caller adds to their dict later is not configured."""
    queues = {"a": QueueConfig()}
    config = Config(queues=queues)
    queues["b"] = QueueConfig()
    assert set(config.all_queues) == {"default", "a"}


@pytest.mark.parametrize("dynamic_queue", ["runs-{id}", named_by_function], ids=["template", "function"])
def test_a_row_gives_its_dynamic_queue_as_something_that_renders(dynamic_queue: Any) -> None:
    """A template in a file and a function in Python render alike."""
    template = TaskConfig(dynamic_queue=dynamic_queue).template
    assert template is not None
    assert template.render(RunArgs(id="7")) == "runs-7"
    assert TaskConfig().template is None


def test_a_row_that_fits_its_class_passes() -> None:
    """A kind without a template fits every class, and so does one whose fields are there."""
    config = Config(tasks={"run": TaskConfig(dynamic_queue="runs-{id}"), "other": TaskConfig()})
    for kind in ("run", "other", "unlisted"):
        config.check_class(RunArgs, kind)


@pytest.mark.parametrize(
    ("template", "problem"),
    [("runs-{run}", "no such field"), ("runs-{note}", "not a required")],
    ids=["missing", "optional"],
)
def test_a_row_that_does_not_fit_its_class_is_refused(template: str, problem: str) -> None:
    """When configuration and class meet, table, field and class are named."""
    config = Config(tasks={"run": TaskConfig(dynamic_queue=template)})
    with pytest.raises(ConfigError, match=problem) as refusal:
        config.check_class(RunArgs, "run")
    assert [part for part in ("[run]", "dynamic_queue", template, "RunArgs") if part not in str(refusal.value)] == []


@pytest.mark.parametrize("table", list(TASKS.split("\n\n")), ids=["startRun", "events.deliver", "bare"])
def test_each_row_reads_alone(tmp_path: Path, table: str) -> None:
    """Rows do not lean on each other."""
    config = Config.load(folder(tmp_path, queues=QUEUES, tasks=table))
    (kind,) = config.tasks
    assert config.tasks[kind] == IN_PYTHON.tasks[kind]


def test_policies_of_retry_are_read_with_their_defaults(tmp_path: Path) -> None:
    """What a policy in a row leaves out is the policy's own default."""
    config = Config.load(folder(tmp_path, tasks='[a]\nretry = { policy = "exponential", base_seconds = 1 }'))
    assert config.task("a").retry == Exponential(1)
