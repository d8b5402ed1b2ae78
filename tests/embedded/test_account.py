"""Who the server runs as."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.embedded.processes import PATHS, python, server_pid, thrown_away
from workerqueue.embedded import account as accounts
from workerqueue.embedded import postgres
from workerqueue.embedded.account import account, namespace, nobody
from workerqueue.errors import ConfigError

FAST = {"fsync": "off"}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


def refused() -> None:
    """Stands for a system that refuses user namespaces."""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="workerqueue-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def user_namespace(pid: int) -> str:
    """The user namespace of a process."""
    return str(Path(f"/proc/{pid}/ns/user").readlink())


def process_status(pid: int) -> str:
    """What the kernel says about a process."""
    return Path(f"/proc/{pid}/status").read_text()


async def answers(url: str) -> bool:
    """Ask a server for something."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval("select true") is True
    finally:
        await connection.close()


@as_root
async def test_root_in_a_namespace(startable: str, here: Path) -> None:
    """Root's server runs in a user namespace, on files that stay root's."""
    if namespace() is None:
        pytest.skip("this system refuses user namespaces")
    assert account().name == "namespace"
    with postgres(choice=startable, settings=FAST) as server:
        assert await answers(server.url)
        (folder,) = thrown_away(here)
        assert (folder / "data").stat().st_uid == 0
        server_namespace = user_namespace(server_pid(folder))
        assert server_namespace != user_namespace(os.getpid())


@as_root
async def test_root_as_nobody(startable: str, open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where namespaces are refused, root's server runs as nobody without root's groups."""
    monkeypatch.setattr(accounts, "namespace", refused)
    monkeypatch.chdir(open_folder)
    assert account().name == "nobody"
    with postgres(choice=startable, settings=FAST) as server:
        assert await answers(server.url)
        (folder,) = thrown_away(open_folder)
        status = process_status(server_pid(folder))
        wanted = pwd.getpwnam("nobody")
        assert (folder / "data").stat().st_uid == wanted.pw_uid
        assert f"Uid:\t{wanted.pw_uid}\t{wanted.pw_uid}\t{wanted.pw_uid}" in status
        assert next(line.split() for line in status.splitlines() if line.startswith("Groups")) == ["Groups:"]
    assert thrown_away(open_folder) == []


@as_root
async def test_nobody_keeps_a_directory(startable: str, open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kept cluster works as nobody too."""
    monkeypatch.setattr(accounts, "namespace", refused)
    for _ in range(2):
        with postgres(choice=startable, directory=open_folder / "kept", settings=FAST) as server:
            assert await answers(server.url)


@as_root
async def test_nobody_can_not_reach_the_folder(startable: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can't reach the current folder, the throw-away cluster is in the system's temporary one."""
    closed = here / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.chdir(closed)
    monkeypatch.setattr(accounts, "namespace", refused)
    with postgres(choice=startable, settings=FAST) as server:
        assert await answers(server.url)
        assert thrown_away(closed) == []
    with (
        pytest.raises(ConfigError, match=r"user nobody, .* can't reach .*kept; give a directory whose parents"),
        postgres(choice=startable, directory=closed / "kept"),
    ):
        pass
    assert closed.stat().st_mode & 0o777 == 0o700


def test_no_way_out_of_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root without namespaces and without a user nobody is told what to do."""

    def unknown(_: str) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwnam", unknown)
    with pytest.raises(ConfigError, match="start this as an ordinary user"):
        nobody()


def test_refused_namespace_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that refuses the namespace is noticed before anything is started in it."""
    monkeypatch.setattr(accounts, "CLONE_NEWUSER", -1)
    assert namespace() is None


ORDINARY = """
import asyncio, os, asyncpg
from workerqueue.embedded import postgres
from workerqueue.embedded.account import account
async def ask(url):
    connection = await asyncpg.connect(url)
    print(os.geteuid(), account().name, await connection.fetchval("select true"))
    await connection.close()
with postgres(choice={link!r}) as server:
    asyncio.run(ask(server.url))
"""


def test_ordinary_user(startable: str, open_folder: Path) -> None:
    """An ordinary user's server runs as that user."""
    user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    if user is not None:
        os.chown(open_folder, user, -1)
    with python(ORDINARY.format(link=startable), open_folder, user=user, program=ordinary_python(user)) as process:
        said, _ = process.communicate(timeout=30)
    assert f"{os.geteuid() if user is None else user} caller True" == said.strip()
    assert list((open_folder / ".workerqueue").iterdir()) == []


def ordinary_python(user: int | None) -> str:
    """A Python of this version that the user can run, with our packages; root's own may be in root's home."""
    check = f"import sys, asyncpg, workerqueue; sys.exit(sys.version_info[:2] != {sys.version_info[:2]!r})"
    major_minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for program in (sys.executable, shutil.which(major_minor, path="/usr/bin:/usr/local/bin")):
        try:
            if (
                program
                and subprocess.run(
                    [program, "-c", check],
                    user=user,
                    cwd="/",
                    env={"PYTHONPATH": os.pathsep.join(map(str, PATHS))},
                    capture_output=True,
                    check=False,
                ).returncode
                == 0
            ):
                return program
        except PermissionError:
            continue
    pytest.skip(f"user {user} can run no {major_minor} with asyncpg")
