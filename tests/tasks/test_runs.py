"""Starting runs: room in the run queue, connections, and what is inserted."""

from __future__ import annotations

import pytest

from tasks.database import new_id
from tasks.runs import StartRunArgs
from tests.tasks.conftest import MakeWorld
from tests.tasks.world import World


async def test_starts(make_world: MakeWorld) -> None:
    """A run gets an execution and a place in its queue, and a job that performs it."""
    async with make_world() as world:
        run = await world.add_run()
        await world.insert(StartRunArgs(id=run))
        await world.work("startRun")
        execution = await world.row(
            "select id, reason, status, retry_limit, job_id from catalog.run_executions where run = $1", run
        )
        job = await world.one_job("performRunExecution")
        assert (await world.run_status(run), await world.places_taken(run)) == ("STARTED", 1)
        assert execution == {
            "id": job.args["id"],
            "reason": "EXECUTE_JOB",
            "status": "PENDING",
            "retry_limit": 10,
            "job_id": job.id,
        }


async def test_performance_is_watched_over(make_world: MakeWorld) -> None:
    """The job that performs an execution has runFinished inserted if it is discarded."""
    async with make_world() as world:
        run = await world.add_run()
        await world.insert(StartRunArgs(id=run))
        await world.work("startRun")
        follow_up = (await world.one_job("performRunExecution")).on_discard
        assert follow_up
        assert (follow_up["kind"], follow_up["args"]) == ("runFinished", {"id": run})


async def test_preprocesses_first(make_world: MakeWorld) -> None:
    """A run of a version with preprocessing begins with that."""
    async with make_world() as world:
        run = await world.add_run(await world.add_version(preprocess=True))
        await world.insert(StartRunArgs(id=run))
        await world.work("startRun")
        assert await world.run_status(run) == "PREPROCESSING"
        assert await world.column("select reason from catalog.run_executions where run = $1", run) == ["PREPROCESS"]


async def test_started_once(make_world: MakeWorld) -> None:
    """A start that died after its commit, and one inserted again, start nothing twice."""
    async with make_world() as world:
        run = await world.add_run()
        await world.insert(StartRunArgs(id=run))
        await world.work_and_crash("startRun")
        await world.insert(StartRunArgs(id=run))
        await world.work("startRun")
        assert await world.places_taken(run) == 1
        assert len(await world.jobs("performRunExecution")) == 1


@pytest.mark.parametrize("status", ["PREPROCESSING", "STARTED", "SUCCESS", "FAILURE", "ABORTED"])
async def test_not_startable(make_world: MakeWorld, status: str) -> None:
    """A run that is under way or has ended is left alone, and that is no error."""
    async with make_world() as world:
        run = await world.add_run()
        await world.db.execute("update catalog.runs set status = $2 where id = $1", run, status)
        await world.insert(StartRunArgs(id=run))
        await world.work("startRun")
        assert (await world.one_job("startRun")).state == "completed"
        assert (await world.run_status(run), await world.places_taken(run)) == (status, 0)


async def test_missing_run(make_world: MakeWorld) -> None:
    """The start of a run that does not exist is discarded."""
    async with make_world() as world:
        await world.insert(StartRunArgs(id="nobody"))
        await world.work("startRun")
        job = await world.one_job("startRun")
        assert (job.state, job.reason) == ("discarded", "no such run")


# Room in the queue


async def test_full_queue(make_world: MakeWorld) -> None:
    """A run whose queue is full waits there, and starts once there is room."""
    async with make_world() as world:
        version = await world.add_version(max_jobs=1)
        first, second = await world.add_run(version), await world.add_run(version)
        await world.insert(StartRunArgs(id=first))
        await world.work("startRun")
        await world.insert(StartRunArgs(id=second))
        await world.work("startRun")
        assert (await world.run_status(second), await world.places_taken(second)) == ("QUEUED", 1)

        await world.work("performRunExecution")
        await world.insert(StartRunArgs(id=second))
        await world.work("startRun")
        assert (await world.run_status(second), await world.places_taken(second)) == ("STARTED", 1)


async def test_room_is_never_exceeded(make_world: MakeWorld) -> None:
    """However many runs start at once, no more are under way than the queue has places."""
    async with make_world() as world:
        version = await world.add_version(max_jobs=3)
        runs = [await world.add_run(version) for _ in range(20)]
        await world.insert(*(StartRunArgs(id=run) for run in runs))
        await world.work("startRun")
        statuses = await world.column("select status from catalog.runs where id = any($1) order by 1", runs)
        assert statuses == ["QUEUED"] * 17 + ["STARTED"] * 3
        assert await world.places_taken(runs[0]) == 3


