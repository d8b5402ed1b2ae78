"""Who works which kind: the registry, and the class form of a worker."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Generic, Literal, TypeVar, cast, get_args, get_origin, get_type_hints, overload

from workerqueue.args import A_NAME, JobArgs, is_name, kind_of
from workerqueue.errors import ConfigError, DuplicateKindError, WorkerError
from workerqueue.job import Job
from workerqueue.schedule_config import ScheduleConfig

A = TypeVar("A", bound=JobArgs)
R = TypeVar("R")

AnyWork = Callable[[Job[JobArgs]], object]
"""A worker's function after its args class has been looked up: the registry is what keeps the two together."""


class Worker(Generic[A]):
    """Works the jobs of one kind: the class form, for rules and dependencies of its own.

    Subclass `Worker[StartRunArgs]`, define `work`, and give an instance to `Workers.add`.
    """

    async def work(self, job: Job[A]) -> object:
        """Do the job; what is returned is stored as its output."""
        del job
        raise WorkerError(f"{type(self).__name__} does not define `async def work(self, job)`")

    def timeout(self, job: Job[A]) -> timedelta | float | None:
        """Give the longest this attempt may take (seconds if a number); `None` keeps the job's own timeout."""
        del job
        return None

    def next_retry(self, job: Job[A], error: BaseException) -> timedelta | float | None:
        """Give the time to the next attempt (seconds if a number); `None` keeps the job's own policy.

        Asked after each failed attempt but the last.
        """
        del job, error
        return None


Place = Literal["loop", "thread", "process"]


@dataclass(frozen=True, slots=True)
class Registration:
    """One kind and what works it."""

    kind: str
    args_class: type[JobArgs]
    work: AnyWork
    place: Place
    """Where `work` runs."""
    rules: Worker[JobArgs]
    """Where `timeout` and `next_retry` are asked."""
    memory_limit: int | None = None
    """Bytes that a child process may have beside what Python needs."""


Build = Callable[[datetime], JobArgs]
"""Makes the args of a schedule's job for one time."""


