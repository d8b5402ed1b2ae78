"""The path of one job: notifier → producer → executor → completer."""

from workerqueue.engine.ending import Ending
from workerqueue.engine.engine import Engine

__all__ = ["Ending", "Engine"]
