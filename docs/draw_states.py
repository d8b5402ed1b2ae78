"""Draws the state machine into `architecture.md` from the table of transitions: `python docs/draw_states.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from workerqueue.job import FINAL, TRANSITIONS, JobState

PAGE: Final = Path(__file__).with_name("architecture.md")
BEGIN: Final = "<!-- states: drawn by docs/draw_states.py -->\n"
END: Final = "<!-- end of states -->"


def diagram() -> str:
    """Give the state machine as a Mermaid drawing."""
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f"    {_name(step.source)} --> {step.target}: {step.event}" for step in TRANSITIONS]
    lines += [f"    {state} --> [*]" for state in JobState if state in FINAL]
    return "\n".join([*lines, "```"]) + "\n"


def with_diagram(page: str) -> str:
    """Put the drawing into the page, in place of the one that is there."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + diagram() + END + after


def _name(state: JobState | None) -> str:
    return "[*]" if state is None else state.value


if __name__ == "__main__":
    PAGE.write_text(with_diagram(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
