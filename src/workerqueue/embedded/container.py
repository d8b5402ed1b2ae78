"""The container link: a PostgreSQL from testcontainers when Docker answers."""

from __future__ import annotations

import gc
import re
import secrets
import warnings
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from workerqueue.embedded.server import Missing, Request, Server
from workerqueue.errors import ConfigError

if TYPE_CHECKING:
    from testcontainers.community.postgres import PostgresContainer

IMAGE = "postgres:18-alpine"


def find(request: Request) -> Callable[[], AbstractContextManager[Server]] | Missing:
    """Ask whether Docker answers; what starts the container if it does. A container keeps no data."""
    container = _container(request)
    return container if isinstance(container, Missing) else lambda: _started(container)


def _container(request: Request) -> PostgresContainer | Missing:
    try:
        from docker.errors import DockerException  # type: ignore[import-untyped]  # docker ships no types
        from testcontainers.community.postgres import PostgresContainer
    except ImportError:
        return Missing("testcontainers is not installed", "pip install testcontainers, and start Docker")
    try:
        container = PostgresContainer(
            IMAGE, username="postgres", password=secrets.token_hex(16), dbname="postgres", driver=None
        )
    except DockerException as error:
        missing = Missing(f"Docker does not answer ({error})", "start Docker")
    else:
        options = [part for setting in request.settings.items() for part in ("-c", "=".join(setting))]
        return container.with_command(options) if options else container
    _collect_sockets()
    return missing


def _collect_sockets() -> None:
    # docker leaves the socket on which nobody answered open, in a reference cycle; where warnings are errors
    # it would fail whatever runs when the collector comes.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@contextmanager
def _started(container: PostgresContainer) -> Generator[Server, None, None]:
    try:
        _start(container)
        printed = container.exec(["postgres", "--version"]).output.decode()
        version = re.search(r"\(PostgreSQL\) (\S+)", printed)
        url = container.get_connection_url()
        yield Server(url=url, link="container", version=version[1] if version else "", owned=True)
    finally:
        container.stop()


def _start(container: PostgresContainer) -> None:
    from docker.errors import DockerException

    try:
        container.start()
    except (DockerException, RuntimeError, OSError) as error:  # testcontainers' own are RuntimeError and OSError
        # Not chained: what testcontainers says may hold the password.
        said = f"{type(error).__name__}: {error}".replace(container.password, "***")
        raise ConfigError(f"Docker answers but could not run {IMAGE} ({said}); try docker pull {IMAGE}") from None
