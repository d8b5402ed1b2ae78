"""State of one's own: values by key, locks and semaphores, over all processes and by the database's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from pydantic import BaseModel, JsonValue, SecretStr

from tests.conftest import MakeClient
from tests.engine.jobs import within
from tests.waiting import eventually
from workerqueue import ArgsError, Client, ConfigError, LockHeldError, LockLostError
from workerqueue.database import Connection
from workerqueue.maintenance.expirer import expire_values


class Point(BaseModel):
    x: int


async def expire(sql: Connection) -> None:
    """Let every time to live end."""
    await sql.execute("update value set expires_at = now() - interval '1 ms' where expires_at is not null")


async def test_a_value_is_kept_read_and_deleted(make_client: MakeClient) -> None:
    """Whatever Pydantic can write; null is a value that is read as none."""
    kv = make_client().kv
    values: list[JsonValue] = [{"a": [1, None, "ü"]}, "text", 5, 1.5, True, [], None]
    for value in values:
        await kv.set("k", value)
        assert await kv.get("k") == value
    await kv.set("k", Point(x=1))
    assert await kv.get("k") == {"x": 1}
    assert [await kv.delete("k"), await kv.delete("k"), await kv.get("k")] == [True, False, None]


@pytest.mark.req("A32")
async def test_a_value_expires_by_the_databases_clock(make_client: MakeClient, sql: Connection) -> None:
    """Then it is as if it had never been; to set it anew without a time keeps it for ever."""
    kv = make_client().kv
    await kv.set("k", 1, ttl=timedelta(hours=1))
    await kv.set("other", 1, ttl=60)
    await kv.set("other", 2)
    await expire(sql)
    assert [await kv.get("k"), await kv.get("other")] == [None, 2]
    assert await kv.delete("k") is False
    await kv.set("k", 1, ttl=60)
    await expire(sql)
    assert await kv.set_if_absent("k", 3)
    assert not await kv.set_if_absent("k", 4)
    assert await kv.get("k") == 3


@pytest.mark.req("A32")
async def test_of_fifty_callers_one_sets_what_is_absent(make_client: MakeClient) -> None:
    """And the value is that one's."""
    clients = [make_client() for _ in range(3)]
    answers = await asyncio.gather(*[clients[n % 3].kv.set_if_absent("k", n, ttl=30) for n in range(50)])
    assert sum(answers) == 1
    assert await clients[0].kv.get("k") == answers.index(True)


@pytest.mark.req("A33")
async def test_increments_of_many_callers_add_up(make_client: MakeClient, sql: Connection) -> None:
    """Each has a sum of its own; the time to live is that of the first, and an expired number starts again."""
    clients = [make_client() for _ in range(3)]
    sums = await asyncio.gather(*[clients[n % 3].kv.increment("n", ttl=60 + n) for n in range(60)])
    assert sorted(sums) == list(range(1, 61))
    assert await clients[0].kv.increment("n", by=-100) == -40
    assert await clients[0].kv.get("n") == -40
    await expire(sql)
    assert await clients[0].kv.increment("n", by=7) == 7
    assert await sql.fetchval("select expires_at from value") is None
    assert await clients[0].kv.increment("big", by=2**63 - 1) == 2**63 - 1
    assert await clients[0].kv.increment("big") == 2**63


async def test_what_has_expired_is_forgotten(make_client: MakeClient, sql: Connection) -> None:
    """Values at once, leases after a day; what is held stays."""
    client = make_client()
    await client.kv.set("kept", 1)
    await sql.execute(
        "insert into value select 'old' || n, '1', now() - interval '1 s' from generate_series(1, 2500) as n;"
        "insert into lease select 'old' || n, 0, 1, 1, now() - interval '25 h' from generate_series(1, 10) as n;"
        "insert into lease values ('yesterday', 0, 1, 1, now() - interval '23 h')"
    )
    async with client.lock("k", ttl=60):
        await expire_values(client._database)  # pyright: ignore[reportPrivateUsage] - a chore's own door
        assert await sql.fetchval("select count(*) from value") == 1
        assert await sql.fetchval("select count(*) from lease") == 2


@pytest.mark.req("A33")
async def test_a_lock_is_held_by_one_at_a_time(make_client: MakeClient) -> None:
    """In all processes together; every holding has a greater fence than the one before."""
    clients = [make_client() for _ in range(3)]
    inside = 0
    fences: list[int] = []

    async def hold(n: int) -> None:
        nonlocal inside
        async with clients[n % 3].lock("k", ttl=30) as lease:
            inside += 1
            assert inside == 1
            fences.append(lease.fence)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*[hold(n) for n in range(20)])
    assert fences == sorted(set(fences))
    assert len(fences) == 20


async def test_who_does_not_wait_is_told_at_once(make_client: MakeClient) -> None:
    """Or after the time it was to wait; another key, and a semaphore of the same, are others."""
    client = make_client()
    async with client.lock("k", ttl=30):
        with pytest.raises(LockHeldError, match="'k' is held by others"):
            async with client.lock("k", ttl=30, wait=0):
                pass
        with pytest.raises(LockHeldError, match=r"for 0\.05 s now"):
            async with client.lock("k", ttl=30, wait=0.05):
                pass
        async with client.lock("other", ttl=30, wait=0), client.semaphore("k", 1, ttl=30, wait=0):
            pass
    async with client.lock("k", ttl=30, wait=0):
        pass


