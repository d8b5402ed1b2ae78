"""Clusters that are kept and clusters that are thrown away."""

from __future__ import annotations

import os
import secrets
import signal
import stat
from pathlib import Path

import asyncpg
import pytest

from tests.embedded.processes import children, first_line, is_running, python, server_pid, thrown_away
from workerqueue.embedded import cluster, home, postgres, postmaster
from workerqueue.errors import ConfigError

FAST = {"fsync": "off"}


async def run(url: str, statement: str) -> object:
    """Run one statement; the first value it gives."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_thrown_away_cluster(startable: str, here: Path) -> None:
    """A throw-away cluster leaves neither processes nor a folder behind."""
    before = children()
    with postgres(choice=startable, settings=FAST) as server:
        assert await run(server.url, "select 1") == 1
        started = children() - before
        assert len(started) == 2  # the server and its watchdog
    assert before == children()
    assert not any(map(is_running, started))
    assert list((here / ".workerqueue").iterdir()) == []


async def test_two_at_once(startable: str) -> None:
    """Two servers of one process do not meet."""
    with postgres(choice=startable, settings=FAST) as one, postgres(choice=startable, settings=FAST) as other:
        await run(one.url, "create table only_here ()")
        assert await run(other.url, "select to_regclass('only_here')::text") is None


async def test_kept_directory(startable: str, here: Path) -> None:
    """A kept cluster has its data and its password again at the next start."""
    directory = here / "deep" / "kept"
    with postgres(choice=startable, directory=directory) as first:
        await run(first.url, "create table kept as select 42 as answer")
    with postgres(choice=startable, directory=directory) as second:
        assert await run(second.url, "select answer from kept") == 42
        assert first.url.rpartition("@")[0] == second.url.rpartition("@")[0]
    assert stat.S_IMODE((directory / "password").stat().st_mode) == 0o600
    assert not (directory / "data" / "postmaster.pid").exists()


async def test_defaults_and_settings(startable: str) -> None:
    """The server is reached by password on 127.0.0.1 alone, syncs by default, and takes settings but not our own."""
    with postgres(choice=startable) as server:
        assert await run(server.url, "show fsync") == "on"
        assert await run(server.url, "show listen_addresses") == "127.0.0.1"
        assert await run(server.url, "show unix_socket_directories") == ""
        assert await run(server.url, "show server_encoding") == "UTF8"
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(server.url, password="guess")
    with postgres(choice=startable, settings={**FAST, "work_mem": "7MB", "listen_addresses": "*"}) as server:
        assert await run(server.url, "show work_mem") == "7MB"
        assert await run(server.url, "show listen_addresses") == "127.0.0.1"


def test_environment_of_another_server(startable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """PG variables of the caller do not reach the server."""
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGPORT", "1")
    with postgres(choice=startable, settings=FAST) as server:
        assert ":1/" not in server.url


def test_second_process_is_refused(startable: str, here: Path) -> None:
    """A directory in use is refused to another process, with the pid of the one that uses it."""
    script = f"""
from pathlib import Path
from workerqueue.embedded import postgres
from workerqueue.errors import ConfigError
try:
    with postgres(choice={startable!r}, directory=Path("kept")): print("started")
except ConfigError as error: print(error)
"""
    with postgres(choice=startable, directory=here / "kept", settings=FAST), python(script, here) as second:
        said = first_line(second)
    assert f"{here / 'kept'} is in use by process {os.getpid()}; stop that process" in said


def test_other_major_version(startable: str, here: Path) -> None:
    """A cluster of another major version is refused with both versions and the cure."""
    with postgres(choice=startable, directory=here / "kept", settings=FAST) as server:
        pass
    (here / "kept" / "data" / "PG_VERSION").write_text("13\n")
    wanted = rf"made by PostgreSQL 13, and .* holds {server.version}; choose .*WORKERQUEUE_POSTGRES.*or remove"
    with pytest.raises(ConfigError, match=wanted), postgres(choice=startable, directory=here / "kept"):
        pass


def test_lost_password(startable: str, here: Path) -> None:
    """A kept cluster without its password file is refused with the cure."""
    with postgres(choice=startable, directory=here / "kept", settings=FAST):
        pass
    (here / "kept" / "password").unlink()
    wanted = "password can't be read .*; restore it, or remove"
    with pytest.raises(ConfigError, match=wanted), postgres(choice=startable, directory=here / "kept"):
        pass


def test_directory_that_can_not_be(startable: str, here: Path) -> None:
    """A directory that can't be made is refused with the reason."""
    (here / "file").touch()
    with (
        pytest.raises(ConfigError, match=r"can't hold a PostgreSQL \(.+\); give a directory you own"),
        postgres(choice=startable, directory=here / "file" / "kept"),
    ):
        pass


