"""An application's right code passes both type checkers in strict mode; its mistakes are errors in both.

The samples are written out and checked all at once. In a wrong one, each line that ends with `# wrong` must be an
error and no other line may be one; `assert_type` in a right one holds what is inferred.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

Errors = Mapping[str, set[int]]
"""The lines of each sample that a checker refuses."""

HEAD: Final = '''\
"""A sample."""

from datetime import UTC, datetime, timedelta
from typing import assert_type

from pydantic import BaseModel, JsonValue

from workerqueue import (
    Client,
    Config,
    Delays,
    Exponential,
    Fixed,
    InsertOpts,
    InsertResult,
    Job,
    JobArgs,
    JobCancel,
    JobDiscard,
    JobRetry,
    JobSnooze,
    JobState,
    Polynomial,
    QueueConfig,
    TaskConfig,
    Worker,
    Workers,
    current_client,
)


class StartRunArgs(JobArgs):
    id: str

    @classmethod
    def kind(cls) -> str:
        return "startRun"


class SendMailArgs(JobArgs):
    to: list[str]

    @classmethod
    def kind(cls) -> str:
        return "sendMail"


class Report(BaseModel):
    pages: int


client = Client("postgresql://localhost/app", config="config")
workers = Workers()
'''

RIGHT: Final = {
    "inserting": """
async def insert() -> None:
    result = await client.insert(StartRunArgs(id="1"))
    assert_type(result, InsertResult[StartRunArgs])
    assert_type(result.job, Job[StartRunArgs])
    assert_type(result.job.args.id, str)
    assert_type(result.duplicate, bool)
    assert_type(result.job.state, JobState)
    assert_type(result.job.scheduled_at, datetime)
    assert_type(result.job.timeout, timedelta)
    mail = await client.insert(SendMailArgs(to=["a@example.com"]), InsertOpts(priority=5))
    assert_type(mail.job.args.to, list[str])


async def insert_in_a_transaction() -> None:
    async with client.transaction() as tx:
        result = await client.insert_tx(tx, StartRunArgs(id="1"), InsertOpts(queue="slow"))
        assert_type(result.job.args, StartRunArgs)
        await client.insert_many_tx(tx, [StartRunArgs(id="1"), SendMailArgs(to=[])])


async def insert_many() -> None:
    results = await client.insert_many(
        [StartRunArgs(id="1"), (StartRunArgs(id="2"), InsertOpts(queue="slow")), SendMailArgs(to=[])]
    )
    assert_type(results, list[InsertResult[JobArgs]])
    await client.insert_many([StartRunArgs(id=str(n)) for n in range(3)])
    await client.insert_many(StartRunArgs(id=str(n)) for n in range(3))


async def insert_by_kind() -> None:
    result = await client.insert_kind("startRun", {"id": "1"})
    assert_type(result.job.args, JobArgs | dict[str, JsonValue])
""",
    "options": """
InsertOpts()
InsertOpts(priority=0, max_attempts=1, tags=["a"], metadata={"a": [1, None]}, pending=True)
InsertOpts(scheduled_at=timedelta(minutes=1), timeout=5, retry=Fixed(30))
InsertOpts(scheduled_at=datetime.now(UTC), timeout=timedelta(seconds=5), retry=Exponential(base=2, factor=3))
InsertOpts(scheduled_at=1.5, on_discard=SendMailArgs(to=[]), dynamic_queue="runs-1")
InsertOpts(retry=Delays((1, timedelta(minutes=1))))
InsertOpts(retry=Polynomial(base=1, power=2, maximum=timedelta(hours=1), jitter=0.5))
Config(
    queues={"executions": QueueConfig(max_workers=10)},
    tasks={
        "startRun": TaskConfig(queue="executions", dynamic_queue="runs-{id}", timeout=600, retry=Fixed(30)),
        "sendMail": TaskConfig(timeout=timedelta(minutes=1), max_attempts=5, priority=-1),
    },
)


class OwnArgs(JobArgs):
    @classmethod
    def kind(cls) -> str:
        return "own"

    @classmethod
    def insert_opts(cls) -> InsertOpts:
        return InsertOpts(priority=1)
""",
    "workers": """
@workers.worker
async def start_run(job: Job[StartRunArgs]) -> None:
    assert_type(job, Job[StartRunArgs])
    assert_type(job.args, StartRunArgs)
    assert_type(job.args.id, str)
    assert_type(job.attempt, int)
    await current_client().insert(SendMailArgs(to=[job.args.id]))
    if job.attempt > 1:
        raise JobCancel("no")
    if job.attempt > 2:
        raise JobDiscard("no")
    if job.attempt > 3:
        raise JobSnooze(timedelta(minutes=1))
    raise JobRetry(5)


@workers.worker
def send_mail(job: Job[SendMailArgs]) -> Report:
    return Report(pages=len(job.args.to))


