"""The user of the demonstration: a small shop whose sign-ups become events and mails.

This is the example to read: a business row, an event and a mail are written in one transaction.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tasks.database import Connection, new_id
from tasks.emails import ScheduleEmailArgs
from tasks.endpoint_api import EndpointIndex
from tasks.endpoints import IndexEndpointArgs
from tasks.events import ingest_event
from tasks.schemas import EventRule, EventSpecification, JobMetadata, QueueOptions, StaticTriggerMetadata
from workerqueue import Client, Fixed, InsertOpts, Job

CUSTOMERS = 110
MAILS = 20
TRIAL = timedelta(seconds=3)
RETRY_SECONDS = 1

TABLES = """
    create schema if not exists demo;
    create table if not exists demo.customers (id text primary key, name text not null, email text not null);
"""


@dataclass
class Customer:
    """Somebody who signs up."""

    number: int
    gets_mail: bool = True
    id: str = field(default_factory=lambda: new_id("customer"))

    @property
    def name(self) -> str:
        """What we call them."""
        return f"Customer {self.number}"

    @property
    def email(self) -> str:
        """Where they get their mail."""
        return f"customer-{self.number}@example.com"

    @property
    def event(self) -> str:
        """The id of the event of their sign-up."""
        return f"signup:{self.id}"

    def welcome(self) -> ScheduleEmailArgs:
        """Write their welcome mail."""
        return ScheduleEmailArgs(
            to=self.email,
            subject=f"Welcome, {self.name}!",
            text=f"Hello {self.name}, good to have you.",
            html=f"<p>Hello <b>{self.name}</b>, good to have you.</p>",
        )


class RefusedError(Exception):
    """The shop changed its mind about a sign-up, in the middle of its transaction."""


@dataclass
class Shop:
    """The user's rows in the catalog, and everybody who signed up."""

    environment: str
    endpoint: str
    customers: list[Customer] = field(
        default_factory=lambda: [Customer(n, gets_mail=n <= MAILS) for n in range(1, CUSTOMERS + 1)]
    )
    refused: Customer = field(default_factory=lambda: Customer(CUSTOMERS + 1))
    """Signs up too, but the transaction is rolled back."""

    @property
    def events(self) -> list[str]:
        """The ids of all events that are to be delivered."""
        return [*(customer.event for customer in self.customers), self.trial_event]

    @property
    def mailed(self) -> list[Customer]:
        """The customers who get a mail."""
        return [customer for customer in self.customers if customer.gets_mail]

    @property
    def unlucky(self) -> Customer:
        """Whose run and mail are refused twice before they work."""
        return self.customers[6]

    @property
    def trial_event(self) -> str:
        """The id of the event that is delivered later."""
        return f"trial:{self.customers[0].id}"


# What the shop's endpoint announces


def announced() -> EndpointIndex:
    """Announce two jobs, each started by an event."""
    return EndpointIndex(jobs=[_job("welcome-customer", "customer.created"), _job("end-trial", "trial.ended")])


def _job(slug: str, event: str) -> JobMetadata:
    return JobMetadata(
        id=slug,
        name=slug.replace("-", " ").capitalize(),
        version="1.0.0",
        event=EventSpecification(name=event, title=event, source="trigger.dev", icon="user"),
        trigger=StaticTriggerMetadata(
            title=f"On {event}", rule=EventRule(event=event, source="trigger.dev", payload={"plan": ["pro"]})
        ),
        integrations={},
        # Room for every run at once: nobody has to wait for startQueuedRuns.
        queue=QueueOptions(name=slug, max_concurrent=2 * CUSTOMERS),
        start_position="latest",
        enabled=True,
        preprocess_runs=False,
    )


# Opening: the rows that a user of the service has, and a job that asks their endpoint what it has


async def open_shop(client: Client, url: str, api_key: str) -> tuple[Shop, Job[IndexEndpointArgs]]:
    """Write the user's rows and insert the job that indexes their endpoint."""
    shop = Shop(environment=new_id("environment"), endpoint=new_id("endpoint"))
    async with client.transaction() as tx:
        await tx.execute(TABLES)
        await _insert_user(tx, shop, url, api_key)
        indexing = await client.insert_tx(tx, IndexEndpointArgs(id=shop.endpoint, source="MANUAL"))
    return shop, indexing.job


async def _insert_user(tx: Connection, shop: Shop, url: str, api_key: str) -> None:
    organization, project = new_id("organization"), new_id("project")
    await tx.execute("insert into catalog.organizations (id, slug, title) values ($1, $1, 'Shop')", organization)
    await tx.execute(
        "insert into catalog.projects (id, organization, slug) values ($1, $2, 'shop')", project, organization
    )
    await tx.execute(
        """
        insert into catalog.environments (id, project, slug, type, api_key)
        values ($1, $2, 'live', 'PRODUCTION', $3)
        """,
        shop.environment,
        project,
        api_key,
    )
    await tx.execute(
        "insert into catalog.endpoints (id, environment, slug, url) values ($1, $2, 'main', $3)",
        shop.endpoint,
        shop.environment,
        url,
    )


# Business: rows, events and mails that commit together, or not at all


async def do_business(client: Client, shop: Shop) -> None:
    """Sign everybody up, one transaction each; roll one back; and plan an event for later."""
    for customer in shop.customers:
        async with client.transaction() as tx:
            await _sign_up(client, tx, shop, customer)
    with suppress(RefusedError):
        async with client.transaction() as tx:
            await _sign_up(client, tx, shop, shop.refused)
            raise RefusedError
    async with client.transaction() as tx:
        await _end_trial_later(client, tx, shop)


async def _sign_up(client: Client, tx: Connection, shop: Shop, customer: Customer) -> None:
    """Write the customer, the event that starts a run, and the mail for those who get one."""
    await tx.execute(
        "insert into demo.customers (id, name, email) values ($1, $2, $3)",
        customer.id,
        customer.name,
        customer.email,
    )
    await ingest_event(
        client,
        tx,
        event_id=customer.event,
        environment=shop.environment,
        name="customer.created",
        payload={"customer": customer.id, "plan": "pro"},
    )
    if customer.gets_mail:
        await client.insert_tx(tx, customer.welcome(), InsertOpts(retry=Fixed(RETRY_SECONDS)))


async def _end_trial_later(client: Client, tx: Connection, shop: Shop) -> None:
    """Write an event now whose job is not worked before its time."""
    await ingest_event(
        client,
        tx,
        event_id=shop.trial_event,
        environment=shop.environment,
        name="trial.ended",
        payload={"customer": shop.customers[0].id, "plan": "pro"},
        deliver_at=datetime.now(UTC) + TRIAL,
    )
