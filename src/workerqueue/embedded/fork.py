"""What this process holds open and a forked copy of it must not."""

from __future__ import annotations

import os
from typing import IO
from weakref import WeakSet

# A child that execs loses these by close-on-exec. One that only forks (multiprocessing, os.fork) would keep
# the server running after its parent, and its directory locked.
_private: WeakSet[IO[bytes]] = WeakSet()


def close_in_forks(file: IO[bytes]) -> None:
    """Close a file in every process forked from now on."""
    _private.add(file)


def _close_all() -> None:
    for file in list(_private):
        file.close()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_close_all)
