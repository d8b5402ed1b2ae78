"""The page of incidents names tests that exist, and says of every incident what holds it."""

from __future__ import annotations

import re

from tests.docs.blocks import ROOT

PAGE = ROOT / "docs" / "incidents.md"
INCIDENTS = 40


def lines() -> list[tuple[int, str]]:
    """Give each incident's number and what holds it."""
    rows = re.findall(r"^\| (\d+) \| .* \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [(int(number), held_by) for number, held_by in rows]


def test_every_incident_has_a_line() -> None:
    """All of them, in order."""
    assert [number for number, _ in lines()] == list(range(1, INCIDENTS + 1))


def test_every_test_named_there_exists() -> None:
    """A function of that name, somewhere under tests/."""
    code = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"def (test_\w+)\(", code))
    named = {name for _, held_by in lines() for name in re.findall(r"`(test_\w+)`", held_by)}
    assert named - there == set()


def test_what_no_test_holds_is_open_in_an_issue() -> None:
    """With the reason."""
    silent = [number for number, held_by in lines() if "`test_" not in held_by and "open, issue" not in held_by]
    assert silent == []
    assert all(re.search(r"issue \d+: \w+", held_by) or "`test_" in held_by for _, held_by in lines())
