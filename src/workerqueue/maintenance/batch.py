"""How much a chore takes on at once: half as much after a timeout, and slowly more again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Batch:
    """A size that adapts."""

    size: int
    most: int

    def shrink(self) -> bool:
        """Halve it after a timeout, and say whether that could be."""
        smaller = self.size > 1
        self.size = max(self.size // 2, 1)
        return smaller

    def grow(self) -> None:
        """Take a tenth more after a success."""
        self.size = min(self.size + self.size // 10 + 1, self.most)
