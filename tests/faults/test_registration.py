"""What a crash of the server must not take back, though it happens on the connection whose claims it may."""

from __future__ import annotations

from pathlib import Path

from tests.faults.server import Restartable
from workerqueue import migrate
from workerqueue.database import ClientRow, Database

ROW = ClientRow("c", "h", 1, [], [])


async def test_a_number_outlives_a_crash_right_after_it_was_given(tmp_path: Path) -> None:
    """A client goes on under its number after a crash; given again, two would keep each other's jobs alive."""
    server = Restartable(tmp_path / "postgres", wal_writer_delay="10s")
    await server.start()
    try:
        await migrate(server.url)
        before = await _register(server)
        await server.crash()
        await server.start()
        assert await _register(server) > before
    finally:
        await server.close()


async def _register(server: Restartable) -> int:
    database = Database(server.url, "workerqueue")
    async with database.dedicated(durable=False) as connection:
        return await database.jobs.register_client(connection, ROW)
