"""A context of its own for each job, without a task of its own: everything else is as if it were awaited."""

from __future__ import annotations

import asyncio
import contextvars
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, suppress
from types import coroutine
from typing import Any, TypeVar, cast

import anyio
import pytest

from workerqueue.engine.isolation import in_own_context

R = TypeVar("R")

seen: contextvars.ContextVar[str] = contextvars.ContextVar("seen", default="nothing")


async def turn() -> None:
    """Let others have a turn."""
    await asyncio.sleep(0)


def stepwise(job: Coroutine[Any, Any, R]) -> Generator[Any, Any, R]:
    """Give what the loop sees of a job: a generator that it sends to, throws into and closes."""
    return cast("Generator[Any, Any, R]", in_own_context(job))


# Contexts


async def test_what_a_job_sets_is_its_own() -> None:
    """It sees what was set before it, its own values through every wait, and leaves nothing behind."""

    async def job() -> list[str]:
        found = [seen.get()]
        seen.set("mine")
        await turn()
        found.append(seen.get())
        await asyncio.sleep(0.001)
        return [*found, seen.get()]

    token = seen.set("the slot's")
    assert await in_own_context(job()) == ["the slot's", "mine", "mine"]
    assert await in_own_context(job()) == ["the slot's", "mine", "mine"]
    assert seen.get() == "the slot's"
    seen.reset(token)


async def test_jobs_that_take_turns_do_not_see_each_other() -> None:
    """Two slots whose jobs wait in between each keep their own values."""

    async def job(name: str) -> set[str]:
        seen.set(name)
        found: set[str] = set()
        for _ in range(5):
            await turn()
            found.add(seen.get())
        return found

    async def slot(name: str) -> set[str]:
        return await in_own_context(job(name)) | {seen.get()}

    one, other = await asyncio.gather(slot("a"), slot("b"))
    assert (one, other) == ({"a", "nothing"}, {"b", "nothing"})


async def test_what_a_job_starts_inherits_its_context() -> None:
    """Tasks, callbacks and threads of a job see what the job has set."""
    found: list[str] = []

    async def child() -> None:
        found.append(seen.get())

    async def job() -> None:
        seen.set("mine")
        asyncio.get_running_loop().call_soon(lambda: found.append(seen.get()))
        await asyncio.create_task(child())
        found.append(await asyncio.to_thread(seen.get))
        await in_own_context(child())

    await in_own_context(job())
    assert found == ["mine"] * 4


async def test_a_jobs_context_managers_and_generators_close_in_its_context() -> None:
    """A token is reset where it was made, after waits, in a generator's cleanup and on an error's way out too."""

    @asynccontextmanager
    async def setting(value: str) -> AsyncGenerator[None]:
        token = seen.set(value)
        try:
            await turn()
            yield
        finally:
            await turn()
            seen.reset(token)

    async def numbers() -> AsyncGenerator[int]:
        async with setting("generating"):
            yield 1
            await turn()
            yield 2

    async def job() -> str:
        async with setting("outer"):
            generator = numbers()
            assert [await anext(generator), seen.get()] == [1, "generating"]
            await generator.aclose()
            assert seen.get() == "outer"
            with suppress(ZeroDivisionError):
                async with setting("inner"):
                    await turn()
                    raise ZeroDivisionError
            assert seen.get() == "outer"
        return seen.get()

    assert await in_own_context(job()) == "nothing"


# Results and errors


async def test_a_job_that_never_waits_gives_its_result() -> None:
    """Nothing is yielded to the loop for it."""

    async def job() -> str:
        return "done"

    with pytest.raises(StopIteration) as stop:
        stepwise(job()).send(None)
    assert stop.value.value == "done"
    assert await in_own_context(job()) == "done"


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3), StopAsyncIteration(), GeneratorExit()]
)
async def test_what_a_job_raises_comes_out_as_it_is(error: BaseException, waits: bool) -> None:
    """The same error, with a trace that ends where it was raised."""

    async def job() -> None:
        if waits:
            await turn()
        raise error

    with pytest.raises(type(error)) as caught:
        await in_own_context(job())
    assert caught.value is error
    assert traceback.extract_tb(error.__traceback__)[-1].line == "raise error"


