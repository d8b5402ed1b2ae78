"""The args that the client's tests share."""

from __future__ import annotations

from pydantic import JsonValue

from workerqueue import JobArgs


class Note(JobArgs):
    n: int = 0
    text: str = ""
    data: JsonValue = None

    @classmethod
    def kind(cls) -> str:
        return "note"