class Workers:
    """The workers of one application: kind → what works it.

    The kind comes from the annotation `Job[StartRunArgs]`::

        workers = Workers()

        @workers.worker
        async def start_run(job: Job[StartRunArgs]) -> None: ...
    """

    def __init__(self) -> None:
        self._registrations: dict[str, Registration] = {}
        self._classes: dict[str, type[JobArgs]] = {}
        self.schedules: dict[str, tuple[ScheduleConfig, Build]] = {}
        """The schedules whose args a function makes, by name."""

    def schedule(
        self,
        cron: str,
        *,
        name: str | None = None,
        timezone: str = "UTC",
        missed: Literal["skip", "one", "all"] = "one",
        queue: str | None = None,
        priority: int | None = None,
        max_attempts: int | None = None,
        timeout: timedelta | float | None = None,
        tags: Sequence[str] | None = None,
    ) -> Callable[[Callable[[datetime], A]], Callable[[datetime], A]]:
        """Register a function that makes the args of a job for each time at which a schedule fires.

        It is given the time, in UTC, and annotated with the args class that it returns::

            @workers.schedule("0 9 * * *", timezone="Europe/Berlin")
            def digest(at: datetime) -> DigestArgs:
                return DigestArgs(day=at.date())

        Args:
            cron: 5 fields, 6 with seconds first, or an alias such as `@daily`.
            name: What it is known by, in all processes; by default the function's name.
            timezone: Whose clocks it means.
            missed: What becomes of times at which nobody worked: `skip`, `one` job for all, or a job for each (`all`,
                100 at most).
            queue: As of `InsertOpts`, like what follows.
            priority: Smaller runs first.
            max_attempts: How often each job may be started.
            timeout: How long one attempt may take (seconds if a number).
            tags: Labels.

        Raises:
            ConfigError: If the schedule can't be right, or its name is taken.
            WorkerError: If the function is not annotated with an args class that it returns.
        """

        def register(function: Callable[[datetime], A]) -> Callable[[datetime], A]:
            known_as = function.__name__ if name is None else name
            args_class = _annotations(function, _name(function)).get("return")
            if not _is_args_class(args_class):
                raise WorkerError(f"{_name(function)}: expected an annotation of the args class that it returns")
            if inspect.iscoroutinefunction(function):
                raise WorkerError(
                    f"{_name(function)}: expected a plain function: what it awaits is for the job's worker"
                )
            if known_as in self.schedules:
                raise ConfigError(f"schedule {known_as!r}: there is one of that name already")
            if not is_name(known_as):
                raise ConfigError(f"name: expected {A_NAME}, got {known_as!r}")
            config = ScheduleConfig(
                kind=self._know(cast("type[JobArgs]", args_class)),
                cron=cron,
                timezone=timezone,
                missed=missed,
                is_built=True,
                queue=queue,
                priority=priority,
                max_attempts=max_attempts,
                timeout=timeout,
                tags=None if tags is None else tuple(tags),
            )
            self.schedules[known_as] = (config, function)
            return function

        return register

    @overload
    def worker(self, function: Callable[[Job[A]], R], /) -> Callable[[Job[A]], R]: ...

    @overload
    def worker(
        self, /, *, executor: Literal["process"], memory_limit: int | None = None
    ) -> Callable[[Callable[[Job[A]], R]], Callable[[Job[A]], R]]: ...

    def worker(
        self,
        function: Callable[[Job[A]], R] | None = None,
        /,
        *,
        executor: Literal["process"] | None = None,
        memory_limit: int | None = None,
    ) -> Callable[[Job[A]], R] | Callable[[Callable[[Job[A]], R]], Callable[[Job[A]], R]]:
        """Register a function as the worker of its kind, and return it unchanged.

        A coroutine function runs on the event loop, a plain function in a thread. At its timeout a thread is ended by
        an exception, which a call that waits outside Python meets only when it returns.

        Args:
            function: The worker.
            executor: `process`: in a child process of its own, for work that needs the CPU. At its timeout the process
                is killed; a crash of it fails the one job. The function and its args class must be importable, since
                the child imports them, and what it returns must be JSON.
            memory_limit: How many bytes such a process may have beside what Python needs itself; more raises
                `MemoryError` there. By default there is no limit.

        Raises:
            WorkerError: If its first parameter is not annotated `Job[SomeArgs]`, or a child process can't run it.
            DuplicateKindError: If the kind has a worker already.
        """

        def register(function: Callable[[Job[A]], R]) -> Callable[[Job[A]], R]:
            self._register_function(function, executor, memory_limit)
            return function

        return register if function is None else register(function)

    def add(
        self,
        work: Callable[[Job[A]], object] | Worker[A],
        *,
        executor: Literal["process"] | None = None,
        memory_limit: int | None = None,
    ) -> None:
        """Register a function, or an instance of a `Worker` class; what follows is as of `worker`.

        Raises:
            WorkerError: If the args class can't be read from it.
            DuplicateKindError: If the kind has a worker already.
        """
        if isinstance(work, type):
            raise WorkerError(
                f"expected a function or a worker object, got the class {work.__name__}; add {work.__name__}()"
            )
        if isinstance(work, Worker):
            if executor is not None or memory_limit is not None:
                raise WorkerError("executor: a child process takes a function, not an object with work()")
            self._register_object(work)  # pyright: ignore[reportUnknownArgumentType] - isinstance forgets the A
        else:
            self._register_function(work, executor, memory_limit)

    def declare(self, *args_classes: type[JobArgs]) -> None:
        """Make kinds known without working them here, so that they can be inserted by name.

        Raises:
            DuplicateKindError: If another class has the same kind.
        """
        for args_class in args_classes:
            self._know(args_class)

    def get(self, kind: str) -> Registration | None:
        """Find what works a kind."""
        return self._registrations.get(kind)

    @property
    def kinds(self) -> list[str]:
        """The kinds that have a worker here."""
        return list(self._registrations)

    @property
    def classes(self) -> Mapping[str, type[JobArgs]]:
        """The args class of every kind known here, worked or declared."""
        return self._classes

    def __iter__(self) -> Iterator[Registration]:
        return iter(self._registrations.values())

    def __len__(self) -> int:
        return len(self._registrations)

    def _register_function(
        self,
        function: Callable[[Job[A]], object],
        executor: Literal["process"] | None = None,
        memory_limit: int | None = None,
    ) -> None:
        if not callable(function):
            raise WorkerError(f"expected a function or a worker object, got {function!r}")
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise WorkerError(f"{_name(function)} is a generator; a worker returns, it does not yield")
        # The registry keeps class and function together, which is what makes this cast true.
        work = cast("AnyWork", function)
        is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - an object whose __call__ is a coroutine function
        )
        args_class = _args_class_of(function)
        if executor is not None or memory_limit is not None:
            _check_process(executor, memory_limit, function, args_class, is_async=is_async)
        place: Place = "process" if executor else "loop" if is_async else "thread"
        self._register(args_class, work, place, NO_RULES, memory_limit)

    def _register_object(self, worker: Worker[A]) -> None:
        work = cast("AnyWork", worker.work)
        if all("work" not in vars(each) for each in type(worker).__mro__ if each is not Worker):
            raise WorkerError(f"{type(worker).__name__} does not define `async def work(self, job)`")
        if not inspect.iscoroutinefunction(worker.work):
            raise WorkerError(f"{type(worker).__name__}.work is not a coroutine function; write `async def work`")
        rules = cast("Worker[JobArgs]", worker)
        self._register(_args_class_of_worker(type(worker)), work, "loop", rules)

    def _register(
        self,
        args_class: type[JobArgs],
        work: AnyWork,
        place: Place,
        rules: Worker[JobArgs],
        memory_limit: int | None = None,
    ) -> None:
        kind = self._know(args_class)
        if kind in self._registrations:
            raise DuplicateKindError(
                f"{kind!r} has a worker already ({_name(self._registrations[kind].work)}); "
                f"{_name(work)} can't be another"
            )
        self._registrations[kind] = Registration(kind, args_class, work, place, rules, memory_limit)

    def _know(self, args_class: type[JobArgs]) -> str:
        kind = kind_of(args_class)
        known = self._classes.setdefault(kind, args_class)
        if known is not args_class:
            raise DuplicateKindError(
                f"{known.__qualname__} and {args_class.__qualname__} both declare the kind {kind!r}; rename one"
            )
        return kind


