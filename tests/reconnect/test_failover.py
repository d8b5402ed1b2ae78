"""A replica is promoted: whoever named both servers works on, and what was acknowledged is there."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Generator
from contextlib import ExitStack, suppress
from pathlib import Path

import asyncpg
import pytest

from tests.reconnect.flow import Step, flowing
from tests.reconnect.servers import OwnServer
from tests.reconnect.test_restarts import AFTER_A_SERVER
from tests.waiting import eventually
from workerqueue import Client, Workers, migrate
from workerqueue.database.hosts import several_hosts
from workerqueue.errors import DatabaseUnavailableError

_numbers = itertools.count(1)


@pytest.fixture
def pair(folder: Path) -> Generator[tuple[OwnServer, OwnServer]]:
    """A primary and its replica."""
    number = next(_numbers)
    with ExitStack() as stack:
        primary = OwnServer(folder / f"primary{number}")
        primary.start()
        stack.callback(primary.stop)
        replica = primary.replica(folder / f"replica{number}")
        replica.start()
        stack.callback(replica.stop)
        yield primary, replica


def url_of_both(first: OwnServer, second: OwnServer) -> str:
    """Name both servers in one URL, the first to be tried first."""
    return first.url.replace(f":{first.port}/", f":{first.port},127.0.0.1:{second.port}/")


async def until_followed(primary: OwnServer, replica: OwnServer) -> None:
    """Wait until the replica has replayed what the primary has written so far."""
    here, there = await asyncpg.connect(primary.url), await asyncpg.connect(replica.url)
    written = await here.fetchval("select pg_current_wal_lsn()::text")

    async def look() -> bool:
        seen: bool = await there.fetchval("select pg_last_wal_replay_lsn() >= $1::text::pg_lsn", written)
        return seen

    await eventually(look)
    await here.close()
    await there.close()


async def test_work_goes_on_at_the_promoted_replica(pair: tuple[OwnServer, OwnServer]) -> None:
    """A clean switch: the primary stops, the replica is promoted; nothing acknowledged is lost, nothing is stranded."""
    primary, replica = pair
    await migrate(primary.url)
    await until_followed(primary, replica)
    async with flowing(url_of_both(replica, primary)) as flow:
        await asyncio.to_thread(primary.stop, signal.SIGINT)  # it sends all it has to its replica before it ends
        await asyncio.to_thread(replica.promote)
        await flow.goes_on(AFTER_A_SERVER)
    sql = await asyncpg.connect(replica.url)
    stored = await sql.fetch("select (args->>'n')::integer as n, state from workerqueue.job_all")
    await sql.close()
    assert set(flow.acknowledged) <= {row["n"] for row in stored}
    assert {row["n"] for row in stored if row["state"] == "running"} == set()


async def test_a_replica_is_refused_and_left(pair: tuple[OwnServer, OwnServer]) -> None:
    """By its own URL it is refused with the cure, and taken as soon as it was promoted."""
    primary, replica = pair
    await migrate(primary.url)
    await until_followed(primary, replica)
    async with Client(replica.url, workers=Workers(), strict=False, insert_timeout=3.0) as client:
        with pytest.raises(DatabaseUnavailableError, match="takes no writes"):
            await client.insert(Step(n=1))
        await asyncio.to_thread(replica.promote)

        async def inserted() -> bool:
            with suppress(DatabaseUnavailableError):
                await client.insert(Step(n=2))
                return True
            return False

        await eventually(inserted)


async def test_a_silent_host_does_not_use_up_the_time_of_the_next(database_url: str, schema: str) -> None:
    """The first of two hosts takes connections and says nothing; the second is found within the same deadline."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    url = database_url.replace("@", f"@127.0.0.1:{port},")
    async with Client(url, schema=schema, strict=False, insert_timeout=8.0) as client:
        assert (await client.insert(Step(n=1))).job.id
    silent.close()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@a/db", []),
        ("postgresql://u:p@a:1,b:2/db", [("a", 1), ("b", 2)]),
        ("postgresql://u:p%2C@a,b:2/db", [("a", 5432), ("b", 2)]),
        ("postgresql://[::1]:7,b/db", [("::1", 7), ("b", 5432)]),
        ("postgresql://u@/db?host=a,b&port=1,2", [("a", 1), ("b", 2)]),
        ("postgresql://u@/db?host=/run,b&port=9", [("/run", 9), ("b", 9)]),
        ("postgresql://u@a:x,b/db", []),
    ],
)
def test_hosts_are_read_from_a_url(url: str, expected: list[tuple[str, int]]) -> None:
    """Several are given with their ports; one, or what can't be read, is the driver's to make sense of."""
    assert several_hosts(url) == expected


def test_hosts_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the driver reads them."""
    monkeypatch.setenv("PGHOST", "a,b")
    monkeypatch.setenv("PGPORT", "1,2")
    assert several_hosts(None) == [("a", 1), ("b", 2)]
    assert several_hosts("postgresql://c/db") == []
    assert several_hosts(None, ["x", "y"], 5) == [("x", 5), ("y", 5)]
