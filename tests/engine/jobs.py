"""The args and small helpers that the engine's tests share."""

from __future__ import annotations

import asyncio

from tests.waiting import PATIENCE, eventually
from workerqueue import Client, Job, JobArgs, JobState
from workerqueue.database import Connection
from workerqueue.events import Event


class Work(JobArgs):
    n: int = 0

    @classmethod
    def kind(cls) -> str:
        return "work"


class Other(JobArgs):
    n: int = 0

    @classmethod
    def kind(cls) -> str:
        return "other"


class Recorder:
    """Keeps the events of a client, in order."""

    def __init__(self, client: Client) -> None:
        self.events: list[Event] = []
        client.events.add(self.events.append)

    def types(self, job_id: int) -> list[str]:
        """What happened to the runs of one job."""
        return [event.type for event in self.events if event.job_id == job_id and event.type != "inserted"]

    async def until(self, job_id: int, event: str, times: int = 1) -> Event:
        """Wait until something has happened to a job so many times, and give the last of them."""

        async def look() -> list[Event]:
            found = [each for each in self.events if (each.job_id, each.type) == (job_id, event)]
            return found if len(found) >= times else []

        return (await eventually(look))[-1]


async def until_state(client: Client, job_id: int, *states: JobState) -> Job[object]:
    """Wait until a job is in one of these states."""

    async def look() -> Job[object] | None:
        job = await client.jobs.get(job_id)
        return job if job is not None and job.state in states else None

    found = await eventually(look)
    assert found is not None
    return found


async def until_none_live(sql: Connection) -> None:
    """Wait until every job is finalized."""

    async def look() -> bool:
        live: int = await sql.fetchval("select count(*) from job")
        return live == 0

    await eventually(look)


async def within(event: asyncio.Event) -> None:
    """Wait for a signal of a worker, not for ever."""
    async with asyncio.timeout(PATIENCE):
        await event.wait()
