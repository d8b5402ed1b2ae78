"""The comparison with other queues asks each of them the same, and goes on without those that fail."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from benchmarks.bench import Bench, opened
from benchmarks.figures import Samples
from benchmarks.peers import compare, database, environment, protocol, session
from benchmarks.peers.compare import FIGURES, PICTURE, WORKLOADS, Workload
from benchmarks.peers.database import installed, url_of
from benchmarks.peers.environment import NotInstalledError, is_ready, last_line, prepare, version_of
from benchmarks.peers.protocol import ASKED, Ran, Request
from benchmarks.peers.session import AdapterError
from benchmarks.peers.systems import OURS, PEERS, System
from benchmarks.peers.workloads import Found, drain, flow, insert
from benchmarks.sizes import TINY

NAMES: Final = {workload.name for workload in WORKLOADS}
BROKEN: Final = System("broken", "broken", 1_000)
"""A system whose adapter is not there."""


@pytest.fixture
async def bench(database_url: str) -> AsyncGenerator[Bench]:
    """A benchmark's surroundings, as small as they get."""
    async with opened(database_url, replace(TINY, peers_seconds=0.05), 1) as made:
        yield made


async def measured(bench: Bench, system: System) -> Found:
    """Ask a system for everything."""
    async with installed(bench, system) as template:
        found: Found = {}
        for case in (insert, drain, flow):
            found |= await case(bench, system, template)
        return found


def our_python(_: System) -> Path:
    """Give an interpreter that is there."""
    return environment.python_of(OURS)


async def test_our_adapter_answers_every_workload(bench: Bench) -> None:
    """Ours is measured by the protocol that the peers are measured by, and leaves no database behind."""
    before = await bench.sql.fetchval("select count(*) from pg_database")
    found = await measured(bench, OURS)

    assert found.keys() >= NAMES - {"server_cpu_us"}  # which a server elsewhere does not show
    assert all(value > 0 for name, value in found.items() if name != "server_cpu_us")
    assert await bench.sql.fetchval("select count(*) from pg_database") == before


@pytest.mark.parametrize("system", PEERS, ids=[system.name for system in PEERS])
async def test_a_peer_answers_every_workload(system: System, bench: Bench) -> None:
    """Its own worker runs as many jobs as were inserted, and its database shows them as completed."""
    if not is_ready(system):
        pytest.skip(f"{system.name} is not installed: make peers")
    found = await measured(bench, system)

    assert found.keys() >= NAMES - {"server_cpu_us"}
    assert all(value > 0 for name, value in found.items() if name != "server_cpu_us")


async def test_what_fails_in_an_adapter_is_told(bench: Bench) -> None:
    """An error is the answer to what was asked, and the next request is answered as ever."""
    async with installed(bench, OURS) as template, session.opened(OURS, url_of(bench, template)) as asked:
        with pytest.raises(AdapterError, match="KeyError"):
            await asked.ask(Request("dance"))
        failed, opens = asked.begin(Request("insert_many", jobs=1)), asked.begin(Request("open"))
        with pytest.raises(AdapterError, match="AttributeError"):
            await failed
        assert (await opens).error is None
        assert (await asked.ask(Request("insert_many", jobs=1))).seconds > 0


async def test_an_adapter_that_ends_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its process said last is the error of every request, also of those that come too late."""
    monkeypatch.setattr(session, "python_of", our_python)
    async with session.opened(BROKEN, url_of(bench, "nowhere")) as asked:
        requests = [asked.begin(Request("open")), asked.begin(Request("start"))]
        for request in requests:
            with pytest.raises(AdapterError, match=r"No module named '?benchmarks\.peers\.adapters\.broken"):
                await asyncio.wait_for(request, 30)
        with pytest.raises(AdapterError, match="No module named"):
            await asked.ask(Request("open"))


async def test_a_database_that_an_adapter_could_not_fill_is_dropped(bench: Bench) -> None:
    """A peer that can't be started leaves nothing behind."""
    before = await bench.sql.fetchval("select count(*) from pg_database")
    with pytest.raises(AdapterError, match="broken can't be started"):
        async with installed(bench, BROKEN):
            pytest.fail("it was installed")

    assert await bench.sql.fetchval("select count(*) from pg_database") == before


