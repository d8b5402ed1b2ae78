"""The container link."""

from __future__ import annotations

import asyncpg
import pytest

from workerqueue.embedded import container, postgres
from workerqueue.embedded.server import Missing, Request
from workerqueue.errors import ConfigError

ANYTHING = Request(directory=None, settings={})


async def test_container_runs() -> None:
    """A forced container answers, with the settings given."""
    found = container.find(ANYTHING)
    if isinstance(found, Missing):
        pytest.skip(found.reason)
    with postgres(choice="container", settings={"fsync": "off"}) as server:
        connection = await asyncpg.connect(server.url)
        assert await connection.fetchval("show fsync") == "off"
        await connection.close()
        assert (server.link, server.version[:3]) == ("container", "18.")


def test_docker_does_not_answer() -> None:
    """Without Docker a forced container is refused with the cure."""
    if not isinstance(container.find(ANYTHING), Missing):
        pytest.skip("Docker answers here")
    with pytest.raises(ConfigError, match=r"=container can't be used: .*start Docker"), postgres(choice="container"):
        pass


class BrokenContainer:
    """Stands for testcontainers with an image that can't be had."""

    stopped = False

    def __init__(self, _image: str, *, password: str, **_: object) -> None:
        self.password = password
        self.command: list[str] = []

    def with_command(self, command: list[str]) -> BrokenContainer:
        self.command = command
        return self

    def start(self) -> None:
        raise RuntimeError(f"{self.command} failed with PGPASSWORD={self.password}")

    def stop(self) -> None:
        BrokenContainer.stopped = True


def test_failing_container_tells_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that does not start is stopped, and the error is what was said without the password."""
    testcontainers = pytest.importorskip("testcontainers.community.postgres")
    monkeypatch.setattr(testcontainers, "PostgresContainer", BrokenContainer)
    with pytest.raises(ConfigError) as raised, postgres(choice="container", settings={"fsync": "off"}):
        pass
    assert "['-c', 'fsync=off'] failed with PGPASSWORD=***" in str(raised.value)
    assert raised.value.__suppress_context__
    assert BrokenContainer.stopped
