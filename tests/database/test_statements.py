"""The statements as files: each used once, each with a head that says what it is for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import workerqueue
from workerqueue.database.statements import whole

PACKAGE = Path(workerqueue.__file__).parent
FILES = sorted(PACKAGE.joinpath("database", "sql").glob("*.sql"))
PARTS = sorted(PACKAGE.joinpath("database", "sql", "parts").glob("*.sql"))
SOURCE = {path: path.read_text() for path in PACKAGE.rglob("*.py")}


PLACES = {
    "make_partition": {"{name}", "{from}", "{to}"},
    "delete_finalized": {"{table}"},
    "drop_day": {"{table}", "{day}"},
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


def below(text: str) -> str:
    """Give what comes after the head, without its comments."""
    return re.sub(r"--.*", "", text.split("\n", head(text).count("\n") + 1)[-1])


def test_there_are_statements() -> None:
    """The folders are found."""
    assert len(FILES) > 10
    assert PARTS


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
    if (table := own[0].split(":")[0]) in ("database/jobs.py", "database/queues.py"):
        assert own == [f"{table}:{file.stem}"]


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_a_statement_says_what_it_does_for_whom_and_with_what(file: Path) -> None:
    """The head comment has a sentence, every `$n` of the text with its parts in place, and who calls it."""
    text = whole(file.stem)
    said = head(text)
    assert re.match(r"[A-Z].*", said), "a head comes first"
    assert re.search(r"^Called by: .+\.$", said, re.MULTILINE)
    used = set(re.findall(r"\$\d+", below(text)))
    assert used == set(re.findall(r"\$\d+(?= )", said.replace("where $8", "where")))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_a_statement_keeps_to_its_schema(file: Path) -> None:
    """Every table is named with the schema's placeholder; nothing else is filled in but what can't be a parameter."""
    code = re.sub(r"--.*", "", whole(file.stem))
    assert set(re.findall(r"\{[a-z][\w ]*\}", code)) <= {"{schema}"} | PLACES.get(file.stem, set())
    for table in ("job", "job_all", "job_finalized", "dynamic_queue", "queue", "gate", "migration"):
        assert not re.search(rf"\b(?:from|into|update|join) {table}\b(?!\s*\(|\.)", code)


def places(name: str) -> int:
    """Count where a part comes to stand in statements, by itself or within another part."""
    named = f"{{part {name}}}"
    by_itself = sum(file.read_text().count(named) for file in FILES)
    return by_itself + sum(places(file.stem) for file in PARTS if named in file.read_text())


@pytest.mark.parametrize("file", PARTS, ids=lambda path: path.stem)
def test_a_part_says_what_it_is_and_is_shared(file: Path) -> None:
    """It has a head, which it leaves behind where it stands, and stands in more than one place."""
    said = head(file.read_text())
    assert re.match(r"[A-Z].*", said), "a head comes first"
    assert "Called by:" not in said, "that is for the statements to say"
    assert not any(said.splitlines()[0] in whole(each.stem) for each in FILES)
    assert places(file.stem) > 1
