"""The pages about the house are true."""

from __future__ import annotations

import runpy
from pathlib import Path

from tests.docs.blocks import ROOT


def test_the_state_machine_is_drawn_from_the_table() -> None:
    """The drawing in architecture.md is what the table of transitions gives."""
    drawing = runpy.run_path(str(ROOT / "docs" / "draw_states.py"))
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

    assert page == drawing["with_diagram"](page), "run: python docs/draw_states.py"


def test_the_map_names_every_room() -> None:
    """Every module and folder of the package is on the map in architecture.md."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    package = ROOT / "src" / "workerqueue"
    rooms = {each.stem for each in package.iterdir() if each.suffix == ".py" or (each / "__init__.py").exists()}

    assert {room for room in rooms if not room.startswith("__") and room not in page} == set()


def test_every_file_says_in_its_first_line_what_it_is_about() -> None:
    """Every Python file begins with a docstring, every statement with a comment."""
    python = [file for folder in ("src", "tasks", "docs") for file in (ROOT / folder).rglob("*.py")]
    silent = [file for file in python if not file.read_text(encoding="utf-8").startswith('"""')]
    statements = sorted(Path(ROOT / "src/workerqueue/database").rglob("*.sql"))
    silent += [file for file in statements if not file.read_text(encoding="utf-8").startswith("-- ")]

    assert silent == []
    assert statements


def test_no_file_names_a_package_registry() -> None:
    """The pinned requirements hold no index address."""
    pinned = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")

    assert [line for line in pinned.splitlines() if "://" in line or "--index" in line] == []