NO_RULES: Worker[JobArgs] = Worker()

LEAST_MEMORY: Final = 1024 * 1024


def _check_process(
    executor: str | None,
    memory_limit: int | None,
    function: Callable[..., object],
    args_class: type[JobArgs],
    *,
    is_async: bool,
) -> None:
    """Refuse what a child process can't run."""
    name = _name(function)
    if executor != "process":
        beside = " beside a memory_limit" if memory_limit is not None else ""
        raise WorkerError(f"{name}: executor: expected 'process'{beside}, got {executor!r}")
    if is_async:
        raise WorkerError(f"{name}: expected a plain function for a child process, not a coroutine function")
    for each in (function, args_class):
        if "<" in getattr(each, "__qualname__", "<"):
            raise WorkerError(
                f"{_name(each)}: a child process imports it, so it must be defined at the top of a module"
            )
    if memory_limit is not None and memory_limit < LEAST_MEMORY:
        raise WorkerError(f"{name}: memory_limit: expected bytes, at least {LEAST_MEMORY:,}, got {memory_limit}")


def _args_class_of(function: Callable[..., object]) -> type[JobArgs]:
    """Read the args class from the annotation `Job[SomeArgs]` of a function's one parameter."""
    name = _name(function)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # some built-in functions have none
        parameters = []
    hints = _annotations(function, name)
    annotation = hints.get(parameters[0].name) if parameters else None
    args_class = _job_parameter(annotation)
    if args_class is None:
        raise WorkerError(f"{name}: expected one parameter annotated Job[SomeArgs], got {annotation!r}")
    job, *others = parameters
    if job.kind is inspect.Parameter.KEYWORD_ONLY or any(_is_needed(other) for other in others):
        raise WorkerError(f"{name}: expected one parameter, the job; a worker is called with nothing else")
    return args_class


def _annotations(function: Callable[..., object], name: str) -> dict[str, object]:
    """Read a function's annotations; classes made in a function around it are found too."""
    while isinstance(function, partial):
        function = cast("partial[object]", function).func
    called = function if inspect.isroutine(function) else type(function).__call__
    try:
        return get_type_hints(called, localns=_names_around(called))
    except NameError as error:
        raise WorkerError(
            f"{name}: its annotations can't be read ({error}); import the args class where the worker "
            "is defined, not under TYPE_CHECKING"
        ) from None


def _names_around(function: Callable[..., object]) -> dict[str, object]:
    """Give the local names of the callers that lie in the function's own module, the nearest first."""
    module: object = getattr(function, "__globals__", None)
    names: dict[str, object] = {}
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals is module:
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    return names


def _is_needed(parameter: inspect.Parameter) -> bool:
    optional = parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return not optional and parameter.default is inspect.Parameter.empty


def _args_class_of_worker(worker_class: type[object]) -> type[JobArgs]:
    """Read the args class from a base such as `Worker[SomeArgs]`, or from a base's own parameter."""
    for ancestor in worker_class.__mro__:
        for base in getattr(ancestor, "__orig_bases__", ()):
            origin, parameters = get_origin(base), get_args(base)
            is_worker = isinstance(origin, type) and issubclass(origin, Worker)
            if is_worker and len(parameters) == 1 and _is_args_class(parameters[0]):
                return cast("type[JobArgs]", parameters[0])
    raise WorkerError(f"{worker_class.__name__}: expected a class derived from Worker[SomeArgs]")


def _is_args_class(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, JobArgs)


def _job_parameter(annotation: object) -> type[JobArgs] | None:
    if get_origin(annotation) is not Job:
        return None
    (parameter,) = get_args(annotation)
    return cast("type[JobArgs]", parameter) if _is_args_class(parameter) else None


def _name(work: object) -> str:
    if isinstance(work, partial):
        return _name(cast("partial[object]", work).func)
    return getattr(work, "__qualname__", None) or type(work).__qualname__
