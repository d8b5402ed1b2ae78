"""Who works which kind: read from annotations, refused with the cure."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Generator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from workerqueue import ConfigError, DuplicateKindError, Job, JobArgs, Worker, WorkerError, Workers
from workerqueue.worker import Place

if TYPE_CHECKING:
    from decimal import Decimal

A = TypeVar("A", bound=JobArgs)


class RunArgs(JobArgs):
    id: str

    @classmethod
    def kind(cls) -> str:
        return "run"


class MailArgs(JobArgs):
    to: str

    @classmethod
    def kind(cls) -> str:
        return "mail"


class SecondRunArgs(JobArgs):
    @classmethod
    def kind(cls) -> str:
        return "run"


async def async_run(job: Job[RunArgs]) -> None:
    """An async worker."""


def sync_run(job: Job[RunArgs]) -> str:
    """A sync worker."""
    return job.args.id


async def quoted_run(job: "Job[RunArgs]") -> None:  # noqa: UP037 - quoted on purpose
    """A worker whose annotation is a text in a text."""


async def defaulted_run(job: Job[RunArgs], retries: int = 3) -> None:
    """A worker with a parameter that has a default."""


async def starred_run(job: Job[RunArgs], *rest: object, **named: object) -> None:
    """A worker that takes whatever else there is."""


class Runs:
    """Workers as methods."""

    async def run(self, job: Job[RunArgs]) -> None:
        """A bound method."""

    @classmethod
    async def class_run(cls, job: Job[RunArgs]) -> None:
        """A class method."""

    @staticmethod
    def static_run(job: Job[RunArgs]) -> None:
        """A static method."""


class AsyncCallable:
    async def __call__(self, job: Job[RunArgs]) -> None:
        """An object that is called."""


class SyncCallable:
    def __call__(self, job: Job[RunArgs]) -> None:
        """An object that is called, in a thread."""


class RunWorker(Worker[RunArgs]):
    async def work(self, job: Job[RunArgs]) -> str:
        """The class form."""
        return job.args.id


class DerivedWorker(RunWorker):
    """A class further down."""


class Logged(Worker[A]):
    """A generic class of an application's own."""


class LoggedRunWorker(Logged[RunArgs]):
    async def work(self, job: Job[RunArgs]) -> None:
        """Works through a generic class between."""


def wrapped(work: Callable[[Job[RunArgs]], Any]) -> Callable[[Job[RunArgs]], Any]:
    """A decorator of an application's own."""

    @functools.wraps(work)
    async def around(job: Job[RunArgs]) -> Any:
        return await work(job)

    return around


async def partial_run(prefix: str, job: Job[RunArgs]) -> None:
    """A worker whose first parameter is bound beforehand."""


