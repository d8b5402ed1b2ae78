"""E-mails: one MIME mail with text and HTML, handed to the SMTP server."""

from __future__ import annotations

from email.message import EmailMessage
from email.utils import parseaddr

import aiosmtplib

from tasks.registry import workers
from tasks.schemas import CatalogArgs
from tasks.settings import Settings
from workerqueue import Job, JobDiscard

SMTP_SECONDS = 20.0


class ScheduleEmailArgs(CatalogArgs):
    """Send one mail."""

    to: str
    subject: str
    html: str
    text: str

    @classmethod
    def kind(cls) -> str:
        return "scheduleEmail"


@workers.worker
async def schedule_email(job: Job[ScheduleEmailArgs]) -> None:
    """Send the mail; what the server refuses for good is discarded, the rest is tried again."""
    settings = Settings.from_environment()
    try:
        message = _compose(job, settings.mail_from)
    except ValueError as error:
        raise JobDiscard(f"the mail can't be written: {error}") from error
    try:
        await aiosmtplib.send(
            message,
            hostname=settings.smtp.host,
            port=settings.smtp.port,
            username=settings.smtp.username,
            password=settings.smtp.password,
            use_tls=settings.smtp.use_tls,
            timeout=SMTP_SECONDS,
        )
    except aiosmtplib.SMTPException as error:
        if _is_permanent(error):
            raise JobDiscard(f"the mail server refused the mail: {error}") from error
        raise


def _compose(job: Job[ScheduleEmailArgs], sender: str) -> EmailMessage:
    """Write the mail. Its Message-ID is the job's, so that a mail sent twice shows as one.

    Raises:
        ValueError: If an address or the subject can't stand in a header.
    """
    args = job.args
    if "@" not in parseaddr(args.to)[1]:
        raise ValueError("expected `to` to hold an address such as ada@example.com")
    domain = parseaddr(sender)[1].rpartition("@")[2] or "localhost"
    message = EmailMessage()
    message["From"] = sender
    message["To"] = args.to
    message["Subject"] = args.subject
    # With the time, because the ids start again in a new schema of jobs.
    message["Message-ID"] = f"<workerqueue.{job.id}.{job.created_at:%Y%m%d%H%M%S%f}@{domain}>"
    message.set_content(args.text)
    message.add_alternative(args.html, subtype="html")
    return message


def _is_permanent(error: aiosmtplib.SMTPException) -> bool:
    """Tell whether the server's answer was a 5xx."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return all(refused.code >= 500 for refused in error.recipients)
    return isinstance(error, aiosmtplib.SMTPResponseException) and error.code >= 500
