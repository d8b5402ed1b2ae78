"""The driver's errors in this library's words: what happened and the cure, never a value of a statement."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import asyncpg

from workerqueue.errors import DatabaseError, DatabaseUnavailableError, SchemaError

# The server can't be reached, is starting, stopping or full, or the connection was lost.
UNAVAILABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what the driver makes of a connection that broke in the middle of something
    asyncpg.ReadOnlySQLTransactionError,  # it was the primary's when the connection was made
)
_NOT_MIGRATED = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InvalidSchemaNameError)

STATEMENTS_ARE_LOST = (
    "the connection goes through a pooler in transaction mode, where prepared statements are lost: make it (or its "
    "pool) with statement_cache_size=0, or set max_prepared_statements in PgBouncer 1.21 or newer"
)

TAKES_NO_WRITES = (
    "this PostgreSQL takes no writes: it is a replica, or default_transaction_read_only is on; give the primary's URL "
    "(or postgresql://a,b/… to have it found), or: alter role … set default_transaction_read_only = off"
)
_CANCELLED = (
    "PostgreSQL is not available: a statement was cancelled (57014), by an administrator or because statement_timeout "
    "of the role, database or pool is too short"
)

# Classes of SQLSTATE that blame the data of a statement rather than the statement or the server.
_DATA_CLASSES = ("22", "23", "54")


class RefusedDataError(DatabaseError):
    """PostgreSQL refused a value of a statement."""


@contextmanager
def in_our_words(schema: str) -> Generator[None]:
    """Raise what the driver raises as `DatabaseError`s.

    The driver's own error is not chained: its text holds the values of the statement.
    """
    try:
        yield
    except asyncpg.DataError as error:  # also an InterfaceError when the driver itself can't encode a value
        raise RefusedDataError(f"a statement holds a value that can't be stored: {_describe(error)}") from None
    except asyncpg.ReadOnlySQLTransactionError:
        raise DatabaseUnavailableError(TAKES_NO_WRITES) from None
    except asyncpg.QueryCanceledError:
        raise DatabaseUnavailableError(_CANCELLED) from None
    except UNAVAILABLE as error:
        raise DatabaseUnavailableError(f"PostgreSQL is not available: {_describe(error)}") from None
    except _NOT_MIGRATED:
        raise SchemaError(
            f"schema {schema!r} is not migrated: run `workerqueue migrate up --schema {schema}`, "
            f"or await migrate(database, schema={schema!r})"
        ) from None
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError):
        raise DatabaseError(STATEMENTS_ARE_LOST) from None
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        why = "there is no such database" if error.sqlstate == "3D000" else "wrong user or password"
        raise DatabaseError(f"PostgreSQL does not let us in: {why} ({error.sqlstate})") from None
    except asyncpg.PostgresError as error:
        kind = RefusedDataError if (error.sqlstate or "")[:2] in _DATA_CLASSES else DatabaseError
        raise kind(f"PostgreSQL refused a statement: {_describe(error)}") from None


def _describe(error: BaseException) -> str:
    """Name an error by its class and code: texts of the driver repeat values and addresses."""
    if isinstance(error, asyncpg.PostgresError):
        return f"{type(error).__name__} ({error.sqlstate})"
    if isinstance(error, asyncpg.InterfaceError) and not isinstance(error, asyncpg.DataError):
        return f"{type(error).__name__} ({error})"  # about the use of a connection; holds no value
    if isinstance(error, OSError) and error.strerror:
        return f"{type(error).__name__} ({error.strerror})"
    return type(error).__name__