FORMS: dict[str, tuple[Any, Place]] = {
    "async function": (async_run, "loop"),
    "sync function": (sync_run, "thread"),
    "text as annotation": (quoted_run, "loop"),
    "a parameter with a default": (defaulted_run, "loop"),
    "starred parameters": (starred_run, "loop"),
    "bound method": (Runs().run, "loop"),
    "class method": (Runs.class_run, "loop"),
    "static method": (Runs.static_run, "thread"),
    "async callable object": (AsyncCallable(), "loop"),
    "sync callable object": (SyncCallable(), "thread"),
    "wrapped function": (wrapped(async_run), "loop"),
    "partial": (functools.partial(partial_run, "x"), "loop"),
    "class form": (RunWorker(), "loop"),
    "derived class": (DerivedWorker(), "loop"),
    "generic class between": (LoggedRunWorker(), "loop"),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_kind_comes_from_the_annotation(form: str) -> None:
    """Whatever the form of the worker, its args class and kind are read from its types."""
    work, place = FORMS[form]
    workers = Workers()
    workers.add(work)
    registration = workers.get("run")
    assert registration is not None
    assert (registration.kind, registration.args_class, registration.place) == ("run", RunArgs, place)
    assert (workers.kinds, workers.classes, len(workers)) == (["run"], {"run": RunArgs}, 1)
    assert [each.kind for each in workers] == ["run"]


def test_the_decorator_gives_the_function_back() -> None:
    """A decorated worker can still be called, in tests and by other code."""
    workers = Workers()
    assert workers.worker(async_run) is async_run
    assert workers.get("run") is not None


def test_an_args_class_made_in_a_function_is_found() -> None:
    """Args classes local to where the worker is registered can be annotated, for decorator and `add`."""

    class LocalArgs(JobArgs):
        @classmethod
        def kind(cls) -> str:
            return "local"

    class OtherLocalArgs(JobArgs):
        @classmethod
        def kind(cls) -> str:
            return "otherLocal"

    workers = Workers()

    @workers.worker
    async def decorated(job: Job[LocalArgs]) -> None: ...

    def added(job: Job[OtherLocalArgs]) -> None: ...

    workers.add(added)
    assert dict(workers.classes) == {"local": LocalArgs, "otherLocal": OtherLocalArgs}


def test_the_class_form_keeps_its_rules() -> None:
    """The registration asks the worker object for its timeout and its next retry."""

    class Ruled(RunWorker):
        def timeout(self, job: Job[RunArgs]) -> timedelta:
            return timedelta(seconds=len(job.args.id))

    worker, workers = Ruled(), Workers()
    workers.add(worker)
    registration = workers.get("run")
    assert registration is not None
    assert registration.rules is worker
    assert registration.work == worker.work


async def test_a_worker_without_rules_keeps_the_jobs_own() -> None:
    """By default neither timeout nor retry are changed."""
    job: Any = None
    workers = Workers()
    workers.add(async_run)
    registration = workers.get("run")
    assert registration is not None
    assert (registration.rules.timeout(job), registration.rules.next_retry(job, ValueError())) == (None, None)


async def no_parameters() -> None:
    """Takes no job."""


async def no_annotation(job) -> None:  # type: ignore[no-untyped-def] # pyright: ignore[reportMissingParameterType, reportUnknownParameterType]
    """Says nothing of its job."""


async def bare_job(job: Job) -> None:  # type: ignore[type-arg] # pyright: ignore[reportMissingTypeArgument, reportUnknownParameterType]
    """Does not say which job."""


async def wrong_class(job: Job[int]) -> None:
    """Its job has no args class."""


async def args_only(args: RunArgs) -> None:
    """Takes the args, not the job."""


async def any_job(job: Job[A]) -> None:
    """Works any kind."""


async def job_second(prefix: str, job: Job[RunArgs]) -> None:
    """Its first parameter is not the job."""


async def two_parameters(job: Job[RunArgs], prefix: str) -> None:
    """Needs something that nobody gives it."""


async def keyword_only(*, job: Job[RunArgs]) -> None:
    """Can't be called with a job."""


async def keyword_needed(job: Job[RunArgs], *, prefix: str) -> None:
    """Needs something that nobody gives it."""


async def type_checking_only(job: Job[RunArgs]) -> Decimal:
    """Its annotations can't be read at run time."""
    raise NotImplementedError


async def asynchronous_generator(job: Job[RunArgs]) -> AsyncGenerator[int]:
    """Yields."""
    yield 1


def generator(job: Job[RunArgs]) -> Generator[int]:
    """Yields."""
    yield 1


class SyncWorker(Worker[RunArgs]):
    def work(self, job: Job[RunArgs]) -> None:  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride]
        """Is not a coroutine function."""


class BareWorker(Worker):  # type: ignore[type-arg] # pyright: ignore[reportMissingTypeArgument]
    async def work(self, job: Any) -> None:
        """Does not say which job."""


class IntWorker(Worker[int]):  # type: ignore[type-var] # pyright: ignore[reportInvalidTypeArguments]
    async def work(self, job: Any) -> None:
        """Its job has no args class."""


class IdleWorker(Worker[RunArgs]):
    """Does not say what to do."""


