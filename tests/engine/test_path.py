"""The path of one job: claimed, worked, written."""

from __future__ import annotations

from tests.conftest import MakeClient
from tests.waiting import PATIENCE
from workerqueue import Job, JobArgs, JobState, Workers


class Greet(JobArgs):
    name: str

    @classmethod
    def kind(cls) -> str:
        return "greet"


async def test_a_job_is_worked_and_its_return_value_stored(make_client: MakeClient) -> None:
    """What a worker returns is the output of a completed job."""
    workers = Workers()

    @workers.worker
    async def greet(job: Job[Greet]) -> str:
        return f"hello {job.args.name}"

    async with make_client(workers) as client:
        await client.start()
        inserted = await client.insert(Greet(name="world"))
        job = await client.jobs.wait(inserted.job.id, PATIENCE)

    assert (job.state, job.output, job.attempt) == (JobState.COMPLETED, "hello world", 1)
