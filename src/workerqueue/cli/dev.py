"""`workerqueue dev`: everything for development in one command: a database, its schema, workers, reloading."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import anyio
import typer

from workerqueue.cli.logs import show_logs
from workerqueue.cli.problems import Failure
from workerqueue.cli.reload import Reloader
from workerqueue.cli.run import LEASH
from workerqueue.cli.settings import (
    DEFAULT_SCHEMA,
    DEV_HOME,
    DEV_URL,
    ConfigFolder,
    Schema,
    TasksModule,
    load_config,
    need_workers,
)
from workerqueue.database import migrate
from workerqueue.embedded import Server, postgres

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
        environment = {**os.environ, "WORKERQUEUE_DATABASE_URL": url, LEASH: "1"}
        if anyio.run(Reloader(command, environment, Path.cwd() if reload else None).run) != 0:
            raise Failure("the worker process failed")


@contextmanager
def _database(url: str | None) -> Generator[str]:
    """Give the URL of a database: the one named, else what the chain finds or starts; its data is kept."""
    if url is not None:
        yield url
        return
    with postgres(directory=DEV_HOME) as server:
        if not server.owned:
            _log.info("Using the PostgreSQL that the environment names")
            yield server.url
            return
        _log.info("Started PostgreSQL %s (%s)", server.version, server.link)
        with _url_for_other_commands(server):
            _log.info("In another terminal, here: workerqueue insert KIND JSON")
            yield server.url


@contextmanager
def _url_for_other_commands(server: Server) -> Generator[None]:
    """Leave the server's URL where the other commands look for it, readable by this user alone."""
    DEV_URL.parent.mkdir(parents=True, exist_ok=True)
    DEV_URL.unlink(missing_ok=True)
    with os.fdopen(os.open(DEV_URL, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(server.url)
    try:
        yield
    finally:
        DEV_URL.unlink(missing_ok=True)
