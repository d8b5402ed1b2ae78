"""A small world for the catalog's workers: a user with an endpoint and a mailbox, and a schema of jobs.

Every world has rows and a job schema of its own, so that tests share one database without meeting.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch
from uuid import uuid4

import asyncpg
from pydantic import Json, JsonValue

import tasks
from tasks import database, endpoint_api
from tasks.database import Row, fetch_all, new_id
from tasks.demo.endpoint import Endpoint
from tasks.demo.mailbox import Mailbox
from tasks.demo.servers import http_server, smtp_server
from tasks.events import ingest_event
from tasks.runs import StartRunArgs
from workerqueue import Client, Job, JobArgs, JobRetry, Workers, migrate

CONFIG = Path(__file__).parents[2] / "config"


class StoredJob(Row):
    """A job as it is stored."""

    id: int
    kind: str
    queue: str
    state: str
    attempt: int
    args: Json[dict[str, JsonValue]]
    on_discard: Json[dict[str, JsonValue]] | None
    errors: Json[list[dict[str, JsonValue]]] | None

    @property
    def reason(self) -> str:
        """The text of the last error."""
        assert self.errors
        return str(self.errors[-1]["error"])


@dataclass
class World:
    """What a test arranges with, acts through and looks at."""

    url: str
    schema: str
    db: asyncpg.Connection[asyncpg.Record]
    client: Client
    endpoint: Endpoint
    mailbox: Mailbox
    organization: str
    project: str
    environment: str
    endpoint_id: str

    # Working

    async def work(self, *kinds: str, horizon: float = 60) -> None:
        """Work the jobs of some kinds (of all, if none is named) until none is due within `horizon` seconds."""
        await self.work_with(_only(kinds) if kinds else tasks.workers, horizon)

    async def work_and_crash(self, kind: str, *, horizon: float = 60) -> None:
        """Work a kind's jobs so that the first attempt of each dies after all is done, before it is recorded."""
        registered = tasks.workers.get(kind)
        assert registered
        workers = Workers()
        workers.add(_crashing(registered.work, registered.args_class))
        await self.work_with(workers, horizon)

    async def work_with(self, workers: Workers, horizon: float = 60) -> None:
        """Work with these workers until no job of theirs is due within `horizon` seconds."""
        client = Client(self.url, config=CONFIG, workers=workers, schema=self.schema, poll_interval=0.2)
        await client.run(drain=True, horizon=horizon)

    # Arranging

    async def insert(self, *args: JobArgs) -> list[int]:
        """Insert jobs; gives their ids."""
        return [(await self.client.insert(each)).job.id for each in args]

    async def ingest(self, name: str = "user.created", **event: JsonValue) -> str:
        """Ingest an event in a transaction; gives its id."""
        payload = event.pop("payload", {})
        context = event.pop("context", None)
        assert not event
        async with self.client.transaction() as tx:
            return await ingest_event(
                self.client, tx, environment=self.environment, name=name, payload=payload, context=context
            )

    async def add_version(
        self,
        job: str | None = None,
        *,
        version: str = "1",
        preprocess: bool = False,
        queue: str | None = None,
        max_jobs: int = 100,
    ) -> str:
        """Register a version of a job; gives its id."""
        job = job or await self.add_job()
        queue = queue or await self.add_queue(max_jobs)
        await self.db.execute(
            """
            insert into catalog.job_versions
                (id, job, version, environment, endpoint, queue, event_spec, preprocess)
            values ($1, $2, $3, $4, $5, $6, '{}', $7)
            """,
            added := new_id("version"),
            job,
            version,
            self.environment,
            self.endpoint_id,
            queue,
            preprocess,
        )
        return added

    async def add_job(self) -> str:
        """Register a job without versions; gives its id."""
        job = new_id("job")
        await self.db.execute("insert into catalog.jobs values ($1, $2, $1, 'A job')", job, self.project)
        return job

    async def add_queue(self, max_jobs: int = 100) -> str:
        """Make a run queue; gives its id."""
        queue = new_id("queue")
        await self.db.execute(
            "insert into catalog.run_queues (id, environment, name, max_jobs) values ($1, $2, $1, $3)",
            queue,
            self.environment,
            max_jobs,
        )
        return queue

    async def add_dispatcher(
        self, target: str, *, target_type: str = "JOB_VERSION", columns: Mapping[str, object] | None = None
    ) -> str:
        """Make a dispatcher of `user.created`; gives its id."""
        row = {"environment": self.environment, "event": "user.created", "source": "trigger.dev"} | dict(columns or {})
        dispatcher = new_id("dispatcher")
        await self.db.execute(
            f"""
            insert into catalog.dispatchers (id, target_type, target, {", ".join(row)})
            values ($1, $2, $3, {", ".join(f"${place}" for place in range(4, 4 + len(row)))})
            """,  # noqa: S608 - the columns are the test's own
            dispatcher,
            target_type,
            target,
            *row.values(),
        )
        return dispatcher

    async def add_run(self, version: str | None = None, *, account: str | None = None) -> str:
        """Make a run of a version for an event of its own, without jobs; gives its id."""
        version = version or await self.add_version()
        event, run = new_id("event"), new_id("run")
        await self.db.execute(
            """
            insert into catalog.events (id, environment, name, source, payload, context)
            values ($1, $2, 'user.created', 'trigger.dev', '{"plan": "pro"}', '{}')
            """,
            event,
            self.environment,
        )
        await self.db.execute(
            """
            insert into catalog.runs (id, job, number, version, event, queue, account)
            select $1, job, 1 + (select count(*) from catalog.runs as other where other.job = version.job),
                id, $2, queue, $3
            from catalog.job_versions as version where id = $4
            """,
            run,
            event,
            account,
            version,
        )
        return run

    async def start_run(self, version: str | None = None) -> str:
        """Make a run and start it, so that its first execution waits; gives its id."""
        run = await self.add_run(version)
        await self.insert(StartRunArgs(id=run))
        await self.work("startRun")
        return run

    # Looking

    async def jobs(self, kind: str | None = None, *, state: str | None = None) -> list[StoredJob]:
        """List the stored jobs in the order they were inserted."""
        return await fetch_all(
            self.db,
            StoredJob,
            f"""
            select id, kind, queue, state, attempt, args, on_discard, errors
            from {self.schema}.job_all
            where ($1::text is null or kind = $1) and ($2::text is null or state = $2)
            order by id
            """,  # noqa: S608 - the schema's name is made here
            kind,
            state,
        )

    async def one_job(self, kind: str) -> StoredJob:
        """Give the only job of a kind."""
        jobs = await self.jobs(kind)
        assert len(jobs) == 1, jobs
        return jobs[0]

    async def value(self, statement: str, *values: object) -> object:
        """Give the first column of the first row."""
        found: object = await self.db.fetchval(statement, *values)
        return found

    async def column(self, statement: str, *values: object) -> list[object]:
        """Give the first column of all rows."""
        return [row[0] for row in await self.db.fetch(statement, *values)]

    async def row(self, statement: str, *values: object) -> dict[str, object]:
        """Give the first row."""
        row = await self.db.fetchrow(statement, *values)
        assert row
        return dict(row)

    async def event_of(self, run: str) -> str:
        """Give the id of a run's event."""
        return str(await self.value("select event from catalog.runs where id = $1", run))

    async def output(self, run: str) -> JsonValue:
        """Give a run's output."""
        stored = await self.value("select output from catalog.runs where id = $1", run)
        assert isinstance(stored, str)
        read: JsonValue = json.loads(stored)
        return read

    async def executions(self, run: str, column: str) -> list[object]:
        """Give one column of a run's executions, oldest first."""
        return await self.column(
            f"select {column} from catalog.run_executions where run = $1 order by created_at",  # noqa: S608
            run,
        )

    async def run_status(self, run: str) -> object:
        """Give a run's status."""
        return await self.value("select status from catalog.runs where id = $1", run)

    async def places_taken(self, run: str) -> object:
        """Tell how many runs are under way in a run's queue."""
        return await self.value(
            "select job_count from catalog.run_queues where id = (select queue from catalog.runs where id = $1)",
            run,
        )


