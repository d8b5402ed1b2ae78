"""A file of JSON lines that outlives its writer: each append is one write, on disk when it returns if asked for."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

Entry = Mapping[str, object]


class Journal:
    """Appends entries; any number of processes may share one file."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        if path.stat().st_size:
            os.write(self._file, b"\n")  # the last line of a writer that was killed may be torn

    def add(self, *entries: Entry) -> None:
        """Append entries; a kill of this process can't take them back."""
        os.write(self._file, b"".join(json.dumps(entry).encode() + b"\n" for entry in entries))

    def sync(self) -> None:
        """Wait until all there is would survive a loss of power."""
        os.fsync(self._file)


def read(paths: Sequence[Path]) -> Iterator[dict[str, object]]:
    """Give the entries of some journals; a torn line was never acknowledged to anybody."""
    for path in paths:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if isinstance(entry, dict):
                    yield entry
