"""Sending mails: what arrives, and what becomes of those that do not."""

from __future__ import annotations

from email.message import EmailMessage

import pytest

from tasks.emails import ScheduleEmailArgs
from tests.tasks.conftest import MakeWorld
from tests.tasks.world import World
from workerqueue import Fixed, InsertOpts

WELCOME = ScheduleEmailArgs(
    to="ada@example.com",
    subject="Welcome, Ada – schön, dass du da bist",
    html="<p>Hello <b>Ada</b> 👋</p>",
    text="Hello Ada 👋",
)


async def send(world: World, mail: ScheduleEmailArgs = WELCOME) -> None:
    """Send a mail, with retries that do not wait long."""
    await world.client.insert(mail, InsertOpts(retry=Fixed(0.01)))
    await world.work("scheduleEmail")


def part(mail: EmailMessage, subtype: str) -> str:
    """Give the text of one form of a mail."""
    body = mail.get_body((subtype,))
    assert body is not None
    return str(body.get_content()).strip()


@pytest.mark.req("C4", "C30")
async def test_arrives(make_world: MakeWorld) -> None:
    """A mail arrives once, with sender, recipient, subject and both forms of its body."""
    async with make_world() as world:
        await send(world)
        (mail,) = world.mailbox.mails
        assert mail.get_content_type() == "multipart/alternative"
        assert (mail["From"], mail["To"]) == ("Catalog <catalog@example.com>", "ada@example.com")
        assert mail["Subject"] == WELCOME.subject
        assert (part(mail, "plain"), part(mail, "html")) == (WELCOME.text, WELCOME.html)


async def test_message_id(make_world: MakeWorld) -> None:
    """The Message-ID is the job's, the same in every attempt, so that a repeated mail can be told."""
    async with make_world() as world:
        await world.insert(WELCOME)
        await world.work_and_crash("scheduleEmail")
        job = await world.one_job("scheduleEmail")
        assert job.attempt == 2
        first, second = (mail["Message-ID"] for mail in world.mailbox.mails)
        assert first == second
        assert first.startswith(f"<workerqueue.{job.id}.")
        assert first.endswith("@example.com>")


async def test_put_off(make_world: MakeWorld) -> None:
    """A mail that the server puts off (4xx) is tried again, and arrives once."""
    async with make_world() as world:
        world.mailbox.refuse(WELCOME.to, ["451 try again later", "450 busy"])
        await send(world)
        job = await world.one_job("scheduleEmail")
        assert (job.state, job.attempt) == ("completed", 3)
        assert len(world.mailbox.mails) == 1


async def test_put_off_for_good(make_world: MakeWorld) -> None:
    """A mail that the server puts off at every attempt is discarded after the third."""
    async with make_world() as world:
        world.mailbox.refuse(WELCOME.to, ["451 try again later"] * 5)
        await send(world)
        job = await world.one_job("scheduleEmail")
        assert (job.state, job.attempt) == ("discarded", 3)
        assert world.mailbox.mails == []


async def test_refused(make_world: MakeWorld) -> None:
    """A mail that the server refuses (5xx) is discarded at the first attempt, with the server's words."""
    async with make_world() as world:
        world.mailbox.refuse(WELCOME.to, ["550 no such mailbox"])
        await send(world)
        job = await world.one_job("scheduleEmail")
        assert (job.state, job.attempt) == ("discarded", 1)
        assert "550" in job.reason
        assert "no such mailbox" in job.reason


async def test_server_away(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mail server that can't be reached fails the attempt, and the mail is to be tried again."""
    async with make_world() as world:
        monkeypatch.setenv("CATALOG_SMTP_URL", "smtp://127.0.0.1:1")
        await world.insert(WELCOME)
        await world.work("scheduleEmail", horizon=0)
        job = await world.one_job("scheduleEmail")
        assert (job.state, job.attempt) == ("retryable", 1)


UNWRITABLE = [
    ("a header in the subject", {"subject": "Hello\nBcc: eve@example.com"}),
    ("a header in the address", {"to": "ada@example.com\nBcc: eve@example.com"}),
    ("no address", {"to": ""}),
    ("a name without an address", {"to": "Ada"}),
]


@pytest.mark.parametrize("fields", [case[1] for case in UNWRITABLE], ids=[case[0] for case in UNWRITABLE])
async def test_unwritable(make_world: MakeWorld, fields: dict[str, str]) -> None:
    """A mail whose headers can't be written is discarded, and nothing is sent to anybody."""
    async with make_world() as world:
        await send(world, WELCOME.model_copy(update=fields))
        job = await world.one_job("scheduleEmail")
        assert (job.state, job.attempt) == ("discarded", 1)
        assert job.reason.startswith("the mail can't be written: ")
        assert world.mailbox.mails == []
