"""How the commands write log lines."""

from __future__ import annotations

import logging

import pytest

from workerqueue import context
from workerqueue.cli.logs import FieldFormatter


def _line(**fields: object) -> str:
    record = logging.makeLogRecord({"msg": "Task completed", "levelno": logging.INFO, "levelname": "INFO"} | fields)
    return FieldFormatter().format(record)


def test_fields_stand_behind_the_message() -> None:
    """As they are, or quoted where they hold blanks."""
    assert _line(job_id=7, error="ValueError: no").endswith(' INFO    Task completed job_id=7 error="ValueError: no"')


@pytest.mark.req("B48")
def test_the_context_stands_on_every_line_that_is_written_under_it() -> None:
    """An application's own lines too; a field of the record comes before it."""
    with context(correlation_id="c-42", user="u 7", traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01"):
        line = _line(job_id=7)
        assert line.endswith(f'user="u 7" correlation_id=c-42 traceparent=00-{"1" * 32}-{"2" * 16}-01 job_id=7')
        assert " correlation_id=other" in _line(correlation_id="other")
    assert "correlation_id" not in _line(job_id=7)