class MailWorker(Worker[SendMailArgs]):
    async def work(self, job: Job[SendMailArgs]) -> Report:
        assert_type(job.args.to, list[str])
        return Report(pages=1)

    def timeout(self, job: Job[SendMailArgs]) -> timedelta:
        return timedelta(seconds=len(job.args.to))

    def next_retry(self, job: Job[SendMailArgs], error: BaseException) -> float | None:
        return 1.5


async def calls(job: Job[StartRunArgs], mail: Job[SendMailArgs]) -> None:
    await start_run(job)
    send_mail(mail)
    assert_type(mail.output_as(Report), Report)
    assert_type(mail.output, JsonValue)


workers.add(MailWorker())
workers.add(start_run)
workers.declare(StartRunArgs, SendMailArgs)


async def work() -> None:
    async with Client(workers=workers, config=Config(), stop_timeout=timedelta(seconds=1)) as own:
        await own.start(queues={"default": 3})
        await own.stop()
        job = await own.jobs.get(1)
        if job is not None:
            assert_type(job.args, JobArgs | dict[str, JsonValue])
""",
    "generic": """
from typing import TypeVar

A = TypeVar("A", bound=JobArgs)


async def insert_all(args: list[A]) -> list[A]:
    return [(await client.insert(each)).job.args for each in args]


async def use() -> None:
    assert_type(await insert_all([StartRunArgs(id="1")]), list[StartRunArgs])


def take(job: Job[JobArgs]) -> int:
    return job.id


def give(job: Job[StartRunArgs]) -> int:
    return take(job)
""",
}

WRONG: Final = {
    "inserting": """
async def insert() -> None:
    await client.insert(StartRunArgs(id=1))  # wrong
    await client.insert(StartRunArgs())  # wrong
    await client.insert(StartRunArgs(id="1", name="x"))  # wrong
    await client.insert("x")  # wrong
    await client.insert({"id": "1"})  # wrong
    await client.insert(StartRunArgs)  # wrong
    await client.insert(Report(pages=1))  # wrong
    await client.insert(StartRunArgs(id="1"), {"priority": 1})  # wrong
    await client.insert(StartRunArgs(id="1"), priority=1)  # wrong
    await client.insert_tx("x", StartRunArgs(id="1"))  # wrong
    await client.insert_tx(StartRunArgs(id="1"))  # wrong
    await client.insert_many(StartRunArgs(id="1"))  # wrong
    await client.insert_many(["x"])  # wrong
    await client.insert_many([(InsertOpts(), StartRunArgs(id="1"))])  # wrong
    await client.insert_kind("startRun", "x")  # wrong


async def read() -> None:
    result = await client.insert(StartRunArgs(id="1"))
    result.job.args.to  # wrong
    wrong_class: InsertResult[SendMailArgs] = result  # wrong
    wrong_type: int = result.job.args.id  # wrong
    print(wrong_class, wrong_type)
""",
    "options": """
InsertOpts(priority="x")  # wrong
InsertOpts(priority=1.5)  # wrong
InsertOpts(max_attempts="3")  # wrong
InsertOpts(timeout="5 s")  # wrong
InsertOpts(scheduled_at="tomorrow")  # wrong
InsertOpts(retry="fixed")  # wrong
InsertOpts(tags=[1])  # wrong
InsertOpts(metadata=["a"])  # wrong
InsertOpts(metadata={"a": object()})  # wrong
InsertOpts(on_discard=Report(pages=1))  # wrong
InsertOpts(on_discard=StartRunArgs)  # wrong
InsertOpts(colour="red")  # wrong
InsertOpts("default")  # wrong
InsertOpts().priority = 1  # wrong
QueueConfig(max_workers="10")  # wrong
QueueConfig(workers=10)  # wrong
TaskConfig(priority="high")  # wrong
TaskConfig(timeout="60")  # wrong
TaskConfig(timeout_seconds=60)  # wrong
TaskConfig(retry="fixed")  # wrong
Config(queues={"a": 10})  # wrong
Config(tasks={"a": QueueConfig()})  # wrong
Fixed("30")  # wrong
Fixed(delay_seconds=30)  # wrong
Exponential(factor="2")  # wrong
Delays(30)  # wrong
JobSnooze()  # wrong
JobSnooze("1 min")  # wrong
JobRetry("1 min")  # wrong
Client(5)  # wrong
Client(workers=[])  # wrong
""",
    "workers": """
@workers.worker  # wrong
async def no_parameter() -> None: ...


@workers.worker  # wrong
async def no_job(args: StartRunArgs) -> None: ...


@workers.worker  # wrong
async def a_text(job: str) -> None: ...


@workers.worker  # wrong
def two_parameters(job: Job[StartRunArgs], more: str) -> None: ...


async def no_args_class(job: Job[Report]) -> None: ...


async def nothing_at_all() -> None: ...


