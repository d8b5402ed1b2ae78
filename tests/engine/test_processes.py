"""CPU-bound workers in child processes: really ended, and whatever ends a process fails its one job."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import until_state
from tests.engine.process_workers import MEMORY_LIMIT, Crunch, Small, crunch, small
from tests.waiting import PATIENCE, eventually
from workerqueue import Fixed, InsertOpts, Job, JobArgs, JobState, WorkerError, Workers, context

ONCE = InsertOpts(max_attempts=1)
SHORT = InsertOpts(max_attempts=1, timeout=timedelta(seconds=1))


def _workers() -> Workers:
    workers = Workers()
    workers.worker(executor="process")(crunch)
    workers.add(small, executor="process", memory_limit=MEMORY_LIMIT)
    return workers


async def test_a_worker_runs_in_a_process_of_its_own(make_client: MakeClient) -> None:
    """With the job's context, several at once, and the same processes again for the next jobs."""
    async with make_client(_workers()) as client:
        await client.start(queues={"default": 2})
        with context(tenant="t1", user="u1"):
            inserted = await client.insert_many([Crunch(n=n) for n in range(10)])
        outputs = [cast("dict[str, object]", (await client.jobs.wait(each.job, PATIENCE)).output) for each in inserted]
    assert [each["n"] for each in outputs] == list(range(10))
    assert all(each["context"] == {"tenant": "t1", "user": "u1"} for each in outputs)
    pids = {each["pid"] for each in outputs}
    assert os.getpid() not in pids
    assert 1 <= len(pids) <= 2
    for pid in pids:  # they are gone when the client has stopped
        assert not _is_alive(cast("int", pid))


async def test_a_process_that_died_while_it_did_nothing_fails_no_job(make_client: MakeClient) -> None:
    """The next job has another one."""
    async with make_client(_workers()) as client:
        await client.start()
        first = await client.jobs.wait((await client.insert(Crunch(), ONCE)).job, PATIENCE)
        pid = cast("dict[str, int]", first.output)["pid"]
        os.kill(pid, signal.SIGKILL)

        async def is_gone() -> bool:
            return not _is_alive(pid)

        assert await eventually(is_gone)
        second = await client.jobs.wait((await client.insert(Crunch(), ONCE)).job, PATIENCE)
    assert (second.state, cast("dict[str, int]", second.output)["pid"] != pid) == (JobState.COMPLETED, True)


@pytest.mark.parametrize("way", ["loop", "ignore"])
async def test_a_process_is_killed_at_the_timeout(make_client: MakeClient, way: str) -> None:
    """Whatever it does; the slot works on at once."""
    async with make_client(_workers()) as client:
        await client.start(queues={"default": 1})
        first = await client.insert(Crunch(way=way), SHORT)
        then = await client.insert(Crunch(n=1))
        job = await client.jobs.wait(first.job, PATIENCE)
        assert (job.state, job.errors[0].type) == (JobState.DISCARDED, "JobTimeoutError")
        assert (await client.jobs.wait(then.job, PATIENCE)).state is JobState.COMPLETED


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("segfault", "was ended by SIGSEGV"),
        ("kill", "was ended by SIGKILL"),
        ("exit", "exited with 3"),
    ],
)
async def test_the_death_of_a_process_fails_its_one_job(make_client: MakeClient, way: str, said: str) -> None:
    """It counts as an attempt and is tried again; those beside it complete."""
    async with make_client(_workers()) as client:
        await client.start(queues={"default": 3})
        beside = await client.insert_many([Crunch(n=n) for n in range(5)])
        fatal = await client.insert(Crunch(way=way), InsertOpts(max_attempts=2, retry=Fixed(0)))
        job = await client.jobs.wait(fatal.job, PATIENCE)
        assert (job.state, job.attempt) == (JobState.DISCARDED, 2)
        assert [(each.type, each.error) for each in job.errors] == [
            ("WorkerDiedError", f"the process that ran it {said}")
        ] * 2
        for each in beside:
            assert (await client.jobs.wait(each.job, PATIENCE)).state is JobState.COMPLETED


@pytest.mark.parametrize(
    ("way", "state", "kind", "text"),
    [
        ("raise", JobState.DISCARDED, "ValueError", "bad 7"),
        ("odd", JobState.DISCARDED, "OddError", "1 and 2"),
        ("unpicklable", JobState.DISCARDED, "Unpicklable", "holds a lambda"),
        ("sys.exit", JobState.DISCARDED, "SystemExit", "3"),
        ("cancel", JobState.CANCELLED, "JobCancel", "not wanted"),
        ("nan", JobState.DISCARDED, "OutputError", "output: "),
    ],
)
async def test_what_a_child_raises_is_as_if_raised_here(
    make_client: MakeClient, way: str, state: JobState, kind: str, text: str
) -> None:
    """Also an error that can't be copied; its trace shows where it was raised in the child."""
    async with make_client(_workers()) as client:
        await client.start()
        inserted = await client.insert(Crunch(way=way, n=7), ONCE)
        job = await client.jobs.wait(inserted.job, PATIENCE)
    assert (job.state, job.errors[0].type) == (state, kind)
    assert job.errors[0].error.startswith(text)
    if way == "raise":
        assert 'raise ValueError(f"bad {job.args.n}")' in (job.errors[0].trace or "")


