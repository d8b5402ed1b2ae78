"""The hosts that a URL names: where there are several, one of them takes writes, and which one changes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, NamedTuple, cast
from urllib.parse import parse_qs, unquote, urlsplit

_PORT: Final = "5432"


class Host(NamedTuple):
    """One of several servers."""

    host: str
    port: int


def several_hosts(url: str | None, host: object = None, port: object = None) -> list[Host]:
    """Give the hosts where several are named, in their order; none where there is one, which is the driver's to find.

    Args:
        url: A URL, or `None` for the `PG*` variables.
        host: What the driver was given besides: it counts before the URL.
        port: The same.
    """
    try:
        return _several_hosts(url, host, port)
    except ValueError:
        return []  # the driver says what is wrong with it


def _several_hosts(url: str | None, host: object, port: object) -> list[Host]:
    names, ports = _names(host), _names(port)
    if url and not names:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        names = _names(parts.netloc.rpartition("@")[2] or query.get("host", [""])[-1])
        ports = ports or _names(query.get("port", [""])[-1])
    names = names or _names(os.environ.get("PGHOST"))
    ports = ports or _names(os.environ.get("PGPORT")) or [_PORT]
    if len(names) < 2:
        return []
    ports = ports if len(ports) == len(names) else ports[:1] * len(names)
    return [_host(name, default) for name, default in zip(names, ports, strict=True)]


def _names(value: object) -> list[str]:
    if isinstance(value, list | tuple):
        return [str(each) for each in cast("Sequence[object]", value)]
    return str(value).split(",") if value else []


def _host(text: str, port: str) -> Host:
    if text.startswith("/"):  # a socket's folder
        return Host(text, int(port))
    if text.startswith("["):
        name, _, own = text[1:].partition("]")
        return Host(name, int(own.removeprefix(":") or port))
    name, _, own = text.partition(":")
    return Host(unquote(name), int(own or port))
