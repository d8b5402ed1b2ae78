"""The configured retention: its defaults, its keys in TOML, and what is refused."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from workerqueue import Config, ConfigError, QueueConfig, TaskConfig
from workerqueue.maintenance.retention import Retention

DAY = timedelta(days=1)


def test_by_default_a_queue_keeps_for_a_day_and_what_failed_for_a_week() -> None:
    """Any number of jobs; a kind says nothing of its own."""
    queue, kind = QueueConfig(), TaskConfig()
    assert (queue.keep_completed, queue.keep_cancelled, queue.keep_discarded) == (DAY, DAY, 7 * DAY)
    assert queue.keep_completed_count is queue.keep_cancelled_count is queue.keep_discarded_count is None
    assert kind.keep_completed is kind.keep_completed_count is None


def test_the_rules_are_those_of_every_queue_and_of_the_kinds_that_have_some() -> None:
    """The cleaner needs the shortest and the longest, and numbers only where there are any."""
    config = Config(
        queues={"a": QueueConfig(keep_completed=60)},
        tasks={"k": TaskConfig(keep_discarded=30 * DAY), "plain": TaskConfig()},
    )
    made = Retention.of(config)
    rules = json.loads(made.ages)
    day = DAY.total_seconds()
    assert rules["all"] == {"completed": day, "cancelled": day, "discarded": 7 * day}
    assert rules["queues"]["a"] == {"completed": 60, "cancelled": day, "discarded": 7 * day}
    assert rules["kinds"] == {"k": {"discarded": 30 * day}}
    assert (made.shortest, made.longest, made.counts) == (60, 30 * day, None)
    assert Retention.of(Config(tasks={"k": TaskConfig(keep_cancelled_count=0)})).counts is not None


def test_in_toml_an_age_has_its_unit_in_its_key(tmp_path: Path) -> None:
    """A number of jobs has none."""
    (tmp_path / "queues.toml").write_text("[a]\nkeep_completed_seconds = 3600\nkeep_discarded_count = 10\n")
    (tmp_path / "tasks.toml").write_text("[k]\nkeep_cancelled_seconds = 0.5\nkeep_completed_count = 0\n")
    config = Config.load(tmp_path)
    assert config.queues["a"] == QueueConfig(keep_completed=3600, keep_discarded_count=10)
    assert config.task("k") == TaskConfig(keep_cancelled=timedelta(seconds=0.5), keep_completed_count=0)


@pytest.mark.parametrize(
    ("file", "line", "said"),
    [
        (
            "queues.toml",
            "keep_completed = 60",
            "keep_completed: a duration needs its unit; write keep_completed_seconds",
        ),
        (
            "tasks.toml",
            "keep_completed = 60",
            "keep_completed: a duration needs its unit; write keep_completed_seconds",
        ),
        ("tasks.toml", "keep_discarded_seconds = -1", "keep_discarded_seconds: expected a duration of 0 or longer"),
        ("tasks.toml", "keep_completed_seconds = 1e12", "keep_completed_seconds"),
        ("queues.toml", "keep_completed_count = -1", "keep_completed_count"),
        ("queues.toml", "keep_completed_count = true", "keep_completed_count"),
        ("tasks.toml", 'keep_completed_count = "5"', "keep_completed_count"),
        ("queues.toml", "keep_complete_seconds = 5", "did you mean 'keep_completed_seconds'"),
        ("queues.toml", "keep_retryable_seconds = 5", "no such setting"),
    ],
)
def test_what_cannot_be_right_is_refused_with_its_cure(tmp_path: Path, file: str, line: str, said: str) -> None:
    """File, table and key are named."""
    (tmp_path / file).write_text(f"[a]\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        Config.load(tmp_path)
    assert said in str(caught.value)
    assert f"{file} [a]" in str(caught.value)
