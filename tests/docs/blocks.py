"""The code blocks of a Markdown page, each with the remark in the line before it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(r"(?:<!-- (?P<remark>[^\n]*?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)```", re.DOTALL)


class Block(NamedTuple):
    """One code block."""

    remark: str
    """Such as `file: tasks.py`, `test` or `run`; empty where there is none."""
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that the block stands for."""
        return self.remark.removeprefix("file: ") if self.remark.startswith("file: ") else None


def blocks(page: str) -> list[Block]:
    """Read the blocks of a page of this repository."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(each["remark"] or "", each["language"], each["text"]) for each in _BLOCK.finditer(text)]
