"""What the links of the chain hand on: a server, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Link = Literal["url", "local", "wheel", "container"]


@dataclass(frozen=True)
class Server:
    """A PostgreSQL that answers.

    Attributes:
        url: Where to connect, as `postgresql://user:password@host:port/database`; never shown in the repr.
        link: Which link of the chain gave it.
        version: Such as `15.18`; empty for a given URL, because nothing connects to it here.
        owned: Whether this process started it and ends it.
    """

    url: str = field(repr=False)
    link: Link
    version: str
    owned: bool


@dataclass(frozen=True)
class Request:
    """What the caller asked for, the same for every link.

    Attributes:
        directory: Where the cluster is kept; `None` for one that is thrown away.
        settings: Server settings for this run, by name.
    """

    directory: Path | None
    settings: Mapping[str, str]


@dataclass(frozen=True)
class Missing:
    """Why a link can't be used here, and what to do about it."""

    reason: str
    cure: str

    def __str__(self) -> str:
        return f"{self.reason}; {self.cure}"
