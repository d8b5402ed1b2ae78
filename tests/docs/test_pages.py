"""The examples of the pages in docs/ run: the Python of a page from its first block to its last, with a `client`."""

from __future__ import annotations

import ast
import inspect
import sys
import tomllib
from collections.abc import Awaitable
from pathlib import Path
from types import CodeType
from typing import cast

import pytest

from tests.conftest import MakeClient
from tests.docs.blocks import ROOT, blocks
from workerqueue import Workers
from workerqueue.config import TaskConfig
from workerqueue.toml_tables import read_tables

PAGES = sorted(
    str(page.relative_to(ROOT))
    for page in (ROOT / "docs").glob("*.md")
    if any(block.language in {"python", "toml"} for block in blocks(str(page.relative_to(ROOT))))
)


def test_there_are_pages() -> None:
    """They are found."""
    assert "docs/keys.md" in PAGES


@pytest.mark.parametrize("page", PAGES)
async def test_the_python_of_a_page_runs(
    make_client: MakeClient,
    database_url: str,
    schema: str,
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its own assertions hold; each block goes on where the one before it ended, or is a file for those after it."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert any("assert " in block.text for block in blocks(page) if block.language == "python")
    scope: dict[str, object] = {
        "client": make_client(Workers()),
        "url": database_url,
        "schema": schema,
        "__name__": "example",
    }
    for block in blocks(page):
        if block.file is not None:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            code = compile(block.text, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            await _run(code, scope)


@pytest.mark.parametrize("page", PAGES)
def test_the_toml_of_a_page_is_a_task_table(tmp_path_factory: pytest.TempPathFactory, page: str) -> None:
    """Each block is read as one."""
    for block in blocks(page):
        if block.language == "toml":
            assert tomllib.loads(block.text)
            file = tmp_path_factory.mktemp("page") / "tasks.toml"
            file.write_text(block.text, encoding="utf-8")
            assert read_tables(file, TaskConfig)


async def _run(code: CodeType, scope: dict[str, object]) -> None:
    if code.co_flags & inspect.CO_COROUTINE:
        await cast("Awaitable[object]", eval(code, scope))  # noqa: S307 - our own pages
    else:
        exec(code, scope)  # noqa: S102 - our own pages
