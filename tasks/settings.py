"""What the catalog's workers read from the environment.

CATALOG_SMTP_URL           smtp://[user:password@]host[:port], or smtps:// for TLS from the start
CATALOG_MAIL_FROM          the sender of every mail
CATALOG_ENDPOINT_TIMEOUT   seconds that a user's endpoint may take to answer
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """The mail server that takes our mails."""

    host: str
    port: int
    username: str | None
    password: str | None
    use_tls: bool

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a mail server's URL.

        Raises:
            ValueError: If it is not an smtp:// or smtps:// URL with a host.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise ValueError("CATALOG_SMTP_URL: expected a URL such as smtp://localhost:25")
        use_tls = parts.scheme == "smtps"
        return cls(
            host=parts.hostname,
            port=parts.port or (465 if use_tls else 25),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            use_tls=use_tls,
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment of the catalog's workers, read when it is needed."""

    smtp: SmtpServer
    mail_from: str
    endpoint_timeout: float

    @classmethod
    def from_environment(cls) -> Self:
        """Read the environment as it is now."""
        return cls(
            smtp=SmtpServer.parse(os.environ.get("CATALOG_SMTP_URL", "smtp://localhost:25")),
            mail_from=os.environ.get("CATALOG_MAIL_FROM", "workerqueue <workerqueue@localhost>"),
            # Well below the 1,800 seconds that performRunExecution may take, so that an endpoint
            # that never answers is tried again instead of ending the run.
            endpoint_timeout=float(os.environ.get("CATALOG_ENDPOINT_TIMEOUT", "600")),
        )
