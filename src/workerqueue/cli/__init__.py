"""The command line: `workerqueue run | dev | migrate | insert | tasks | version`."""

from workerqueue.cli.main import main

__all__ = ["main"]