workers.worker(no_args_class)  # wrong
workers.add(no_args_class)  # wrong
workers.add("x")  # wrong
workers.add(nothing_at_all)  # wrong
workers.declare(Report)  # wrong
workers.declare(StartRunArgs(id="1"))  # wrong


class NoArgsWorker(Worker[Report]):  # wrong
    pass


class OtherArgsWorker(Worker[StartRunArgs]):
    async def work(self, job: Job[SendMailArgs]) -> None: ...  # wrong


class SyncWorker(Worker[StartRunArgs]):
    def work(self, job: Job[StartRunArgs]) -> None: ...  # wrong


@workers.worker
async def start_run(job: Job[StartRunArgs]) -> None:
    job.args.name  # wrong
    length: int = job.args.id  # wrong
    print(length)


async def call(job: Job[SendMailArgs]) -> None:
    await start_run(job)  # wrong
    job.output_as("Report")  # wrong
""",
    "args": """
class NoKindArgs(JobArgs):
    id: str


NoKindArgs(id="1")  # wrong


class TextlessArgs(JobArgs):
    @classmethod
    def kind(cls) -> int:  # wrong
        return 1


class OptionlessArgs(JobArgs):
    @classmethod
    def kind(cls) -> str:
        return "optionless"

    @classmethod
    def insert_opts(cls) -> dict[str, int]:  # wrong
        return {}
""",
}


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Errors]:
    """What each checker says of the samples: both read all of them, side by side."""
    folder = tmp_path_factory.mktemp("samples")
    for quality, samples in (("right", RIGHT), ("wrong", WRONG)):
        for name, text in samples.items():
            (folder / f"{quality}_{name}.py").write_text(HEAD + text, encoding="utf-8")
    with ThreadPoolExecutor() as checkers:
        by_mypy, by_pyright = checkers.submit(mypy, folder), checkers.submit(pyright, folder)
        return {"mypy": by_mypy.result(), "pyright": by_pyright.result()}


def mypy(folder: Path) -> Errors:
    """What mypy says in strict mode."""
    said = run(sys.executable, "-m", "mypy", "--strict", "--config-file=", "--hide-error-context", ".", folder=folder)
    assert re.search(r"^(Success|Found \d+ errors?)", said, re.MULTILINE), said
    errors: dict[str, set[int]] = {}
    for file, line in re.findall(r"^(\w+)\.py:(\d+): error: ", said, re.MULTILINE):
        errors.setdefault(file, set()).add(int(line))
    return errors


def pyright(folder: Path) -> Errors:
    """What pyright says in strict mode; unused expressions and variables are the samples' nature."""
    rules = {
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        "reportUnusedExpression": False,
        "reportUnusedClass": False,
        "reportUnusedFunction": False,
        "reportUnusedImport": False,
        "reportUnusedCoroutine": False,
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(rules), encoding="utf-8")
    said = json.loads(
        run(sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, folder=folder)
    )
    assert said["summary"]["filesAnalyzed"] == len(RIGHT) + len(WRONG), said
    errors: dict[str, set[int]] = {}
    for each in said["generalDiagnostics"]:
        if each["severity"] == "error":
            errors.setdefault(Path(each["file"]).stem, set()).add(each["range"]["start"]["line"] + 1)
    return errors


def run(*command: str, folder: Path) -> str:
    """Run a checker on the samples; it fails, since some of them are wrong."""
    ran = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=150)
    assert ran.returncode in (0, 1), ran.stderr
    return ran.stdout


def shown(sample: str, lines: set[int]) -> list[str]:
    """Lines of a sample by their text, since that is what a reader of a failure needs."""
    text = (HEAD + sample).splitlines()
    return [text[line - 1].strip() for line in sorted(lines)]


def marked(sample: str) -> set[int]:
    """The lines of a sample that are marked wrong."""
    return {number for number, line in enumerate((HEAD + sample).splitlines(), 1) if line.endswith("# wrong")}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
@pytest.mark.parametrize("name", RIGHT)
def test_right_code_passes(name: str, checker: str, checked: dict[str, Errors]) -> None:
    """Args, results and jobs have the types that a reader expects, without a cast or an ignore."""
    assert shown(RIGHT[name], checked[checker].get(f"right_{name}", set())) == []


@pytest.mark.timeout(180)
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
@pytest.mark.parametrize("name", WRONG)
def test_each_mistake_is_an_error_and_nothing_else_is(name: str, checker: str, checked: dict[str, Errors]) -> None:
    """What a job's class, options or worker can't be is found before the program runs."""
    found = checked[checker].get(f"wrong_{name}", set())
    missed, unexpected = marked(WRONG[name]) - found, found - marked(WRONG[name])
    assert {"missed": shown(WRONG[name], missed), "unexpected": shown(WRONG[name], unexpected)} == {
        "missed": [],
        "unexpected": [],
    }