REFUSED: dict[str, tuple[Any, list[str]]] = {
    "no parameters": (no_parameters, ["no_parameters", "annotated Job[SomeArgs]"]),
    "no annotation": (no_annotation, ["no_annotation", "annotated Job[SomeArgs]"]),
    "a job without a class": (bare_job, ["bare_job", "annotated Job[SomeArgs]"]),
    "a job of no args class": (wrong_class, ["wrong_class", "annotated Job[SomeArgs]", "int"]),
    "args without a job": (args_only, ["args_only", "annotated Job[SomeArgs]", "RunArgs"]),
    "a job of any class": (any_job, ["any_job", "annotated Job[SomeArgs]"]),
    "the job comes second": (job_second, ["job_second", "annotated Job[SomeArgs]"]),
    "a second parameter without a default": (two_parameters, ["two_parameters", "one parameter"]),
    "a partial that still needs something": (functools.partial(two_parameters), ["two_parameters", "one parameter"]),
    "a job by keyword only": (keyword_only, ["keyword_only", "one parameter"]),
    "a needed keyword": (keyword_needed, ["keyword_needed", "one parameter"]),
    "names only for type checkers": (type_checking_only, ["type_checking_only", "Decimal", "TYPE_CHECKING"]),
    "async generator": (asynchronous_generator, ["asynchronous_generator", "does not yield"]),
    "generator": (generator, ["generator", "does not yield"]),
    "lambda": (lambda: None, ["lambda", "annotated Job[SomeArgs]"]),
    "built-in": (print, ["print", "annotated Job[SomeArgs]"]),
    "built-in class": (dict, ["dict()"]),
    "worker class": (RunWorker, ["RunWorker()"]),
    "no function": ("run", ["'run'", "expected a function or a worker object"]),
    "nothing": (None, ["None", "expected a function or a worker object"]),
    "sync work": (SyncWorker(), ["SyncWorker.work", "async def work"]),
    "worker without a class": (BareWorker(), ["BareWorker", "Worker[SomeArgs]"]),
    "worker of no args class": (IntWorker(), ["IntWorker", "Worker[SomeArgs]"]),
    "worker without work": (IdleWorker(), ["IdleWorker", "async def work(self, job)"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_a_worker_is_refused_with_the_cure(case: str) -> None:
    """The message names the function or class and says what to write; nothing is registered."""
    work, said = REFUSED[case]
    workers = Workers()
    with pytest.raises(WorkerError) as refusal:
        workers.add(work)
    assert [part for part in said if part not in str(refusal.value)] == [], str(refusal.value)
    assert (len(workers), workers.classes) == (0, {})


def test_the_decorator_refuses_what_add_refuses() -> None:
    """Both ways in are one door."""
    decorate: Any = Workers().worker
    with pytest.raises(WorkerError, match=r"annotated Job\[SomeArgs\]"):
        decorate(no_parameters)


@pytest.mark.parametrize("again", [async_run, sync_run, RunWorker()], ids=["same", "function", "object"])
def test_a_kind_has_one_worker(again: Any) -> None:
    """A second worker for a kind is refused; the first stays, and the message names both."""
    workers = Workers()
    workers.add(async_run)
    with pytest.raises(DuplicateKindError, match="'run' has a worker already") as refusal:
        workers.add(again)
    second = getattr(again, "__qualname__", "RunWorker.work")
    assert [name for name in ("async_run", second) if name not in str(refusal.value)] == []
    registration = workers.get("run")
    assert registration is not None
    assert registration.work is async_run


def test_a_kind_has_one_class() -> None:
    """Two classes with one kind are refused, whether worked or declared, and the message names both."""
    workers = Workers()
    workers.add(async_run)
    with pytest.raises(DuplicateKindError, match=r"RunArgs and SecondRunArgs both declare the kind 'run'"):
        workers.declare(SecondRunArgs)
    assert workers.classes == {"run": RunArgs}


def test_declared_kinds_are_known_but_not_worked() -> None:
    """A declared class can be inserted by name; nothing here works it; it may be declared again and worked later."""
    workers = Workers()
    workers.declare(RunArgs, MailArgs)
    workers.declare(RunArgs)
    known: dict[str, type[JobArgs]] = {"run": RunArgs, "mail": MailArgs}
    assert (workers.classes, workers.kinds, len(workers)) == (known, [], 0)
    workers.add(async_run)
    assert (workers.kinds, workers.get("mail")) == (["run"], None)


@pytest.mark.parametrize("kind", ["", "x" * 129, "a\n", None], ids=["empty", "too long", "unprintable", "nothing"])
def test_a_class_whose_kind_is_no_name_is_refused(kind: Any) -> None:
    """A kind is checked when its class is first met."""

    class BadArgs(JobArgs):
        @classmethod
        def kind(cls) -> str:
            return kind  # type: ignore[no-any-return]

    async def bad(job: Job[BadArgs]) -> None: ...

    workers = Workers()
    refusal = r"BadArgs\.kind\(\) returned .*1 to 128 printable characters"
    with pytest.raises(ConfigError, match=refusal):
        workers.declare(BadArgs)
    with pytest.raises(ConfigError, match=refusal):
        workers.add(bad)
    assert (workers.classes, len(workers)) == ({}, 0)


async def test_the_base_class_says_that_work_is_missing() -> None:
    """Called on its own, the base class has nothing to do and says so."""
    worker: Worker[RunArgs] = Worker()
    job: Any = None
    with pytest.raises(WorkerError, match=r"Worker does not define `async def work\(self, job\)`"):
        await worker.work(job)