@pytest.mark.parametrize("waits", [False, True])
async def test_a_stop_iteration_is_an_error_and_not_a_result(waits: bool) -> None:
    """A worker that lets one escape has failed, as with a plain await."""

    async def job() -> None:
        if waits:
            await turn()
        raise StopIteration("forged")

    with pytest.raises(RuntimeError, match="StopIteration"):
        await in_own_context(job())


# Cancellation, and whatever else is thrown in


Body = Callable[[], Awaitable[object]]


async def sleeping() -> None:
    """Wait for ever."""
    await asyncio.sleep(3600)


async def waiting_for_a_child() -> None:
    """Wait for a task."""
    await asyncio.create_task(sleeping())


async def in_a_task_group() -> None:
    """Wait for a group of tasks."""
    async with asyncio.TaskGroup() as group:
        group.create_task(sleeping())


async def in_a_scope() -> None:
    """Wait in a cancel scope."""
    async with anyio.create_task_group() as group:
        group.start_soon(sleeping)


async def in_a_nested_context() -> None:
    """Wait in a context inside the job's."""
    await in_own_context(sleeping())


@pytest.mark.parametrize("body", [sleeping, waiting_for_a_child, in_a_task_group, in_a_scope, in_a_nested_context])
async def test_a_cancellation_reaches_the_job_where_it_waits(body: Body) -> None:
    """It cleans up in its own context, waiting if it must, and the task it runs in has been cancelled."""
    cleaned: list[str] = []

    async def job() -> None:
        seen.set("mine")
        try:
            await body()
        finally:
            cleaned.append(seen.get())
            await turn()
            cleaned.append(seen.get())

    task = asyncio.create_task(_of(job))
    await turn()
    await turn()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (cleaned, task.cancelled()) == (["mine"] * 2, True)


async def _of(job: Callable[[], Awaitable[object]]) -> object:
    async def work() -> object:
        return await job()

    return await in_own_context(work())


async def test_a_job_may_swallow_its_cancellation() -> None:
    """It goes on and gives its result, as with a plain await; a second one reaches it as well."""
    swallowed: list[int] = []

    async def job() -> str:
        for n in range(2):
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                swallowed.append(n)
        await turn()
        return "done"

    task = asyncio.create_task(_of(job))
    for _ in range(2):
        await turn()
        task.cancel()
        await turn()
    assert (await task, swallowed) == ("done", [0, 1])


async def test_deadlines_inside_a_job_are_its_own() -> None:
    """`asyncio.timeout` and anyio's scopes cancel the task they run in, and take back what was theirs."""

    async def job() -> list[str]:
        ended: list[str] = []
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(3600)
        except TimeoutError:
            ended.append("asyncio")
        with anyio.move_on_after(0.001):
            await anyio.sleep(3600)
        ended.append("anyio")
        await turn()
        return ended

    assert await in_own_context(job()) == ["asyncio", "anyio"]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_an_error_of_what_is_awaited_reaches_the_job() -> None:
    """A future's exception is thrown in where the job waits, and can be handled there."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_exception, OSError("away"))

    async def job() -> str:
        try:
            await future
        except OSError as error:
            await turn()
            return str(error)
        return "nothing happened"

    assert await in_own_context(job()) == "away"


def test_a_job_that_is_closed_cleans_up_in_its_context() -> None:
    """As when the loop goes away under it: no loop is needed to end it."""
    cleaned: list[str] = []

    @coroutine
    def forever() -> Generator[None]:
        yield

    async def job() -> None:
        seen.set("mine")
        try:
            await forever()
        finally:
            cleaned.append(seen.get())

    work = stepwise(job())
    work.send(None)
    work.close()
    assert cleaned == ["mine"]
    assert seen.get() == "nothing"
