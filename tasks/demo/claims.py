"""What the demonstration claims to have done, checked against the rows and what arrived outside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import EmailMessage

from tasks.database import Connection
from tasks.demo.endpoint import Endpoint
from tasks.demo.mailbox import Mailbox
from tasks.demo.shop import Customer, Shop
from workerqueue import Client

FINISHED_RUNS = """
    select run.id, run.event
    from catalog.runs as run
    join catalog.events as event on event.id = run.event
    where event.environment = $1 and run.status = 'SUCCESS' and run.completed_at is not null
"""

DELIVERED_IN_TIME = "select delivered_at >= deliver_at from catalog.events where id = $1"

ATTEMPTS_OF_MAIL = """
    select attempt, state from workerqueue.job_all where id > $1 and kind = 'scheduleEmail' and args ->> 'to' = $2
"""

# Anything that names the customer, in our tables or among the jobs.
TRACES_OF_CUSTOMER = """
    select (select count(*) from demo.customers where id = $1)
        + (select count(*) from catalog.events where id = $2)
        + (select count(*) from workerqueue.job_all where args ->> 'to' = $3 and id > $4)
        + (select count(*) from workerqueue.job_all where args ->> 'id' = $2)
"""

UNFINISHED_JOBS = "select count(*) from workerqueue.job_all where id > $1 and state <> 'completed'"

QUEUES_USED = """
    select count(distinct pool), count(distinct queue) filter (where queue <> pool)
    from workerqueue.job_all
    where id > $1
"""


@dataclass(frozen=True)
class Claim:
    """Something that must be true in the end."""

    text: str
    holds: bool


@dataclass(frozen=True)
class Evidence:
    """Where the claims are looked up."""

    client: Client
    shop: Shop
    endpoint: Endpoint
    mailbox: Mailbox
    since: int
    """The id of the last job that was there before."""

    async def claims(self) -> list[Claim]:
        """Check everything that the demonstration is to show."""
        async with self.client.transaction() as tx:
            return [claim async for claim in self._check(tx)]

    async def _check(self, tx: Connection) -> AsyncIterator[Claim]:
        yield await self._every_run_finished(tx)
        yield await self._called_once_per_run(tx)
        yield self._mails_arrived()
        yield await self._failed_twice_then_worked(tx)
        yield await self._delivered_in_time(tx)
        yield await self._nothing_of_rolled_back(tx)
        yield await self._queues_used(tx)
        yield await self._all_worked(tx)

    async def _every_run_finished(self, tx: Connection) -> Claim:
        finished = [row["event"] for row in await tx.fetch(FINISHED_RUNS, self.shop.environment)]
        wanted = self.shop.events
        return Claim(
            f"each of {len(wanted)} events has one run, and it is finished", sorted(finished) == sorted(wanted)
        )

    async def _called_once_per_run(self, tx: Connection) -> Claim:
        runs = {row["id"]: row["event"] for row in await tx.fetch(FINISHED_RUNS, self.shop.environment)}
        unlucky = self.shop.unlucky.event
        expected = {run: 3 if event == unlucky else 1 for run, event in runs.items()}
        return Claim(
            "the endpoint was called once for each run, and three times where it was busy twice",
            self.endpoint.calls_per_run() == expected,
        )

    def _mails_arrived(self) -> Claim:
        mailed = self.shop.mailed
        each_is_right = all(_is_welcome(self.mailbox.mails_to(each.email), each) for each in mailed)
        return Claim(
            f"{len(mailed)} mails arrived once each, with the right subject and body",
            each_is_right and len(self.mailbox.mails) == len(mailed),
        )

    async def _failed_twice_then_worked(self, tx: Connection) -> Claim:
        email = self.shop.unlucky.email
        row = await tx.fetchrow(ATTEMPTS_OF_MAIL, self.since, email)
        return Claim(
            "a mail that the server put off twice was sent by the third attempt of its job",
            row is not None and tuple(row) == (3, "completed") and self.mailbox.refused == [email, email],
        )

    async def _delivered_in_time(self, tx: Connection) -> Claim:
        in_time: bool | None = await tx.fetchval(DELIVERED_IN_TIME, self.shop.trial_event)
        return Claim("the event planned for later was delivered, and not before its time", in_time is True)

    async def _nothing_of_rolled_back(self, tx: Connection) -> Claim:
        gone = self.shop.refused
        traces: int = await tx.fetchval(TRACES_OF_CUSTOMER, gone.id, gone.event, gone.email, self.since)
        return Claim(
            "the rolled-back transaction left no customer, event, job or mail",
            traces == 0 and not self.mailbox.mails_to(gone.email),
        )

    async def _queues_used(self, tx: Connection) -> Claim:
        row = await tx.fetchrow(QUEUES_USED, self.since)
        queues, dynamic = (0, 0) if row is None else row
        return Claim(
            f"{queues} of the seven queues and {dynamic} dynamic ones saw work", queues >= 5 and dynamic >= 100
        )

    async def _all_worked(self, tx: Connection) -> Claim:
        unfinished: int = await tx.fetchval(UNFINISHED_JOBS, self.since)
        return Claim("every job is completed", unfinished == 0)


def _is_welcome(mails: list[EmailMessage], customer: Customer) -> bool:
    """Tell whether these are one mail, and it is the customer's."""
    if len(mails) != 1:
        return False
    wanted = customer.welcome()
    return (mails[0]["Subject"], _part(mails[0], "plain"), _part(mails[0], "html")) == (
        wanted.subject,
        wanted.text,
        wanted.html,
    )


def _part(mail: EmailMessage, subtype: str) -> str:
    part = mail.get_body((subtype,))
    return "" if part is None else str(part.get_content()).strip()
