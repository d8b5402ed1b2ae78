"""Which link is taken: by what is found, and by force."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from workerqueue.embedded import Server, binaries, container, postgres
from workerqueue.embedded.account import account, nobody
from workerqueue.embedded.binaries import Binaries
from workerqueue.embedded.server import Missing
from workerqueue.errors import ConfigError

FAST = {"fsync": "off"}
GIVEN = "postgresql://someone:s3cret@db.example/jobs"


def absent(name: str) -> Callable[[object], Missing]:
    """Stands for a finder that finds nothing."""
    return lambda _: Missing(f"no {name} here", f"get {name}")


def need(found: Binaries | Missing) -> Binaries:
    """Skip where a link can't be tried."""
    if isinstance(found, Missing):
        pytest.skip(found.reason)
    return found


async def answer(url: str) -> str:
    """The version a server names when asked."""
    connection = await asyncpg.connect(url)
    try:
        return str(await connection.fetchval("show server_version"))
    finally:
        await connection.close()


@pytest.mark.parametrize("name", ["WORKERQUEUE_DATABASE_URL", "DATABASE_URL"])
def test_given_url_comes_first(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL in the environment is used as it is, before anything is started."""
    monkeypatch.setenv(name, GIVEN)
    with postgres() as server:
        assert Server(url=GIVEN, link="url", version="", owned=False) == server


def test_own_variable_beats_the_general_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """WORKERQUEUE_DATABASE_URL is preferred to DATABASE_URL."""
    monkeypatch.setenv("WORKERQUEUE_DATABASE_URL", GIVEN)
    monkeypatch.setenv("DATABASE_URL", "postgresql://other.example/app")
    with postgres(choice="url") as server:
        assert server.url == GIVEN


def test_forced_url_needs_one() -> None:
    """The url link without a URL is refused with what to set."""
    with (
        pytest.raises(ConfigError, match=r"(?s)=url .*DATABASE_URL is set; set WORKERQUEUE_DATABASE_URL="),
        postgres(choice="url"),
    ):
        pass


async def test_machine_comes_before_wheel() -> None:
    """Server programs on the machine are taken before those of the wheel."""
    found = need(binaries.on_machine(account()))
    with postgres(settings=FAST) as server:
        assert ("local", found.version, True) == (server.link, server.version, server.owned)
        assert (await answer(server.url)).startswith(found.version)


async def test_wheel_comes_after_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel's programs are taken where the machine has none."""
    found = need(binaries.in_wheel(account()))
    monkeypatch.setattr(binaries, "on_machine", absent("programs"))
    with postgres(settings=FAST) as server:
        assert ("wheel", found.version, True) == (server.link, server.version, server.owned)
        assert (await answer(server.url)).startswith(found.version)


@pytest.mark.parametrize("link", ["local", "wheel"])
async def test_forced_by_argument_or_environment(link: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forced link is taken even when a URL is given; the argument beats the environment."""
    need(binaries.on_machine(account()) if link == "local" else binaries.in_wheel(account()))
    monkeypatch.setenv("DATABASE_URL", GIVEN)
    monkeypatch.setenv("WORKERQUEUE_POSTGRES", link)
    with postgres(settings=FAST) as server:
        assert server.link == link
        await answer(server.url)
    with postgres(choice="url") as server:
        assert server.link == "url"


@pytest.mark.parametrize(("link", "finder"), [("local", "on_machine"), ("wheel", "in_wheel")])
def test_forced_link_that_is_missing(link: str, finder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forced link that can't be used is refused with the reason and the cure; no other is tried."""
    monkeypatch.setattr(binaries, finder, absent("programs"))
    with (
        pytest.raises(ConfigError, match=f"={link} can't be used: no programs here; get programs"),
        postgres(choice=link),
    ):
        pass


@pytest.mark.parametrize("given", ["docker", "URL", " local"])
def test_unknown_choice(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another value of WORKERQUEUE_POSTGRES is refused with the four it can have."""
    monkeypatch.setenv("WORKERQUEUE_POSTGRES", given)
    with (
        pytest.raises(ConfigError, match=r"WORKERQUEUE_POSTGRES is '.*'.*url, local, wheel, container"),
        postgres(),
    ):
        pass


def test_nothing_found_lists_the_four(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be used, the error has a line per link with its reason and its cure."""
    monkeypatch.setattr(binaries, "on_machine", absent("programs"))
    monkeypatch.setattr(binaries, "in_wheel", absent("wheel"))
    monkeypatch.setattr(container, "find", absent("docker"))
    with pytest.raises(ConfigError) as raised, postgres():
        pass
    lines = str(raised.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["url", "local", "wheel", "container"]
    assert "set WORKERQUEUE_DATABASE_URL=" in lines[1]
    assert lines[2:] == [
        "  local: no programs here; get programs",
        "  wheel: no wheel here; get wheel",
        "  container: no docker here; get docker",
    ]


def fake_programs(folder: Path, version: str, initdb: str = "exit 1") -> Path:
    """Shell scripts that claim a version."""
    folder.mkdir(parents=True)
    for name, body in (("postgres", f"echo 'postgres (PostgreSQL) {version}'"), ("initdb", initdb)):
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    return folder


def test_newest_of_the_usual_folders(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pg_config and PATH the newest version in the usual folders is found."""
    for version in ("9.6", "17.2", "16.4"):
        fake_programs(here / version.split(".")[0] / "bin", version)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(binaries, "FOLDERS", ((str(here), "*/bin"),))
    assert Binaries(here / "17" / "bin", "17.2") == binaries.on_machine(account())


def test_path_comes_before_the_usual_folders(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What PATH leads to is preferred, and followed to the real folder."""
    real = fake_programs(here / "real", "16.1")
    (here / "link").mkdir()
    (here / "link" / "postgres").symlink_to(real / "postgres")
    monkeypatch.setenv("PATH", str(here / "link"))
    assert Binaries(real, "16.1") == binaries.on_machine(account())


def test_too_old(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server older than 15 is passed over, and the error says so."""
    folder = fake_programs(here / "14" / "bin", "14.9")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(binaries, "FOLDERS", ((str(here), "*/bin"),))
    with (
        pytest.raises(ConfigError, match=f"{folder} holds PostgreSQL 14.9, which is too old; install"),
        postgres(choice="local"),
    ):
        pass


def test_wheel_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel the error says which extra brings it."""

    def find_nothing(_: str) -> None:
        return None

    monkeypatch.setattr(binaries, "find_spec", find_nothing)
    with pytest.raises(ConfigError, match=r"pip install 'workerqueue-postgres\[dev\]'"), postgres(choice="wheel"):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_programs_out_of_reach(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that the server's account can't reach are a reason with a cure, not a crash."""
    here.chmod(0o700)
    folder = fake_programs(here / "bin", "17.2")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(binaries, "FOLDERS", ())
    found = binaries.on_machine(nobody())
    assert isinstance(found, Missing)
    assert f"user nobody, as whom PostgreSQL runs here, can't reach {folder}; open its parent" in str(found)