async def test_the_comparison_goes_on_without_those_that_fail(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that is not installed and one that fails are named with the reason; ours has its figures, no ratio."""
    missing = System("missing", "missing", 1_000)

    def fail(system: System) -> None:
        if system is missing:
            raise NotInstalledError("no wheel for this machine")

    def one(_: System) -> str:
        return "1.0"

    monkeypatch.setattr(compare, "PEERS", (missing, BROKEN))
    monkeypatch.setattr(compare, "prepare", fail)
    monkeypatch.setattr(compare, "version_of", one)
    samples = Samples()
    await compare.measure(bench, samples)

    told = [note for note in samples.notes if "missing" in note or "broken" in note]
    assert told == [
        "missing is missing, since it could not be installed: no wheel for this machine",
        "broken is broken 1.0",
        "broken: install failed: broken can't be started: No such file or directory",
    ]
    assert {f"{name}_workerqueue" for name in NAMES - {"server_cpu_us"}} <= samples.values.keys()
    assert not [name for name in samples.values if name.endswith("_ratio")]


@pytest.mark.parametrize(
    ("less_is_better", "peers", "ratio"),
    [(False, [50.0, 200.0], 0.5), (True, [50.0, 200.0], 0.5), (True, [300.0], 3.0), (False, [], None)],
)
def test_ours_is_held_against_the_best(*, less_is_better: bool, peers: list[float], ratio: float | None) -> None:
    """Above 1 ours is better than every peer, whichever way the figure goes; without a peer there is no ratio."""
    workload = Workload("w", "how", "x", less_is_better=less_is_better)
    found: dict[System, Found] = {OURS: {"w": 100.0}}
    found |= {system: {"w": value} for system, value in zip(PEERS, peers, strict=False)}

    assert workload.ratio(found | {BROKEN: {}}) == ratio


def test_every_workload_has_a_wanted_row() -> None:
    """There is a figure for each system, and a ratio that is wanted to be 1 or more; the picture shows what exists."""
    names = {figure.name for figure in FIGURES}

    assert {f"{workload.name}_{system.name}" for workload in WORKLOADS for system in (OURS, *PEERS)} <= names
    assert [figure.name for figure in FIGURES if figure.at_least == 1.0] == [
        f"{workload.name}_ratio" for workload in WORKLOADS if workload.is_wanted
    ]
    assert set(PICTURE) <= names
    assert len(names) == len(FIGURES)


async def test_jobs_that_ran_are_counted() -> None:
    """A count that was reached is told with the moment it was; one that was passed, with how many there are now."""
    ran = Ran()
    reaching = asyncio.create_task(ran.reach(2))
    await asyncio.sleep(0)
    ran.hit(0)
    assert not reaching.done()
    ran.hit(0)
    ran.hit(0)
    reached, at = await asyncio.wait_for(reaching, 1)
    now, later = await ran.reach(1)

    assert (2, 3) == (reached, now)
    assert ran.first <= at <= later


async def test_a_start_that_is_awaited_is_told_once() -> None:
    """The job with the number that is waited for tells when it started, and no other does."""
    ran = Ran()
    started: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    ran.awaited[7] = started
    ran.hit(6)
    assert not started.done()
    ran.hit(7)
    ran.hit(7)

    assert ran.first <= await started
    assert ran.awaited == {}


def test_every_peer_is_pinned() -> None:
    """Each has its adapter, its statement, and hashes for every package it installs, and none names an index."""
    for system in PEERS:
        lines = (environment.REQUIREMENTS / f"{system.name}.txt").read_text(encoding="utf-8").splitlines()
        packages = [number for number, line in enumerate(lines) if "==" in line]
        assert version_of(system)
        assert [lines[number] for number in packages if "--hash=sha256:" not in lines[number + 1]] == []
        assert [line for line in lines if "://" in line or "--index" in line or "--find" in line] == []
        assert (environment.REQUIREMENTS.parent / "adapters" / f"{system.name}.py").is_file()
    statements = sorted(file.name for file in database.FOLDER.glob("*"))
    assert statements == sorted(f"{system.name}_all_completed.sql" for system in (OURS, *PEERS))


def test_an_environment_is_made_anew_when_the_pins_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ready while it holds what is pinned, and ours always is."""
    monkeypatch.setattr(environment, "FOLDER", tmp_path)
    peer = PEERS[0]
    assert not is_ready(peer)
    pins = (environment.REQUIREMENTS / f"{peer.name}.txt").read_bytes()
    (tmp_path / peer.name).mkdir()
    (tmp_path / peer.name / "installed.txt").write_bytes(pins)
    assert is_ready(peer)
    prepare(peer)
    (tmp_path / peer.name / "installed.txt").write_bytes(pins + b"\n")

    assert not is_ready(peer)
    assert is_ready(OURS)


def test_an_environment_that_can_not_be_made_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last line of what failed is the reason, and the environment is not ready."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho something >&2\necho 'ERROR: no such package' >&2\nexit 1\n", encoding="utf-8")
    python.chmod(0o700)
    monkeypatch.setattr(environment, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(NotInstalledError, match=r"^ERROR: no such package$"):
        prepare(PEERS[0])

    assert not is_ready(PEERS[0])
    assert last_line("\n \n") == ""


def test_the_protocol_is_written_down() -> None:
    """Every request that an adapter answers stands in the table of the module's head."""
    head = protocol.__doc__ or ""

    assert [do for do in ASKED if f"| `{do}` |" not in head] == []
