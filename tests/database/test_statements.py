"""The statements as files: each used once, each with a head that says what it is for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import workerqueue

PACKAGE = Path(workerqueue.__file__).parent
FILES = sorted(PACKAGE.joinpath("database", "sql").glob("*.sql"))
SOURCE = {path: path.read_text() for path in PACKAGE.rglob("*.py")}


PLACES = {
    "make_partition": {"{name}", "{from}", "{to}"},
    "delete_finalized": {"{table}"},
    "drop_day": {"{table}"},
    "drop_index": {"{index}"},
    "rebuild_index": {"{index}"},
    "limit_time": {"{milliseconds}"},
}
"""Names of tables and indexes from the catalog, days, and a number: no statement of these kinds takes parameters."""


def head(text: str) -> str:
    """Give the comment that a statement begins with."""
    lines: list[str] = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line.removeprefix("--").strip())
    return "\n".join(lines)


def test_there_are_statements() -> None:
    """The folder is found."""
    assert len(FILES) > 10


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_a_statement_is_used_by_one_method(file: Path) -> None:
    """Exactly one function of the database package loads it; statements about jobs are loaded by their namesake."""
    users: list[str] = []
    for path, source in SOURCE.items():
        for body in re.split(r"\n(?=(?:    )?(?:async )?def )", source):
            if f'"{file.stem}"' in body and re.search(rf'(?:statement|_about)\(\s*"{file.stem}"', body):
                name = re.match(r"\s*(?:async )?def (\w+)", body)
                users.append(f"{path.relative_to(PACKAGE)}:{name[1] if name else '?'}")
    own = [user for user in users if not user.endswith(":migrations_script")]
    assert len(own) == 1 or (file.stem.startswith(("create_", "record_migration", "lock_")) and own), users
    assert all(user.startswith("database/") for user in users)
    if own[0].startswith("database/jobs.py"):
        assert own == [f"database/jobs.py:{file.stem}"]


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_a_statement_says_what_it_does_for_whom_and_with_what(file: Path) -> None:
    """The head comment has a sentence, every `$n` of the text, and who calls it."""
    text = file.read_text()
    said = head(text)
    assert re.match(r"[A-Z].*", said), "a head comes first"
    assert re.search(r"^Called by: .+\.$", said, re.MULTILINE)
    code = text.split("\n", said.count("\n") + 1)[-1]
    used = set(re.findall(r"\$\d+", re.sub(r"--.*", "", code)))
    assert used == set(re.findall(r"\$\d+(?= )", said.replace("where $8", "where")))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_a_statement_keeps_to_its_schema(file: Path) -> None:
    """Every table is named with the schema's placeholder; nothing else is filled in but what can't be a parameter."""
    code = re.sub(r"--.*", "", file.read_text())
    assert set(re.findall(r"\{[a-z]\w*\}", code)) <= {"{schema}"} | PLACES.get(file.stem, set())
    for table in ("job", "job_all", "job_finalized", "migration"):
        assert not re.search(rf"\b(?:from|into|update|join) {table}\b(?!\s*\()", code)
