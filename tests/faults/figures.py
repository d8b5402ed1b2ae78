"""The figures of a run: how often each fault struck, what was measured, and what the limit is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.faults.checks import Verdict
from tests.faults.ledger import script
from tests.faults.nemesis import Strike
from tests.faults.profiles import Profile
from workerqueue.database import Connection

RECOVERY: Final = {"terminate": 2.0, "crash": 2.0, "restart": 5.0, "kill_server": 5.0, "outage": 5.0}
"""Seconds after the end of a fault until jobs end again."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    fault: str
    times: int
    figure: str
    limit: str
    met: bool


@dataclass(frozen=True, slots=True)
class Totals:
    """What went through."""

    acknowledged: int
    jobs: int
    completed: int
    discarded: int
    starts: int
    rescued: int
    refused: int
    pickup_p99: float
    declared_dead: int


async def totals(connection: Connection) -> Totals:
    """Count what went through."""
    (row,) = await connection.fetch(script("figure_totals"))
    return Totals(**dict(row))


async def figures(
    connection: Connection,
    profile: Profile,
    strikes: Sequence[Strike],
    verdicts: Sequence[Verdict],
    total: Totals,
    log_lines: int,
) -> list[Row]:
    """Give the table's lines; `log_lines` is the most that one loop said of a database that was away in a second."""
    found = {verdict.name: verdict.violations for verdict in verdicts}
    times = {kind: sum(strike.kind == kind for strike in strikes) for kind in profile.faults}
    lost, double = found["h1_lost"] + found["h1_left"], found["h2_double"]
    stale = found["h5_stale"] + found["h5_writer"] + found["h5_ends"]
    # Every process may lose what it has in hand when the server goes; slots keep as much again claimed ahead.
    at_stake = sum(
        profile.slots * (profile.workers if strike.pid is None else 1) * 2
        for strike in strikes
        if strike.kind not in ("kill_inserter", "cut_commit")
    )
    rows = [
        Row("any", len(strikes), f"{lost} lost of {total.acknowledged}", "0", not lost),
        Row("any", len(strikes), f"{double} inserted twice", "0", not double),
        Row("any", len(strikes), f"{total.rescued} runs lost", f"≤ {at_stake}", total.rescued <= at_stake),
        Row(
            "blocked loop, none",
            total.declared_dead,
            f"{found['h8_false_death']} false deaths",
            "0",
            not found["h8_false_death"],
        ),
        Row("freeze", times.get("freeze", 0), f"{stale} stale writes accepted", "0", not stale),
        Row(
            "freeze",
            times.get("freeze", 0),
            f"{found['h6_refused']} refused while good ({total.refused} in all)",
            "0",
            not found["h6_refused"],
        ),
    ]
    rows += await _rerun(connection, profile, times.get("kill", 0))
    rows += [_exits(profile, [strike for strike in strikes if strike.kind == "term"])] if times.get("term") else []
    rows += await _left_by_stops(connection, times["term"]) if times.get("term") else []
    for kind, limit in RECOVERY.items():
        if times.get(kind):
            rows.append(await _recovery(connection, kind, times[kind], limit))
    rows.append(Row("any", len(strikes), f"{log_lines} log lines a second a loop at most", "≤ 1", log_lines <= 1))
    return rows


async def _rerun(connection: Connection, profile: Profile, times: int) -> list[Row]:
    (row,) = await connection.fetch(script("figure_rerun"))
    if row["p99"] is None:
        return []
    figure = f"{row['jobs']} run again, p99 {row['p99']:.1f} s after the kill"
    return [Row("kill", times, figure, f"≤ {profile.rerun:g} s", row["p99"] <= profile.rerun)]


async def _left_by_stops(connection: Connection, times: int) -> list[Row]:
    left = await connection.fetchval(script("figure_left"))
    return [Row("term", times, f"{left} runs left behind", "0", not left)]


def _exits(profile: Profile, terms: Sequence[Strike]) -> Row:
    longest = max(strike.until - strike.at for strike in terms)
    limit = profile.stop_timeout + 2
    return Row("term", len(terms), f"exit after {longest:.1f} s at most", f"≤ {limit:g} s", longest <= limit)


async def _recovery(connection: Connection, kind: str, times: int, limit: float) -> Row:
    (row,) = await connection.fetch(script("figure_recovery"), kind)
    longest = row["longest"] or 0.0
    return Row(kind, times, f"working again after {longest:.1f} s at most", f"≤ {limit:g} s", longest <= limit)
