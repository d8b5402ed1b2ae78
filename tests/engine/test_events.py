"""What is told and logged of each run."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from tests.conftest import MakeClient
from tests.engine.jobs import Recorder
from workerqueue import Fixed, InsertOpts, Job, JobArgs, JobCancel, JobDiscard, JobSnooze, Workers
from workerqueue.events import Event


class Act(JobArgs):
    """What the worker is to do in each attempt."""

    acts: list[str]

    @classmethod
    def kind(cls) -> str:
        return "act"


def acting() -> Workers:
    """Make workers that do in each start what the args say, the last one again and again."""
    starts: dict[int, int] = {}
    workers = Workers()

    @workers.worker
    async def act(job: Job[Act]) -> None:
        number = starts[job.id] = starts.get(job.id, 0) + 1
        match job.args.acts[min(number, len(job.args.acts)) - 1]:
            case "fail":
                raise ValueError("it failed")
            case "snooze":
                raise JobSnooze(0.05)
            case "cancel":
                raise JobCancel("unwanted")
            case "discard":
                raise JobDiscard("hopeless")
            case _:
                return

    return workers


STORIES = {
    "completes": (["return"], ["started", "completed"]),
    "fails and completes": (["fail", "return"], ["started", "failed", "started", "completed"]),
    "fails for the last time": (["fail"], ["started", "failed", "started", "discarded"]),
    "snoozes and completes": (["snooze", "return"], ["started", "snoozed", "started", "completed"]),
    "cancels": (["cancel"], ["started", "cancelled"]),
    "discards": (["discard"], ["started", "discarded"]),
}


@pytest.mark.parametrize(("acts", "told"), STORIES.values(), ids=STORIES.keys())
async def test_events_tell_what_happens_in_its_order(make_client: MakeClient, acts: list[str], told: list[str]) -> None:
    """Each start and each end of a run is told once, after its commit."""
    async with make_client(acting()) as client:
        events = Recorder(client)
        await client.start()
        inserted = await client.insert(Act(acts=acts), InsertOpts(max_attempts=2, retry=Fixed(0)))
        await events.until(inserted.job.id, told[-1])
        assert events.types(inserted.job.id) == told
        # Somewhere: a run may begin before whoever inserted its job has heard that it is there.
        assert [event.type for event in events.events].count("inserted") == 1
        job = await client.jobs.get(inserted.job.id)
        assert job is not None
        assert job.state.is_final
    for event in events.events:
        assert (event.kind, event.queue) == ("act", "default")
        assert (event.duration is None) == (event.type in ("inserted", "started"))


async def test_a_listener_that_raises_harms_nobody(make_client: MakeClient, caplog: pytest.LogCaptureFixture) -> None:
    """Other listeners still hear every event, and the job is worked."""

    def broken(event: Event) -> None:
        raise RuntimeError("listener")

    async with make_client(acting()) as client:
        client.events.add(broken)
        events = Recorder(client)
        await client.start()
        inserted = await client.insert(Act(acts=["return"]))
        await events.until(inserted.job.id, "completed")
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == [
        "a listener failed at an event"
    ] * 3


@pytest.mark.req("C28")
async def test_a_log_record_of_each_event_carries_its_facts_as_fields(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """`Task started`, `Task completed` and `Task failed` have task_kind, job_id, duration_ms and error."""
    caplog.set_level(logging.INFO, "workerqueue.jobs")
    async with make_client(acting()) as client:
        events = Recorder(client)
        await client.start()
        inserted = await client.insert(Act(acts=["fail", "return"]), InsertOpts(retry=Fixed(0)))
        await events.until(inserted.job.id, "completed")
    records = [record for record in caplog.records if record.name == "workerqueue.jobs"]
    assert [(record.getMessage(), record.levelname) for record in records] == [
        ("Task started", "INFO"),
        ("Task failed", "WARNING"),
        ("Task started", "INFO"),
        ("Task completed", "INFO"),
    ]
    for record in records:
        fields = vars(record)
        assert (fields["task_kind"], fields["job_id"], fields["queue"]) == ("act", inserted.job.id, "default")
        started = record.getMessage() == "Task started"
        assert ("duration_ms" in fields) != started
        if not started:
            assert 0 <= fields["duration_ms"] < timedelta(seconds=30) / timedelta(milliseconds=1)
    assert [vars(record).get("error") for record in records] == [None, "ValueError: it failed", None, None]
    assert [vars(record)["attempt"] for record in records] == [1, 1, 2, 2]


async def test_nothing_a_job_holds_is_logged(make_client: MakeClient, caplog: pytest.LogCaptureFixture) -> None:
    """Args that no longer fit are told without their values, and args never reach a log line."""

    class Secret(JobArgs):
        token: int

        @classmethod
        def kind(cls) -> str:
            return "secret"

    workers = Workers()

    @workers.worker
    async def secret(job: Job[Secret]) -> None: ...

    class Older(JobArgs):
        token: str

        @classmethod
        def kind(cls) -> str:
            return "secret"

    caplog.set_level(logging.DEBUG)
    async with make_client(workers) as client:
        events = Recorder(client)
        await client.start()
        inserted = await client.insert(Older(token="hunter2"))
        await events.until(inserted.job.id, "discarded")
    assert caplog.records
    assert "hunter2" not in "".join(str(vars(record)) for record in caplog.records)
    assert "hunter2" not in str(events.events)
