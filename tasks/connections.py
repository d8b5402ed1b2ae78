"""Connections: the credentials that a job's integrations need, and the runs that wait for them."""

from __future__ import annotations

from tasks.database import Connection, Row, fetch_all, new_id
from tasks.schemas import CatalogArgs
from workerqueue import Client


class ConnectionCreatedArgs(CatalogArgs):
    """Start the runs that waited for a connection."""

    id: str

    @classmethod
    def kind(cls) -> str:
        return "connectionCreated"


class MissingConnectionCreatedArgs(CatalogArgs):
    """Tell the user that runs wait for a connection."""

    id: str

    @classmethod
    def kind(cls) -> str:
        return "missingConnectionCreated"


# Integrations whose credentials the user keeps (LOCAL) need no connection.
CONNECTIONS_OF_RUN = """
    select link.key, integration.id as integration, integration.scopes, connection.access_token,
        case when run.account is null then 'DEVELOPER' else 'EXTERNAL' end as type,
        coalesce(run.account, 'DEVELOPER') as account
    from catalog.runs as run
    join catalog.job_version_integrations as link on link.version = run.version
    join catalog.integrations as integration on integration.id = link.integration
    left join catalog.connections as connection
        on connection.integration = integration.id
        and connection.type = case when run.account is null then 'DEVELOPER' else 'EXTERNAL' end
        and connection.account = coalesce(run.account, 'DEVELOPER')
    where run.id = $1 and integration.auth_source = 'HOSTED'
    order by integration.id, link.key
"""

# Gives a row only where nobody was told yet: a connection that was never missed, or is missed again.
NOTE_MISSING = """
    insert into catalog.missing_connections as missing (id, integration, type, account)
    values ($1, $2, $3, $4)
    on conflict (integration, type, account) do update set resolved = false where missing.resolved
    returning id
"""

LINK_WAITING_RUN = """
    insert into catalog.missing_connection_runs (missing_connection, run)
    select id, $4 from catalog.missing_connections where integration = $1 and type = $2 and account = $3
    on conflict do nothing
"""


class RunConnection(Row):
    """One integration of a run's job, and the credentials for it if there are any."""

    key: str
    integration: str
    type: str
    account: str
    scopes: list[str]
    access_token: str | None


async def connections_of_run(conn: Connection, run: str) -> list[RunConnection]:
    """Look up the connection for each hosted integration of a run's job."""
    return await fetch_all(conn, RunConnection, CONNECTIONS_OF_RUN, run)


async def wait_for_connections(client: Client, tx: Connection, run: str, missing: list[RunConnection]) -> None:
    """Write down which connections a run waits for, and have the user told of each that is new."""
    for each in missing:
        whose = each.integration, each.type, each.account
        noted: str | None = await tx.fetchval(NOTE_MISSING, new_id("missing"), *whose)
        await tx.execute(LINK_WAITING_RUN, *whose, run)
        if noted:
            await client.insert_tx(tx, MissingConnectionCreatedArgs(id=noted))
