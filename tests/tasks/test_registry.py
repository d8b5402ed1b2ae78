"""Which kinds are worked, and what becomes of the others."""

from __future__ import annotations

import pytest

from tasks import workers
from tasks.vms import StopVMArgs
from tests.tasks.conftest import MakeWorld
from workerqueue import UnknownKindError


def test_worked_kinds() -> None:
    """Seven kinds have a worker; the other seventeen are declared."""
    assert set(workers.kinds) == {
        "deliverEvent",
        "events.invokeDispatcher",
        "indexEndpoint",
        "performRunExecution",
        "runFinished",
        "scheduleEmail",
        "startRun",
    }
    assert len(workers.classes) == 24


async def test_declared_kind_waits(make_world: MakeWorld) -> None:
    """A job of a kind that nobody works here is accepted and waits; no stub pretends to have done it."""
    async with make_world() as world:
        await world.insert(StopVMArgs(id="vm_1"))
        await world.work()
        assert (await world.one_job("stopVM")).state == "available"


async def test_inserted_by_name(make_world: MakeWorld) -> None:
    """A declared kind can be inserted by its name; a misspelled one is refused, and the right one named."""
    async with make_world() as world:
        await world.client.insert_kind("githubPush", {"branch": "main", "commitSha": "8bc4dce", "repository": "r"})
        assert (await world.one_job("githubPush")).args["commitSha"] == "8bc4dce"
        with pytest.raises(UnknownKindError, match="githubPush"):
            await world.client.insert_kind("github_push", {})
