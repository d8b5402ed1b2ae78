"""The demonstration, as a program of its own: `make run`."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# It starts a PostgreSQL of its own, unless the tests are told to use a given one and nothing else.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if os.environ.get("WORKERQUEUE_POSTGRES") == "url" or not name.endswith("DATABASE_URL")
} | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@contextmanager
def demonstration(folder: Path, *options: str) -> Generator[subprocess.Popen[str]]:
    """Start the program; it is gone at the end, whatever happened."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tasks.demo", *options],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Read the program's output up to the line that holds a text."""
    assert process.stdout
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    pytest.fail(f"no line with {text!r} in:\n{''.join(lines)}")


def is_listening(port: int) -> bool:
    """Tell whether something answers on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.timeout(120)
def test_drain(tmp_path: Path) -> None:
    """With --drain it works everything, finds every claim true, ends by itself with 0 and leaves no data behind."""
    with demonstration(tmp_path, "--drain") as process:
        output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "WRONG" not in output
    assert output.count("  ok    ") == 8
    assert "Task failed: scheduleEmail" in output
    for kind in ("deliverEvent", "events.invokeDispatcher", "startRun", "performRunExecution", "runFinished"):
        assert re.search(rf"{re.escape(kind)} +11[13] +0 ", output), output
    assert list(tmp_path.glob(".workerqueue/*")) == []


@pytest.mark.timeout(120)
def test_stays_until_interrupted(tmp_path: Path) -> None:
    """Without --drain it works on until Ctrl-C, ends with 0, and its PostgreSQL ends with it."""
    with demonstration(tmp_path) as process:
        output = read_until(process, "workerqueue insert")
        assert "WRONG" not in output
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate()
    assert process.returncode == 0, output + rest
    started = re.search(r"@127\.0\.0\.1:(\d+)/", output)
    assert started is None or not is_listening(int(started[1]))


@pytest.mark.timeout(120)
def test_interrupted_in_the_middle(tmp_path: Path) -> None:
    """Ctrl-C before the end stops softly, says so, and does not count as success."""
    with demonstration(tmp_path, "--drain") as process:
        read_until(process, "sign up")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate()
    assert process.returncode == 1, output
    assert output.endswith("Interrupted before the end.\n")
    assert list(tmp_path.glob(".workerqueue/*")) == []
