"""How the commands write log lines: time, level, message, and the record's fields as `name=value`."""

from __future__ import annotations

import json
import logging
import sys

from workerqueue.job_context import current_context

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class FieldFormatter(logging.Formatter):
    """Writes a record on one line, its extra fields at the end."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Write the message, its fields, and what the context of the job says that wrote it."""
        said = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        fields = (f"{name}={_value(value)}" for name, value in (current_context().said | said).items())
        return " ".join([super().formatMessage(record), *fields])


def show_logs(level: str = "info") -> None:
    """Write this library's log to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FieldFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("workerqueue").setLevel(level.upper())


def _value(value: object) -> str:
    text = str(value)
    return text if text and text.isprintable() and " " not in text and '"' not in text else json.dumps(text)
