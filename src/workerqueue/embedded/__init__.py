"""A PostgreSQL for development: found or started."""

from workerqueue.embedded.chain import postgres
from workerqueue.embedded.server import Server

__all__ = ["Server", "postgres"]
