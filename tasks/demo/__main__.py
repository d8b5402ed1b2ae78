"""Shows the catalog at work: `python -m tasks.demo [--drain]`, which is `make run`.

Finds or starts a PostgreSQL, plays a shop whose sign-ups write rows and jobs in one transaction, works the
jobs in view, prints what happened, and checks its own claims. With `--drain` it ends then, with exit code 0 if
every claim holds; without, it goes on working until Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

import tasks
from tasks import database, endpoint_api
from tasks.database import new_id
from tasks.demo.claims import Evidence
from tasks.demo.endpoint import Endpoint
from tasks.demo.mailbox import Mailbox
from tasks.demo.report import print_tables, show_log, watch
from tasks.demo.servers import http_server, smtp_server
from tasks.demo.shop import CUSTOMERS, MAILS, announced, do_business, open_shop
from workerqueue import Client, migrate
from workerqueue.embedded import Server, postgres

CONFIG = Path(__file__).parents[2] / "config"
DEADLINE_SECONDS = 60
BUSY = [503, 503]
TRY_LATER = ["451 try again later", "451 try again later"]


def main() -> int:
    """Run the demonstration; gives the exit code."""
    options = _options()
    show_log(logging.INFO if options.verbose else logging.WARNING)
    try:
        with postgres() as server:
            print(f"PostgreSQL: {server.link} {server.version}".rstrip())
            return asyncio.run(_demonstrate(server, stay=not options.drain))
    except KeyboardInterrupt:
        return 130


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.demo", description="Shows the catalog at work.")
    parser.add_argument("--drain", action="store_true", help="end when all jobs are worked")
    parser.add_argument("--verbose", action="store_true", help="print a line for every job")
    return parser.parse_args()


async def _demonstrate(server: Server, *, stay: bool) -> int:
    """Work while the story is told; end with it, or stay until a signal ends the work."""
    await migrate(server.url)
    shop = Client(server.url, config=CONFIG)  # the application: it only inserts
    worker = Client(server.url, config=CONFIG, workers=tasks.workers)
    endpoint, mailbox = Endpoint(api_key=new_id("key"), index=announced()), Mailbox()
    async with http_server(endpoint.app) as endpoint_url, smtp_server(mailbox) as smtp_url, shop:
        os.environ["CATALOG_SMTP_URL"] = smtp_url
        os.environ["CATALOG_MAIL_FROM"] = "The Shop <shop@example.com>"
        work = asyncio.create_task(worker.run())
        story = asyncio.create_task(_tell(shop, endpoint, endpoint_url, mailbox))
        await asyncio.wait([work, story], return_when=asyncio.FIRST_COMPLETED)
        if not story.done():  # a signal ended the work
            story.cancel()
            await asyncio.wait([story])
            print("Interrupted before the end.")
        elif not stay or story.exception():
            await worker.stop()
        else:
            _invite(server)
        await work
        await endpoint_api.close()
    return 1 if story.cancelled() else story.result()


async def _tell(client: Client, endpoint: Endpoint, endpoint_url: str, mailbox: Mailbox) -> int:
    """Tell the whole story: open the shop, do its business, watch the work, and check what came of it."""
    since = await _prepare(client)
    shop, indexing = await open_shop(client, endpoint_url, endpoint.api_key)
    await client.jobs.wait(indexing.id, DEADLINE_SECONDS)
    print("The shop's endpoint is indexed.")

    endpoint.refuse(shop.unlucky.event, BUSY)
    mailbox.refuse(shop.unlucky.email, TRY_LATER)
    print(f"{CUSTOMERS} customers sign up, {MAILS} get a mail; one sign-up is rolled back, one event is for later.")
    async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as group:
        business = group.create_task(do_business(client, shop))
        group.create_task(watch(client, since, has_ended=business.done))

    await print_tables(client, since)
    return await _check(Evidence(client, shop, endpoint, mailbox, since))


async def _prepare(client: Client) -> int:
    """Make the catalog's tables; gives the id of the last job that is there already."""
    async with client.transaction() as tx:
        await database.create(tx)
        last: int = await tx.fetchval("select coalesce(max(id), 0) from workerqueue.job_all")
    return last


async def _check(evidence: Evidence) -> int:
    """Print whether each claim holds; gives the exit code."""
    claims = await evidence.claims()
    print()
    for claim in claims:
        print(f"  {'ok   ' if claim.holds else 'WRONG'} {claim.text}")
    sys.stdout.flush()
    return 0 if all(claim.holds for claim in claims) else 1


def _invite(server: Server) -> None:
    where = f" --database-url {server.url}" if server.owned else ""
    print(
        "\nStill working, until Ctrl-C. Try, in another terminal:\n"
        f"  .venv/bin/workerqueue insert{where} scheduleEmail "
        """'{"to": "you@example.com", "subject": "Hello", "html": "<p>Hello</p>", "text": "Hello"}'""",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
