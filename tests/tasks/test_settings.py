"""Reading the environment."""

from __future__ import annotations

import pytest

from tasks.settings import Settings, SmtpServer


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://localhost", SmtpServer("localhost", 25, None, None, use_tls=False)),
        ("smtp://mail.example.com:2525", SmtpServer("mail.example.com", 2525, None, None, use_tls=False)),
        ("smtps://ada:p%40ss@mail.example.com", SmtpServer("mail.example.com", 465, "ada", "p@ss", use_tls=True)),
    ],
)
def test_smtp_url(url: str, server: SmtpServer) -> None:
    """A mail server's URL gives host, port, credentials and whether TLS is used from the start."""
    assert server == SmtpServer.parse(url)


@pytest.mark.parametrize("url", ["", "localhost:25", "http://localhost", "smtp://"])
def test_wrong_smtp_url(url: str) -> None:
    """What is no mail server's URL is refused, and the message names the variable."""
    with pytest.raises(ValueError, match="CATALOG_SMTP_URL"):
        SmtpServer.parse(url)


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings come from the environment as it is when they are asked for."""
    monkeypatch.setenv("CATALOG_SMTP_URL", "smtp://mail.example.com")
    monkeypatch.setenv("CATALOG_MAIL_FROM", "ada@example.com")
    monkeypatch.setenv("CATALOG_ENDPOINT_TIMEOUT", "1.5")
    settings = Settings.from_environment()
    assert (
        settings.smtp.host,
        settings.mail_from,
        settings.endpoint_timeout,
    ) == ("mail.example.com", "ada@example.com", 1.5)
