"""The receiving side of our mails: a mail server that keeps what it gets."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage

from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass
class Mailbox:
    """Takes every mail, except where it was told to refuse an address (an aiosmtpd handler)."""

    mails: list[EmailMessage] = field(default_factory=list[EmailMessage])
    refused: list[str] = field(default_factory=list[str])
    """The addresses that were refused, once for each time."""
    _refusals: defaultdict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))

    def refuse(self, address: str, replies: Iterable[str]) -> None:
        """Answer the next mails to an address with these replies, such as `451 try again later`."""
        self._refusals[address].extend(replies)

    def mails_to(self, address: str) -> list[EmailMessage]:
        """List the mails that an address received."""
        return [mail for mail in self.mails if mail["To"] == address]

    # The names and parameters are aiosmtpd's.

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, rcpt_options: list[str]
    ) -> str:
        """Take or refuse a recipient."""
        del server, session, rcpt_options
        if self._refusals[address]:
            self.refused.append(address)
            return self._refusals[address].popleft()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep a mail, parsed."""
        del server, session
        content = envelope.original_content or b""
        self.mails.append(message_from_bytes(content, policy=policy.default))
        return "250 kept"
