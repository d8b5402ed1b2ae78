"""`workerqueue dev`: everything for development in one command: a database, its schema, workers, reloading."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import anyio
import typer

from workerqueue.cli.logs import show_logs
from workerqueue.cli.problems import Failure
from workerqueue.cli.reload import Reloader
from workerqueue.cli.settings import DEFAULT_SCHEMA, ConfigFolder, Schema, TasksModule, load_config, need_workers
from workerqueue.database import migrate
from workerqueue.embedded import postgres

HOME: Final = Path(".workerqueue") / "dev"

_log = logging.getLogger("workerqueue.dev")


def dev(
    database_url: Annotated[
        str | None, typer.Option("--database-url", help="The database. Default: found, or started here.")
    ] = None,
    config: ConfigFolder = None,
    tasks: TasksModule = None,
    schema: Schema = DEFAULT_SCHEMA,
    reload: Annotated[bool, typer.Option("--reload/--no-reload", help="Start again when a file changes.")] = True,
) -> None:
    """Find or start a PostgreSQL, migrate it, and work jobs, again after every change of a file."""
    show_logs()
    need_workers(tasks)  # a mistake shows before a database is started
    load_config(config)
    with _database(database_url) as url:
        anyio.run(migrate, url, schema)
        command = [sys.executable, "-m", "workerqueue", "run", "--schema", schema]
        command += ["--config", config] if config else []
        command += ["--tasks", tasks] if tasks else []
        # The URL holds a password: it goes by the environment, where `ps` does not show it.
        reloader = Reloader(command, {**os.environ, "WORKERQUEUE_DATABASE_URL": url}, Path.cwd() if reload else None)
        if anyio.run(reloader.run) != 0:
            raise Failure("the worker process failed")


@contextmanager
def _database(url: str | None) -> Generator[str]:
    """Give the URL of a database: the one named, else what the chain finds or starts; its data is kept."""
    if url is not None:
        yield url
        return
    with postgres(directory=HOME) as server:
        _log.info("PostgreSQL %s (%s)", server.version or "given", server.link)
        yield server.url