async def test_a_child_snoozes_and_saves(make_client: MakeClient) -> None:
    """Through its parent, which has the database."""
    async with make_client(_workers()) as client:
        await client.start()
        snoozed = await client.insert(Crunch(way="snooze"))
        saved = await client.insert(Crunch(way="save"), InsertOpts(retry=Fixed(0)))
        alone = await client.insert(Crunch(way="client"))
        job = await client.jobs.wait(saved.job, PATIENCE)
        assert (job.state, job.attempt, job.last_progress) == (JobState.COMPLETED, 2, 0.5)
        assert job.output == job.last_checkpoint
        assert "no current client" in str((await client.jobs.wait(alone.job, PATIENCE)).output)
        await until_state(client, snoozed.job.id, JobState.SCHEDULED)


async def test_too_much_memory_fails_the_attempt_alone(make_client: MakeClient) -> None:
    """`MemoryError`, where a kind has a limit; others have none."""
    async with make_client(_workers()) as client:
        await client.start(queues={"default": 1})
        greedy = await client.insert(Small(way="memory"), ONCE)
        modest = await client.insert(Small(n=1))
        unlimited = await client.insert(Crunch(way="memory"))
        job = await client.jobs.wait(greedy.job, PATIENCE)
        assert (job.state, job.errors[0].type) == (JobState.DISCARDED, "MemoryError")
        assert (await client.jobs.wait(modest.job, PATIENCE)).state is JobState.COMPLETED
        assert (await client.jobs.wait(unlimited.job, PATIENCE)).output == 4 * MEMORY_LIMIT


async def test_a_stop_waits_and_then_kills(make_client: MakeClient) -> None:
    """The job that was cut off goes back and loses no attempt."""
    async with make_client(_workers()) as client:
        await client.start()
        inserted = await client.insert(Crunch(way="loop"))

        await until_state(client, inserted.job.id, JobState.RUNNING)
        await client.stop(timeout=0)
        job = await client.jobs.get(inserted.job)
    assert job is not None
    assert (job.state, job.attempt) == (JobState.AVAILABLE, 0)


async def test_a_run_that_is_asked_to_stop_is_killed(make_client: MakeClient) -> None:
    """By `jobs.cancel(running="request")`, in any process."""
    async with make_client(_workers()) as client:
        await client.start()
        inserted = await client.insert(Crunch(way="loop"))

        await until_state(client, inserted.job.id, JobState.RUNNING)
        assert (await client.jobs.cancel(inserted.job, running="request")).ok
        job = await client.jobs.wait(inserted.job, PATIENCE)
    assert job.state is JobState.CANCELLED


async def test_children_do_not_outlive_a_killed_parent(tmp_path: Path, database_url: str, schema: str) -> None:
    """Not even one that is busy."""
    script = tmp_path / "parent.py"
    script.write_text(
        f"""
import asyncio
from tests.engine.process_workers import Crunch, crunch
from workerqueue import Client, Workers

async def main():
    workers = Workers()
    workers.add(crunch, executor="process")
    async with Client({database_url!r}, schema={schema!r}, workers=workers) as client:
        await client.start()
        pid = (await client.jobs.wait((await client.insert(Crunch())).job, 30)).output["pid"]
        await client.insert(Crunch(way="loop"))
        while not any(each.running for each in await client.clients()):
            await asyncio.sleep(0.01)
        print(pid, flush=True)
        await asyncio.sleep(60)

if __name__ == "__main__":
    asyncio.run(main())
"""
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    assert _is_alive(child)
    parent.send_signal(signal.SIGKILL)
    await parent.wait()

    async def is_gone() -> bool:
        return not _is_alive(child)

    assert await eventually(is_gone)


class Local(JobArgs):
    @classmethod
    def kind(cls) -> str:
        return "local"


async def _coroutine(job: Job[Local]) -> None: ...


def _plain(job: Job[Local]) -> None: ...


def test_what_a_child_process_can_not_run_is_refused_at_once() -> None:
    """With what was expected."""
    workers = Workers()

    def inner(job: Job[Local]) -> None: ...

    with pytest.raises(WorkerError, match="defined at the top of a module"):
        workers.add(inner, executor="process")
    with pytest.raises(WorkerError, match="expected a plain function"):
        workers.add(_coroutine, executor="process")
    with pytest.raises(WorkerError, match="memory_limit: expected bytes, at least 1,048,576, got 512"):
        workers.add(_plain, executor="process", memory_limit=512)
    with pytest.raises(WorkerError, match="expected 'process' beside a memory_limit, got None"):
        workers.add(_plain, memory_limit=2**30)
    with pytest.raises(WorkerError, match="expected 'process', got 'thread'"):
        workers.add(_plain, executor="thread")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - a mistake
    assert workers.kinds == []


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
