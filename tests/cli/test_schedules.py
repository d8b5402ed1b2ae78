"""`workerqueue schedules`, and `config/schedules.toml`."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.cli.application import Application
from tests.cli.conftest import Call
from tests.docs.blocks import blocks
from workerqueue import Client, ConfigError
from workerqueue.schedule_config import ScheduleConfig
from workerqueue.toml_tables import read_tables


@pytest.fixture
def schedules(call: Call, database_url: str, schema: str, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs `workerqueue schedules` on the test's schema."""
    monkeypatch.setenv("WORKERQUEUE_DATABASE_URL", database_url)
    return lambda *arguments: call("schedules", *arguments, "--schema", schema)


@pytest.fixture
def nightly(here: Path) -> None:
    """A schedule in the application's configuration."""
    for other in ("queues.toml", "tasks.toml"):  # it is found by itself, too
        (here / "config" / other).unlink()
    (here / "config" / "schedules.toml").write_text(
        '[nightly]\nkind = "greet"\ncron = "30 2 * * *"\ntimezone = "Europe/Berlin"\nargs = { name = "night" }\n'
        'missed = "all"\npriority = 7\ntimeout_seconds = 5\n'
    )


def test_a_configured_schedule_is_handled(nightly: None, app: Application, schedules: Call) -> None:
    """Registered by a run, shown, paused, run now and deleted."""
    with app.start("run") as run:
        run.line("Schedule nightly: 30 2 * * * Europe/Berlin")
        run.signal(signal.SIGTERM)
        assert run.end().code == 0
    line = schedules("list").out.splitlines()[1].split()
    assert line[:2] == ["nightly", "greet"]
    (shown,) = json.loads(schedules("list", "--json").out)
    assert (shown["timezone"], shown["args"], shown["missed"]) == (
        "Europe/Berlin",
        {"name": "night", "count": 1},
        "all",
    )
    assert len(schedules("next", "nightly", "--count", "3").out.splitlines()) == 3
    assert schedules("pause", "nightly").out == "paused nightly\n"
    assert schedules("list").out.splitlines()[1].endswith("paused")
    assert schedules("resume", "nightly").out.startswith("resumed nightly, next at ")
    assert schedules("run", "nightly").out.endswith(" greet available in default\n")
    assert schedules("delete", "nightly").out == "deleted nightly\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["pause", "no"], 2, "no schedule 'no'"),
        (["run", "no"], 2, "no schedule 'no'"),
        (["delete", "no"], 1, "no schedule 'no'"),
        (["next", "no", "--count", "0"], 2, "--count"),
    ],
)
def test_mistakes(schedules: Call, arguments: list[str], code: int, said: str) -> None:
    """One line."""
    done = schedules(*arguments)
    assert (done.code, done.out) == (code, "")
    assert said in done.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('kind = "greet"', "cron: Field required"),
        ('kind = "greet"\ncron = "soon"', "cron: "),
        ('kind = "greet"\ncron = "@daily"\ntimezone = "Mars"', "timezone: no time zone 'Mars'"),
        ('kind = "greet"\ncron = "@daily"\nmissed = "maybe"', "missed: "),
        ('kind = "greet"\ncron = "@daily"\ntimeout = 5', "write timeout_seconds"),
        ('kind = "greet"\ncron = "@daily"\nwhen = 5', "when: no such setting"),
    ],
)
def test_a_mistake_in_the_file_names_file_table_and_field(tmp_path: Path, text: str, said: str) -> None:
    """As in the other tables."""
    file = tmp_path / "schedules.toml"
    file.write_text(f"[nightly]\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        read_tables(file, ScheduleConfig)
    assert f"{file} [nightly]" in str(caught.value)
    assert said in str(caught.value)


def test_the_pages_file_is_a_configuration(tmp_path: Path) -> None:
    """The example of docs/schedules.md is read, and a client takes it."""
    (block,) = (each for each in blocks("docs/schedules.md") if each.file == "schedules.toml")
    (tmp_path / "schedules.toml").write_text(block.text)
    client = Client("postgresql://nowhere/x", config=tmp_path)
    assert client.schedules.own["nightly"].priority == 50
