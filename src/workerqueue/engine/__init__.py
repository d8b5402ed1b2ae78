"""The path of one job: notifier → producer → executor → completer."""

from workerqueue.engine.engine import Engine

__all__ = ["Engine"]
