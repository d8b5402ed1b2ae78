"""The options that commands share, and what they name: the database, the configuration, the workers."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from workerqueue.config import CONFIG_FILES, Config
from workerqueue.database import database_is_named
from workerqueue.errors import ConfigError
from workerqueue.worker import Workers

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        help="The database. Default: WORKERQUEUE_DATABASE_URL, DATABASE_URL, or PGHOST and its kin.",
        show_default=False,
    ),
]
ConfigFolder = Annotated[
    str | None,
    typer.Option(
        "--config", help="The folder with queues.toml, tasks.toml, schedules.toml. Default: config, where it exists."
    ),
]
TasksModule = Annotated[
    str | None,
    typer.Option("--tasks", help="The module whose `workers` are used. Default: tasks, where it exists."),
]
Schema = Annotated[str, typer.Option("--schema", help="The schema that holds the tables.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

DEFAULT_SCHEMA: Final = "workerqueue"

DEV_HOME: Final = Path(".workerqueue") / "dev"
"""Where `workerqueue dev` keeps its database, below the current folder."""
DEV_URL: Final = Path(".workerqueue") / "dev.url"
"""Where it leaves the database's URL for the other commands while it runs."""


def find_url(option: str | None) -> str | None:
    """Give the database's URL: the option's, else what the environment says (`None`), else that of a running dev."""
    if option is not None or database_is_named():
        return option
    try:
        return DEV_URL.read_text(encoding="utf-8")
    except OSError:
        return None


def load_config(folder: str | None) -> Config:
    """Read the configuration that `--config` names, or that lies in the current folder.

    Raises:
        ConfigError: If it can't be right.
    """
    if folder is not None:
        return Config.load(folder)
    default = Path("config")
    has_tables = any((default / file).is_file() for file in CONFIG_FILES)
    return Config.load(default) if has_tables else Config()


def load_workers(module: str | None) -> Workers | None:
    """Import the module that `--tasks` names, or `tasks` in the current folder, and take its `workers`.

    Returns:
        The workers; `None` when no module is named and there is none here.

    Raises:
        ConfigError: If the module does not import or has no `workers`.
    """
    here = Path.cwd()
    if not module:
        if not (here / "tasks.py").is_file() and not (here / "tasks" / "__init__.py").is_file():
            return None
        module = "tasks"
    if str(here) not in sys.path:
        sys.path.insert(0, str(here))  # as `python -m` does, so that an application is found where it lies
    try:
        imported = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        hint = " (expected a module's name, not a file's)" if module.endswith(".py") else ""
        raise ConfigError(f"--tasks {module}: does not import: {type(error).__name__}: {error}{hint}") from error
    workers: object = getattr(imported, "workers", None)
    if not isinstance(workers, Workers):
        raise ConfigError(f"--tasks {module}: expected a Workers named `workers` in it, got {type(workers).__name__}")
    return workers


def need_workers(module: str | None) -> Workers:
    """Give the workers as `load_workers`, or say how to name them.

    Raises:
        ConfigError: If there are none.
    """
    workers = load_workers(module)
    if workers is None:
        here = Path.cwd()
        raise ConfigError(f"no workers: pass --tasks MODULE, or run where a `tasks` module lies (here: {here})")
    return workers
