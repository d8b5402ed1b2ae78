"""What `client.kv` does: keep JSON by key, with a time to live by the database's clock."""

from __future__ import annotations

from typing import Final

from pydantic import JsonValue

from workerqueue.database import Database
from workerqueue.durations import Duration, positive
from workerqueue.errors import ArgsError, ConfigError, brief
from workerqueue.payload import INT64, encode_json, read_json
from workerqueue.redaction import find_secret
from workerqueue.unique import KEY_LENGTH, is_key, scoped

MAX_VALUE_BYTES: Final = 1024 * 1024


class KeyValues:
    """Keeps values of one client's schema, in the scope of the current tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, key: str) -> JsonValue:
        """Read the value of a key; `None` if it has none, or it has expired."""
        async with self._database.acquire() as connection:
            return read_json(await self._database.state.get_value(connection, _stored(key)))

    async def set(self, key: str, value: object, ttl: Duration | None = None) -> None:
        """Set a key to a value, for ever or for a time.

        Args:
            key: 1 to 512 characters.
            value: Anything that Pydantic can write as JSON, at most 1 MiB.
            ttl: How long it is kept (seconds if a number); `None` is for ever, whatever was said before.

        Raises:
            ConfigError: If the key or the time can't be right.
            ArgsError: If the value can't be stored, with the path.
        """
        async with self._database.acquire() as connection:
            await self._database.state.set_value(
                connection, _stored(key), _written(value), _seconds(ttl), if_absent=False
            )

    async def set_if_absent(self, key: str, value: object, ttl: Duration | None = None) -> bool:
        """Set a key that has no value, and say whether it was this call; of any number at once it is one.

        Raises:
            ConfigError: As `set` does.
            ArgsError: As `set` does.
        """
        async with self._database.acquire() as connection:
            return await self._database.state.set_value(
                connection, _stored(key), _written(value), _seconds(ttl), if_absent=True
            )

    async def delete(self, key: str) -> bool:
        """Delete a key, and say whether it had a value."""
        async with self._database.acquire() as connection:
            return await self._database.state.delete_value(connection, _stored(key))

    async def increment(self, key: str, by: int = 1, ttl: Duration | None = None) -> int:
        """Add to the number of a key, and give the sum; what is missing or has expired starts at 0.

        Args:
            key: 1 to 512 characters.
            by: How much, also less than 0.
            ttl: How long a number that starts with this call is kept (seconds if a number); one that is there keeps
                its time. So a counter of an hour is an hour's, however often it is added to.

        Raises:
            ConfigError: If the key holds something else than a whole number, or an argument can't be right.
        """
        if isinstance(by, bool) or by not in INT64:
            raise ConfigError(f"by: expected a whole number of 64 bits, got {by!r}")
        async with self._database.acquire() as connection:
            total = await self._database.state.increment_value(connection, _stored(key), by, _seconds(ttl))
        if total is None:
            raise ConfigError(f"key {brief(key)}: expected a whole number to add to, and its value is something else")
        return total


def _stored(key: str) -> str:
    if not is_key(key):
        raise ConfigError(f"key: expected text of 1 to {KEY_LENGTH} characters, got {brief(key)}")
    return scoped(key)


def _written(value: object) -> str:
    written = encode_json(value, "value", MAX_VALUE_BYTES)
    if path := find_secret(value, "value"):
        raise ArgsError(path, "is a secret, and would be stored as asterisks; give its value if it is to be kept")
    return written


def _seconds(ttl: Duration | None) -> float | None:
    try:
        return None if ttl is None else positive(ttl).total_seconds()
    except ValueError as error:
        raise ConfigError(f"ttl: {error}") from None
