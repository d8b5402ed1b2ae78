"""The peers' environments: `python -m benchmarks.peers.environment` makes what is missing of `.venv-peers`.

Each peer has one of its own, so that one that can't be installed keeps no other from running, and none has to agree
with another, or with us, on a dependency.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.peers.systems import OURS, PEERS, System
from benchmarks.process import ROOT

FOLDER: Final = ROOT / ".venv-peers"
REQUIREMENTS: Final = Path(__file__).with_name("requirements")


class NotInstalledError(Exception):
    """A peer's environment could not be made."""


def python_of(system: System) -> Path:
    """Give the interpreter that runs a system's adapter."""
    return Path(sys.executable) if system is OURS else FOLDER / system.name / "bin" / "python"


def is_ready(system: System) -> bool:
    """Tell whether an environment holds what is pinned now."""
    try:
        return system is OURS or _stamp(system).read_bytes() == _pins(system).read_bytes()
    except OSError:
        return False


def prepare(system: System) -> None:
    """Make the environment of a system, unless it is there.

    Raises:
        NotInstalledError: With what pip, or whatever else was missing, said last.
    """
    if is_ready(system):
        return
    _run([sys.executable, "-m", "venv", "--clear", str(FOLDER / system.name)])
    # No builds: a machine that a peer has no wheel for would need its compilers.
    how = ["--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "--require-hashes"]
    _run([str(python_of(system)), "-m", "pip", "install", *how, "-r", str(_pins(system))])
    # Last, so that an interrupted installation starts again.
    _stamp(system).write_bytes(_pins(system).read_bytes())


def version_of(system: System) -> str:
    """Give the version that is pinned."""
    head = f"{system.package}=="
    for line in _pins(system).read_text(encoding="utf-8").splitlines():
        if line.startswith(head):
            return line.removeprefix(head).split()[0]
    raise LookupError(f"{_pins(system)} does not pin {system.package}")


def main() -> int:
    """Prepare all, and give the exit code: 1 if one is missing."""
    missing = 0
    for system in PEERS:
        try:
            prepare(system)
        except NotInstalledError as error:
            missing = 1
            print(f"{system.name}: {error}", file=sys.stderr)
    return missing


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own commands
    except OSError as error:
        raise NotInstalledError(str(error)) from error
    if done.returncode != 0:
        raise NotInstalledError(last_line(done.stderr) or f"`{command[2]}` ended with {done.returncode}")


def last_line(text: str) -> str:
    """Give the last line with anything in it: of a failure, the one that says what failed."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _pins(system: System) -> Path:
    return REQUIREMENTS / f"{system.name}.txt"


def _stamp(system: System) -> Path:
    return FOLDER / system.name / "installed.txt"


if __name__ == "__main__":
    sys.exit(main())
