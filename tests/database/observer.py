"""What a test sees and does of the server's sessions, from a connection of its own."""

from __future__ import annotations

from workerqueue import Client
from workerqueue.database import Connection


async def sessions(connection: Connection, name: str) -> int:
    """Count the server's sessions by what their application calls itself."""
    count: int = await connection.fetchval(
        "select count(*) from pg_stat_activity where application_name = $1 and pid <> pg_backend_pid()", name
    )
    return count


async def terminate(connection: Connection, name: str) -> int:
    """End every session of an application as an administrator would, and say how many there were."""
    ended: int = await connection.fetchval(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity"
        " where application_name = $1 and pid <> pg_backend_pid()",
        name,
    )
    return ended


async def blocked(sql: Connection, client: Client) -> int:
    """Count the client's statements that wait for another transaction."""
    waiting: int = await sql.fetchval(
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and application_name = $1",
        f"workerqueue {client.id}"[:63],
    )
    return waiting
