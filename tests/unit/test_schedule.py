"""When a schedule fires: expressions, zones, changes of the clocks, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from workerqueue.schedule import ALIASES, Cron, read_cron


def fires(cron: str, zone: str, after: str, most: int) -> list[str]:
    """List the next occurrences as the clocks of the zone show them."""
    read = read_cron(cron, zone)
    return [
        each.astimezone(read.zone).strftime("%m-%dT%H:%M:%S%z")
        for each in read.list_after(datetime.fromisoformat(after), most)
    ]


def test_five_fields_mean_local_time() -> None:
    """Nine in the morning is nine there, in winter and in summer."""
    assert fires("0 9 * * *", "Europe/Berlin", "2026-03-27T12:00:00+00:00", 2) == [
        "03-28T09:00:00+0100",
        "03-29T09:00:00+0200",
    ]


def test_six_fields_begin_with_seconds() -> None:
    """The first of six fields is the second."""
    assert fires("*/20 0 9 * * *", "UTC", "2026-01-01T00:00:00+00:00", 3) == [
        "01-01T09:00:00+0000",
        "01-01T09:00:20+0000",
        "01-01T09:00:40+0000",
    ]


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_is_its_expression(alias: str) -> None:
    """An alias fires when what it stands for does, however it is written."""
    now = datetime(2026, 5, 5, tzinfo=UTC)
    assert read_cron(f" {alias.upper()} ").list_after(now) == read_cron(ALIASES[alias]).list_after(now)


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("30 2 * * *", "America/New_York", "2026-03-08T00:00:00-05:00", ["03-08T03:00:00-0400", "03-09T02:30:00-0400"]),
        ("15 30 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00+01:00", ["03-29T03:00:00+0200", "03-30T02:30:15+0200"]),
        ("0,30 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00+01:00", ["03-29T03:00:00+0200", "03-30T02:00:00+0200"]),
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T20:00:00+10:30",
            ["10-04T02:30:00+1100", "10-05T02:15:00+1100"],
        ),
        ("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00+02:00", ["04-24T01:00:00+0300", "04-25T00:00:00+0300"]),
    ],
)
def test_in_a_gap_it_fires_once_at_the_first_instant_after(
    cron: str, zone: str, after: str, expected: list[str]
) -> None:
    """A time that the clocks skip is not lost, and two of them are one."""
    assert fires(cron, zone, after, 2) == expected


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("30 1 * * *", "America/New_York", "2026-11-01T00:00:00-04:00", ["11-01T01:30:00-0400", "11-02T01:30:00-0500"]),
        ("15 30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00+02:00", ["10-25T02:30:15+0200", "10-26T02:30:15+0100"]),
        # Asked while the hour repeats: it has fired.
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T02:10:00+01:00", ["10-26T02:30:00+0100", "10-27T02:30:00+0100"]),
    ],
)
def test_in_a_fold_it_fires_once_the_first_time(cron: str, zone: str, after: str, expected: list[str]) -> None:
    """A time that the clocks show twice is one occurrence."""
    assert fires(cron, zone, after, 2) == expected


@pytest.mark.parametrize("after", ["2026-03-28T23:00:00+00:00", "2026-10-24T22:00:00+00:00"])
def test_oban_py_17_no_minute_is_skipped_or_repeated_when_the_clocks_change(after: str) -> None:
    """Every minute of the real time is an occurrence, through a gap and through a fold."""
    start = datetime.fromisoformat(after)
    assert read_cron("* * * * *", "Europe/Berlin").list_after(start, 600) == [
        start + timedelta(minutes=n) for n in range(1, 601)
    ]


def test_going_on_from_each_occurrence_is_the_same_as_going_on() -> None:
    """To ask for the next one after each finds what one list has, through both changes."""
    cron = read_cron("0,30 1,2,3 * * *", "Europe/Berlin")
    at, found = datetime(2026, 3, 27, tzinfo=UTC), list[datetime]()
    for _ in range(1_000):
        following = cron.next_after(at)
        assert following is not None
        found.append(at := following)
    assert found == cron.list_after(datetime(2026, 3, 27, tzinfo=UTC), 1_000)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("cron", "zone", "says"),
    [
        ("61 * * * *", "UTC", "bad minute: expected 5 fields"),
        ("* * *", "UTC", "wrong number of fields: expected 5 fields"),
        ("", "UTC", "wrong number of fields"),
        (5, "UTC", "expected 5 fields such as '0 9 \\* \\* \\*'.*got 5"),
        ("@dayly", "UTC", "did you mean '@daily'"),
        ("0 0 31 2 *", "UTC", "bad day-of-month"),
        ("0 0 30 2,2 */1", "UTC", "bad day-of-month"),
        ("0 " * 200, "UTC", "at most 256 bytes, got 400"),
        ("*/1" + "/1" * 100 + " * * * *", "UTC", "bad minute"),
        ("0 9 * * *", "Europe/Berlim", "did you mean 'Europe/Berlin'"),
        ("0 9 * * *", "../etc/passwd", "write an IANA name"),
        ("0 9 * * *", "America", "no time zone"),
    ],
)
def test_what_is_refused_is_told_with_its_cure(cron: object, zone: str, says: str) -> None:
    """What is no schedule is refused at once, and the message says what would be one."""
    with pytest.raises(ValueError, match=says):
        read_cron(cron, zone)


def test_lists_are_bounded() -> None:
    """Nobody is given more occurrences than fit, or any after a time that could mean several."""
    cron = read_cron("* * * * * *")
    with pytest.raises(ValueError, match="1 to 1000"):
        cron.list_after(datetime(2026, 1, 1, tzinfo=UTC), 1_001)
    with pytest.raises(ValueError, match="a time with a zone"):
        cron.next_after(datetime(2026, 1, 1))  # noqa: DTZ001 - what is refused


def test_what_is_more_than_five_years_away_never_fires() -> None:
    """A February with five Mondays comes in 2044: it is nothing in 2026, and something in 2043."""
    rare = Cron("0 0 * 2 MON#5", ZoneInfo("UTC"))
    assert rare.next_after(datetime(2026, 1, 1, tzinfo=UTC)) is None
    assert rare.next_after(datetime(2043, 1, 1, tzinfo=UTC)) == datetime(2044, 2, 29, tzinfo=UTC)


def test_the_end_of_the_calendar_is_an_end() -> None:
    """What would fire after the year 9999 does not."""
    assert read_cron("@yearly").next_after(datetime(9999, 6, 1, tzinfo=UTC)) is None
