"""Where the database is: its URL, given or found in the environment."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from workerqueue.errors import ConfigError

_URL_VARIABLES: Final = ("WORKERQUEUE_DATABASE_URL", "DATABASE_URL")
_PG_VARIABLES: Final = ("PGHOST", "PGSERVICE", "PGDATABASE")


def database_is_named() -> bool:
    """Tell whether the environment says which database to use."""
    return any(os.environ.get(variable) for variable in (*_URL_VARIABLES, *_PG_VARIABLES))


def find_database_url() -> str | None:
    """Find the database in the environment; `None` leaves it to the `PG*` variables.

    Raises:
        ConfigError: If nothing there says which database to use.
    """
    for variable in _URL_VARIABLES:
        if url := os.environ.get(variable):
            return url
    if database_is_named():
        return None
    raise ConfigError(
        "no database given: pass its URL (--database-url postgresql://…), or set "
        f"{', '.join(_URL_VARIABLES)} or PGHOST and its kin; `workerqueue dev` starts one for you"
    )


@contextmanager
def url_can_be_read() -> Generator[None]:
    """Refuse a URL that the driver can't read; the driver's own text repeats it, password and all."""
    try:
        yield
    except (ValueError, OverflowError):  # the driver's ClientConfigurationError is the one, a large port the other
        raise ConfigError(
            "the database's URL can't be read; expected postgresql://user:password@host:port/database"
        ) from None
