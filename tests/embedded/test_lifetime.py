"""A server ends with the process that started it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import asyncpg
import pytest

from tests.embedded.processes import children, command_line, first_line, is_running, python, server_pid, thrown_away
from tests.embedded.waiting import until
from workerqueue.embedded import home, postgres
from workerqueue.errors import ConfigError

STARTS = """
import sys
from pathlib import Path
from workerqueue.embedded import postgres
directory = Path({directory!r}) if {directory!r} else None
with postgres(choice={link!r}, directory=directory) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""
STARTS_IN_A_THREAD = """
import sys, threading
from workerqueue.embedded import postgres
context = postgres(choice={link!r})
started = threading.Thread(target=lambda: print(context.__enter__().url, flush=True))
started.start()
started.join()
sys.stdin.read()
"""
STARTS_AND_FORKS = """
import os, sys, time
from workerqueue.embedded import postgres
with postgres(choice={link!r}) as server:
    fork = os.fork()
    if fork == 0:
        time.sleep(60)
        os._exit(0)
    print(fork, flush=True)
    sys.stdin.read()
"""
FORK_LEAVES_THE_CONTEXT = """
import os, sys
from workerqueue.embedded import postgres
try:
    with postgres(choice={link!r}) as server:
        fork = os.fork()
        if fork == 0:
            sys.exit(0)
        os.waitpid(fork, 0)
        print(server.url, flush=True)
        sys.stdin.read()
except SystemExit:
    os._exit(0)
"""


@pytest.mark.parametrize("script", [STARTS, STARTS_IN_A_THREAD])
def test_killed_process_takes_its_server_along(script: str, startable: str, here: Path) -> None:
    """After kill -9 of its parent the server ends by itself, and the next start removes its folder."""
    with python(script.format(link=startable, directory=""), here) as parent:
        assert first_line(parent).startswith("postgresql://")
        (folder,) = thrown_away(here)
        pid = server_pid(folder)
        assert is_running(pid)
        parent.kill()
        until(lambda: not is_running(pid), "the server of a killed process is gone")
    with postgres(choice=startable, settings={"fsync": "off"}):
        assert not folder.exists()


async def test_kept_directory_after_a_kill(startable: str, here: Path) -> None:
    """A directory whose process was killed can be used at once, with what was committed."""
    directory = here / "kept"
    with python(STARTS.format(link=startable, directory=str(directory)), here) as parent:
        connection = await asyncpg.connect(first_line(parent))
        await connection.execute("create table kept as select 42 as answer")
        parent.kill()
        parent.wait()
        with postgres(choice=startable, directory=directory) as server:
            again = await asyncpg.connect(server.url)
            assert await again.fetchval("select answer from kept") == 42
            await again.close()
        connection.terminate()


def test_directory_of_a_server_that_still_stops(startable: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory stays refused while the server of a killed process is stopping, and is free afterwards."""
    directory = here / "kept"
    with python(STARTS.format(link=startable, directory=str(directory)), here) as parent:
        first_line(parent)
        pid = server_pid(directory)
        os.kill(pid, signal.SIGSTOP)
        parent.kill()
        parent.wait()
        with monkeypatch.context() as patch:
            patch.setattr(home, "RELEASE_SECONDS", 0.1)
            wanted = f"outlived its owner, process {parent.pid}; stop it first"
            with pytest.raises(ConfigError, match=wanted), postgres(choice=startable, directory=directory):
                pass
        os.kill(pid, signal.SIGCONT)
        with postgres(choice=startable, directory=directory):
            assert not is_running(pid)


def test_fork_does_not_keep_the_server(startable: str, here: Path) -> None:
    """A fork that outlives the process that started the server does not keep it running."""
    with python(STARTS_AND_FORKS.format(link=startable), here) as parent:
        fork = int(first_line(parent))
        try:
            pid = server_pid(thrown_away(here)[0])
            parent.kill()
            until(lambda: not is_running(pid), "the server is gone though a fork of its parent lives")
            assert is_running(fork)
        finally:
            os.kill(fork, signal.SIGKILL)


async def test_fork_may_leave_the_context(startable: str, here: Path) -> None:
    """A fork that leaves the context neither stops its parent's server nor removes its folder."""
    with python(FORK_LEAVES_THE_CONTEXT.format(link=startable), here) as parent:
        connection = await asyncpg.connect(first_line(parent))
        assert await connection.fetchval("select 1") == 1
        assert len(thrown_away(here)) == 1
        await connection.close()


async def test_killed_server(startable: str, here: Path) -> None:
    """A server that was killed leaves nothing that the next start takes for a ready one."""
    others = children()
    with postgres(choice=startable, directory=here / "kept"):
        killed = server_pid(here / "kept")
        os.kill(killed, signal.SIGKILL)
        until(lambda: not is_running(killed), "the server is gone")
    assert children() == others
    with postgres(choice=startable, directory=here / "kept") as server:
        assert killed != server_pid(here / "kept")
        connection = await asyncpg.connect(server.url)
        await connection.close()


async def test_killed_watchdog(startable: str) -> None:
    """Killing the watchdog disturbs no session, and the server still stops with the context."""
    others = children()
    with postgres(choice=startable, settings={"fsync": "off"}) as server:
        connection = await asyncpg.connect(server.url)
        (watchdog,) = (pid for pid in children() - others if "postgres-watchdog" in command_line(pid))
        os.kill(watchdog, signal.SIGKILL)
        until(lambda: not is_running(watchdog), "the watchdog is gone")
        assert await connection.fetchval("select 1") == 1
        await connection.close()
        leaving = time.monotonic()
    assert time.monotonic() - leaving < 30
    assert children() == others


def test_interrupt_reaches_the_owner_only(startable: str, here: Path) -> None:
    """Ctrl-C ends the owner, which then stops the server and removes its folder."""
    with python(STARTS.format(link=startable, directory=""), here) as parent:
        first_line(parent)
        (folder,) = thrown_away(here)
        assert os.getsid(server_pid(folder)) != os.getsid(parent.pid)
        parent.send_signal(signal.SIGINT)
        parent.wait(20)
    assert not folder.exists()