Work = Callable[[Job[JobArgs]], object]


def _only(kinds: tuple[str, ...]) -> Workers:
    """Take the workers of some kinds alone."""
    workers = Workers()
    for kind in kinds:
        registered = tasks.workers.get(kind)
        assert registered
        workers.add(_annotated(registered.work, registered.args_class))
    return workers


def _crashing(work: Work, args_class: type[JobArgs]) -> Work:
    """Let a worker do everything, then die in its first attempt."""

    async def work_and_die(job: Job[JobArgs]) -> object:
        output = await _result(work, job)
        if job.attempt == 1:
            raise JobRetry(0)
        return output

    return _annotated(work_and_die, args_class)


def _annotated(work: Work, args_class: type[JobArgs]) -> Work:
    """Pass on to a worker under an annotation that names its args class."""

    async def pass_on(job: Job[JobArgs]) -> object:
        return await _result(work, job)

    pass_on.__annotations__["job"] = cast("Any", Job)[args_class]
    return pass_on


async def _result(work: Work, job: Job[JobArgs]) -> object:
    result = work(job)
    return await cast("Awaitable[object]", result) if inspect.isawaitable(result) else result


@asynccontextmanager
async def world(database_url: str) -> AsyncGenerator[World]:
    """Make a world: tables, a user's rows, an endpoint and a mailbox that answer, and a client that inserts."""
    schema, endpoint, mailbox = f"jobs_{uuid4().hex}", Endpoint(api_key=new_id("key")), Mailbox()
    async with AsyncExitStack() as stack:
        db: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(database_url)
        stack.push_async_callback(db.close)
        await database.create(db)
        await migrate(database_url, schema=schema)
        stack.push_async_callback(db.execute, f"drop schema {schema} cascade")

        url = await stack.enter_async_context(http_server(endpoint.app))
        smtp_url = await stack.enter_async_context(smtp_server(mailbox))
        stack.push_async_callback(endpoint_api.close)
        environment = {"CATALOG_SMTP_URL": smtp_url, "CATALOG_MAIL_FROM": "Catalog <catalog@example.com>"}
        stack.enter_context(patch.dict(os.environ, environment))

        client = Client(database_url, config=CONFIG, workers=tasks.workers, schema=schema)
        await stack.enter_async_context(client)
        user = await _add_user(db, url, endpoint.api_key)
        yield World(database_url, schema, db, client, endpoint, mailbox, *user)


async def _add_user(db: asyncpg.Connection[asyncpg.Record], url: str, api_key: str) -> tuple[str, str, str, str]:
    organization, project = new_id("organization"), new_id("project")
    environment, endpoint = new_id("environment"), new_id("endpoint")
    await db.execute("insert into catalog.organizations (id, slug, title) values ($1, $1, 'Ada')", organization)
    await db.execute(
        "insert into catalog.projects (id, organization, slug) values ($1, $2, 'engine')", project, organization
    )
    await db.execute(
        """
        insert into catalog.environments (id, project, slug, type, api_key)
        values ($1, $2, 'dev', 'DEVELOPMENT', $3)
        """,
        environment,
        project,
        api_key,
    )
    await db.execute(
        "insert into catalog.endpoints (id, environment, slug, url) values ($1, $2, 'main', $3)",
        endpoint,
        environment,
        url,
    )
    return organization, project, environment, endpoint
