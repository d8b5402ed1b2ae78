"""What the catalog's tests share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest

from tests.tasks.world import World, world

MakeWorld = Callable[[], AbstractAsyncContextManager[World]]


@pytest.fixture
def make_world(database_url: str) -> MakeWorld:
    """Make worlds; a test enters one by `async with`, so that it ends in the task it began in."""
    return partial(world, database_url)