def test_interrupted_initdb(startable: str, here: Path) -> None:
    """What an interrupted first start left is made anew."""
    (here / "kept" / "data.new").mkdir(parents=True)
    (here / "kept" / "data.new" / "PG_VERSION").write_text("half")
    (here / "kept" / "password").write_text("old")
    with postgres(choice=startable, directory=here / "kept", settings=FAST):
        assert not (here / "kept" / "data.new").exists()


async def test_port_taken_meanwhile(startable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that somebody takes between the search and the start is replaced by another."""
    with postgres(choice=startable, settings=FAST) as first:
        taken = int(first.url.rpartition(":")[2].split("/")[0])
        free = postmaster.free_port()
        ports = iter([taken, taken, free])
        monkeypatch.setattr(postmaster, "free_port", lambda: next(ports))
        with postgres(choice=startable, settings=FAST) as second:
            assert f":{free}/" in second.url
            assert await run(second.url, "select 1") == 1


def test_failed_start_says_why(startable: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not start is an error with the end of its log and without its password."""
    before = children()
    monkeypatch.setattr(secrets, "token_hex", secret)
    with (
        pytest.raises(ConfigError, match=r"ended before it was ready(?s:.*)shared_buffers") as raised,
        postgres(choice=startable, settings={"shared_buffers": "plenty"}),
    ):
        pass
    assert secret() not in str(raised.value)
    assert before == children()
    assert thrown_away(here) == []


def test_start_has_a_deadline(startable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes too long is stopped and reported."""
    before = children()
    monkeypatch.setattr(postmaster, "READY_SECONDS", 0.0)
    with pytest.raises(ConfigError, match="was not ready after 0 s"), postgres(choice=startable, settings=FAST):
        pass
    assert before == children()


def test_failed_initdb_says_why(startable: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An initdb that fails is an error with what it printed and without the password."""
    monkeypatch.setattr(cluster, "LOCALE", "xx_NOWHERE")
    monkeypatch.setattr(secrets, "token_hex", secret)
    with (
        pytest.raises(ConfigError, match=r"could not make a cluster in(?s:.*)xx_NOWHERE") as raised,
        postgres(choice=startable),
    ):
        pass
    assert secret() not in str(raised.value)
    assert thrown_away(here) == []


def test_password_stays_out_of_the_repr(startable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The repr and the str of a server do not show its URL."""
    monkeypatch.setattr(secrets, "token_hex", secret)
    with postgres(choice=startable, settings=FAST) as server:
        assert secret() in server.url
        assert secret() not in f"{server!r} {server}"


def secret(_length: int = 16) -> str:
    """A password that is easy to look for."""
    return "feedface" * 4


def test_stop_that_hangs_gets_stronger(startable: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not stop when asked is killed in the end."""
    quick = tuple((each, 0.1 if each is not signal.SIGKILL else 5.0) for each, _ in postmaster.STOPPING)
    monkeypatch.setattr(postmaster, "STOPPING", quick)
    with postgres(choice=startable, settings=FAST):
        (folder,) = thrown_away(here)
        pid = server_pid(folder)
        os.kill(pid, signal.SIGSTOP)
    assert not is_running(pid)


def test_sweep_leaves_what_is_in_use(startable: str, here: Path) -> None:
    """A start removes the throw-away clusters of killed processes, and no other folder."""
    forgotten = here / ".workerqueue" / f"{home.PREFIX}forgotten"
    kept = here / ".workerqueue" / "kept"
    for folder in (forgotten, kept):
        folder.mkdir(parents=True)
    with postgres(choice=startable, settings=FAST):
        (used,) = thrown_away(here)
        with postgres(choice=startable, settings=FAST):
            assert used.exists()
    assert not forgotten.exists()
    assert kept.exists()