async def test_last_place_starts_nobody_else(make_world: MakeWorld) -> None:
    """Queued runs are started by a job of their own, and only where there is room left."""
    async with make_world() as world:
        version = await world.add_version(max_jobs=2)
        runs = [await world.add_run(version) for _ in range(3)]
        await world.db.execute("update catalog.runs set status = 'QUEUED' where id = $1", runs[2])
        for run, inserted in ((runs[0], 1), (runs[1], 1)):
            await world.insert(StartRunArgs(id=run))
            await world.work("startRun")
            assert len(await world.jobs("startQueuedRuns")) == inserted


# Connections


async def add_integration(world: World, version: str, auth_source: str = "HOSTED") -> str:
    """Have a version need an integration; gives its id."""
    integration = new_id("integration")
    await world.db.execute(
        """
        insert into catalog.integrations (id, organization, slug, auth_source, scopes)
        values ($1, $2, $1, $3, '{chat}')
        """,
        integration,
        world.organization,
        auth_source,
    )
    await world.db.execute(
        "insert into catalog.job_version_integrations values ($1, 'slack', $2)", version, integration
    )
    return integration


async def add_connection(world: World, integration: str, account: str | None = None) -> None:
    """Connect an integration, for the developer or an account."""
    await world.db.execute(
        "insert into catalog.connections (id, integration, type, account, access_token) values ($1, $2, $3, $4, $5)",
        new_id("connection"),
        integration,
        "EXTERNAL" if account else "DEVELOPER",
        account or "DEVELOPER",
        f"token of {account or 'DEVELOPER'}",
    )


async def add_account(world: World) -> str:
    """Make an external account; gives its id."""
    account = new_id("account")
    await world.db.execute(
        "insert into catalog.external_accounts (id, environment, identifier) values ($1, $2, 'ada')",
        account,
        world.environment,
    )
    return account


async def test_missing_connection(make_world: MakeWorld) -> None:
    """A run without a connection waits for it, and the user is told once however many runs wait."""
    async with make_world() as world:
        integration = await add_integration(world, version := await world.add_version())
        runs = [await world.add_run(version) for _ in range(3)]
        await world.insert(*(StartRunArgs(id=run) for run in runs))
        await world.work("startRun")
        assert [await world.run_status(run) for run in runs] == ["WAITING_ON_CONNECTIONS"] * 3
        assert await world.places_taken(runs[0]) == 0
        missing = await world.row(
            "select id, type, account, resolved from catalog.missing_connections where integration = $1", integration
        )
        assert missing == {
            "id": (await world.one_job("missingConnectionCreated")).args["id"],
            "type": "DEVELOPER",
            "account": "DEVELOPER",
            "resolved": False,
        }
        waiting = await world.column(
            "select run from catalog.missing_connection_runs where missing_connection = $1 order by run", missing["id"]
        )
        assert waiting == sorted(runs)


async def test_connection_found(make_world: MakeWorld) -> None:
    """A run with its connection starts, and the endpoint is given the token."""
    async with make_world() as world:
        integration = await add_integration(world, version := await world.add_version())
        await add_connection(world, integration)
        run = await world.add_run(version)
        await world.insert(StartRunArgs(id=run))
        await world.work()
        assert await world.run_status(run) == "SUCCESS"
        (call,) = world.endpoint.calls
        assert call.request
        assert call.request.connections
        slack = call.request.connections["slack"]
        assert (slack.access_token, slack.scopes) == ("token of DEVELOPER", ["chat"])


async def test_connection_of_account(make_world: MakeWorld) -> None:
    """A run for an account needs that account's connection; the developer's does not count."""
    async with make_world() as world:
        integration = await add_integration(world, version := await world.add_version())
        await add_connection(world, integration)
        account = await add_account(world)
        run = await world.add_run(version, account=account)
        await world.insert(StartRunArgs(id=run))
        await world.work("startRun")
        assert await world.run_status(run) == "WAITING_ON_CONNECTIONS"

        await add_connection(world, integration, account)
        await world.insert(StartRunArgs(id=run))
        await world.work("startRun", "performRunExecution")
        assert await world.run_status(run) == "SUCCESS"
        (call,) = world.endpoint.calls
        assert call.request
        assert call.request.account
        assert call.request.connections
        assert call.request.account.id == "ada"
        assert call.request.connections["slack"].access_token == f"token of {account}"


async def test_local_credentials(make_world: MakeWorld) -> None:
    """An integration whose credentials the user keeps needs no connection."""
    async with make_world() as world:
        await add_integration(world, version := await world.add_version(), "LOCAL")
        run = await world.add_run(version)
        await world.insert(StartRunArgs(id=run))
        await world.work("startRun")
        assert await world.run_status(run) == "STARTED"