async def test_a_semaphore_has_so_many_places(make_client: MakeClient) -> None:
    """The one more is refused, until a place is given back."""
    client = make_client()
    async with AsyncExitStack() as first_two:
        leases = [await first_two.enter_async_context(client.semaphore("k", 3, ttl=30)) for _ in range(2)]
        async with client.semaphore("k", 3, ttl=30, wait=0) as third:
            fences = [lease.fence for lease in [*leases, third]]
            assert fences == sorted(set(fences))
            with pytest.raises(LockHeldError):
                async with client.semaphore("k", 3, ttl=30, wait=0):
                    pass
        async with client.semaphore("k", 3, ttl=30, wait=0):
            pass


async def test_a_lock_is_renewed_while_it_is_held(make_client: MakeClient, sql: Connection) -> None:
    """For longer than its time; an error in the block comes out as it is, and the lock is given back."""
    client = make_client()
    first = 0

    async def renewed_twice() -> bool:
        moved: bool = await sql.fetchval(
            "select until > to_timestamp($1::float8 / 1e6) + interval '0.45 s' from lease", first
        )
        return moved

    async def fail_in_it() -> None:
        nonlocal first
        async with client.lock("k", ttl=0.3) as lease:
            first = lease.fence
            await eventually(renewed_twice)
            raise LookupError

    with pytest.raises(LookupError):
        await fail_in_it()
    async with client.lock("k", ttl=30, wait=0) as again:
        assert again.fence > first


async def test_who_has_lost_a_lock_is_stopped_and_told(make_client: MakeClient, sql: Connection) -> None:
    """The block is cancelled and the error raised behind it; who has the lock by now keeps it."""
    client = make_client()
    cancelled = asyncio.Event()

    async def lose_it() -> None:
        async with client.lock("k", ttl=0.2):
            await sql.execute("update lease set token = 1, until = now() + interval '1 min'")
            try:
                await within(asyncio.Event())
            except asyncio.CancelledError:
                cancelled.set()
                raise

    with pytest.raises(LockLostError, match="'k' could not be renewed"):
        await lose_it()
    assert cancelled.is_set()
    assert await sql.fetchval("select until > now() + interval '30 s' from lease")


async def test_who_dies_leaves_its_lock_after_its_time(make_client: MakeClient, sql: Connection) -> None:
    """Nobody renews it then; the next fence is greater, whatever the clock did."""
    client = make_client()
    await sql.execute("insert into lease values (e'lock \\x1fk', 0, 1, $1, now() + interval '0.1 s')", 2**62)
    async with client.lock("k", ttl=30) as lease:
        assert lease.fence == 2**62 + 1


WRONG: dict[str, tuple[Callable[[Client], Awaitable[object]], type[Exception], str]] = {
    "an empty key": (lambda client: client.kv.get(""), ConfigError, "key: expected text of 1 to 512"),
    "a NUL": (lambda client: client.kv.set("a\0", 1), ConfigError, "key: expected text"),
    "a long key": (lambda client: client.kv.delete("x" * 513), ConfigError, "key: expected text"),
    "NaN": (lambda client: client.kv.set("k", {"a": float("nan")}), ArgsError, "value.a"),
    "a NUL in the value": (lambda client: client.kv.set("k", ["\0"]), ArgsError, r"value\[0\]"),
    "too much": (lambda client: client.kv.set("k", "x" * 2**20), ArgsError, "expected at most 1,048,576 bytes"),
    "a secret": (lambda client: client.kv.set("k", {"a": SecretStr("s3cret")}), ArgsError, "value.a: is a secret"),
    "no time": (lambda client: client.kv.set("k", 1, ttl=0), ConfigError, "ttl: expected a duration longer than 0"),
    "half a step": (lambda client: client.kv.increment("k", by=True), ConfigError, "by: expected a whole number"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_cant_be_kept_is_refused(make_client: MakeClient, sql: Connection, case: str) -> None:
    """With what was expected; nothing is kept."""
    call, error, said = WRONG[case]
    with pytest.raises(error, match=said):
        await call(make_client())
    assert await sql.fetchval("select count(*) from value") == 0


async def test_only_whole_numbers_are_added_to(make_client: MakeClient) -> None:
    """Anything else is left as it is, with an error."""
    kv = make_client().kv
    for value in ("1", [1], 1.5, None):
        await kv.set("k", value)
        with pytest.raises(ConfigError, match="expected a whole number to add to"):
            await kv.increment("k")
        assert await kv.get("k") == value


@pytest.mark.parametrize(
    ("limit", "ttl", "wait", "said"),
    [(0, 1, None, "limit: expected 1 to 10000"), (1, 0, None, "ttl: expected"), (1, 1, -1, "wait: expected")],
)
async def test_a_lease_that_cant_be_is_refused(
    make_client: MakeClient, limit: int, ttl: float, wait: float | None, said: str
) -> None:
    """Before anything is asked of the database."""
    with pytest.raises(ConfigError, match=said):
        async with make_client().semaphore("k", limit, ttl, wait):
            pass
