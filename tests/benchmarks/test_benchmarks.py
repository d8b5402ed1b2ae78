"""The benchmarks run and answer what they were asked; what they time is not looked at here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

import pytest

from benchmarks.__main__ import main
from benchmarks.catalog import BENCHMARKS

ELSEWHERE: Final = {"server_cpu_us", "total_server_cpu_us", "many_server_cpu_us", "single_server_cpu_us"} | {
    "server_cpu_percent"
}
"""What can't be seen of a server on another machine or in a container."""

Document = Mapping[str, object]


def run(name: str, url: str, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, Document]:
    """Run a benchmark at a test's size, and give its exit code and the document it prints."""
    code = main([name, "--tiny", "--json", "--url", url, *more])
    document: Document = json.loads(capsys.readouterr().out)
    return code, document


# `peers` installs the peers where they are not: test_peers.py runs its parts.
@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name != "peers"])
def test_every_benchmark_gives_its_figures(name: str, database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A benchmark ends without an error, and its JSON has a median, a range and a value per repeat of each figure."""
    code, document = run(name, database_url, capsys)

    (answer,) = cast("list[Document]", document["benchmarks"])
    figures = cast("Mapping[str, Document]", answer["figures"])
    assert (None, 0) == (answer["error"], code)
    assert {each.name for each in BENCHMARKS[name].FIGURES} == figures.keys()
    measured = {each for each, figure in figures.items() if figure.keys() >= {"median", "min", "max", "values"}}
    assert figures.keys() - measured <= ELSEWHERE


def test_the_document_says_where_it_ran(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON names commit, machine and versions, how often was measured, and nothing of the URL."""
    code, document = run("single", database_url, capsys, "--repeat", "2")

    machine = cast("Mapping[str, object]", document["machine"])
    (answer,) = cast("list[Document]", document["benchmarks"])
    assert code == 0
    assert answer["repeat"] == 2
    assert {"commit", "cores", "memory_gb", "cpu", "postgresql", "python", "asyncpg"} <= machine.keys()
    assert database_url not in json.dumps(document)


def test_a_benchmark_that_fails_says_why(
    database_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure is told in the document and by the exit code, and what was measured before it is kept."""

    async def fail(*_: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(BENCHMARKS["single"], "measure", fail)
    code, document = run("single", database_url, capsys)

    (answer,) = cast("list[Document]", document["benchmarks"])
    assert (1, "RuntimeError: the disk is full") == (code, answer["error"])


def test_all_writes_the_page(
    database_url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`all` writes RESULTS.md, which has a row for every figure of the issue's table."""

    async def nothing(*_: object) -> None: ...

    for benchmark in BENCHMARKS.values():
        monkeypatch.setattr(benchmark, "measure", nothing)
    code, _ = run("all", database_url, capsys, "--out", str(tmp_path))

    page = (tmp_path / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    wanted = [figure for benchmark in BENCHMARKS.values() for figure in benchmark.FIGURES if figure.is_wanted]
    assert code == 0
    assert [each.says for each in wanted if f"{each.says} ({each.unit}) | {each.wanted} |" not in page] == []
    assert len(wanted) == 43
