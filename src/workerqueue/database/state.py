"""The statements of what applications keep here: one method per statement, named as its file."""

from __future__ import annotations

from workerqueue.database.caller import Connection
from workerqueue.database.driver_errors import in_our_words
from workerqueue.database.rows import Taken
from workerqueue.database.statements import CALL_TIMEOUT, statement


class StateTable:
    """The statements over `value` and `lease` in one schema."""

    def __init__(self, schema: str) -> None:
        self._schema = schema

    async def get_value(self, connection: Connection, key: str) -> str | None:
        """Read a value as JSON."""
        with in_our_words(self._schema):
            value: str | None = await connection.fetchval(
                statement("get_value", self._schema), key, timeout=CALL_TIMEOUT
            )
        return value

    async def set_value(
        self, connection: Connection, key: str, value: str, ttl: float | None, *, if_absent: bool
    ) -> bool:
        """Set a value; say whether it was set."""
        with in_our_words(self._schema):
            rows = await connection.fetch(
                statement("set_value", self._schema), key, value, ttl, if_absent, timeout=CALL_TIMEOUT
            )
        return bool(rows)

    async def delete_value(self, connection: Connection, key: str) -> bool:
        """Delete a value; say whether there was one."""
        with in_our_words(self._schema):
            was_there: bool | None = await connection.fetchval(
                statement("delete_value", self._schema), key, timeout=CALL_TIMEOUT
            )
        return bool(was_there)

    async def increment_value(self, connection: Connection, key: str, by: int, ttl: float | None) -> int | None:
        """Add to a number; give the sum, `None` where the value is none."""
        with in_our_words(self._schema):
            total: str | None = await connection.fetchval(
                statement("increment_value", self._schema), key, by, ttl, timeout=CALL_TIMEOUT
            )
        return None if total is None else int(total)

    async def take_lease(self, connection: Connection, key: str, limit: int, token: int, ttl: float) -> Taken:
        """Take one of so many leases."""
        with in_our_words(self._schema):
            rows = await connection.fetch(
                statement("take_lease", self._schema), key, limit, token, ttl, timeout=CALL_TIMEOUT
            )
        return Taken._make(rows[0])

    async def renew_lease(self, connection: Connection, key: str, place: int, token: int, ttl: float) -> bool:
        """Hold a lease for longer; say whether it was still held."""
        with in_our_words(self._schema):
            rows = await connection.fetch(
                statement("renew_lease", self._schema), key, place, token, ttl, timeout=CALL_TIMEOUT
            )
        return bool(rows)

    async def end_lease(self, connection: Connection, key: str, place: int, token: int) -> None:
        """Give a lease back."""
        with in_our_words(self._schema):
            await connection.execute(statement("end_lease", self._schema), key, place, token, timeout=CALL_TIMEOUT)

    async def expire_values(self, connection: Connection, limit: int, *, timeout: float) -> int:
        """Forget what has expired, at most so many; say how many."""
        with in_our_words(self._schema):
            forgotten: int = await connection.fetchval(statement("expire_values", self._schema), limit, timeout=timeout)
        return forgotten
