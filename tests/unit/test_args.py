"""What a caller hands in: args classes and their kinds, and options that are nothing but values."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from pydantic import ValidationError

from workerqueue import ConfigError, InsertOpts, JobArgs, Priority
from workerqueue.args import is_name, kind_of


class SecretArgs(JobArgs):
    token: int

    @classmethod
    def kind(cls) -> str:
        return "secret"


def class_of_kind(kind: Any) -> type[JobArgs]:
    """An args class that declares this kind."""

    class Args(JobArgs):
        @classmethod
        def kind(cls) -> str:
            return kind  # type: ignore[no-any-return]

    return Args


NAMES = {
    "a": "a",
    "dotted": "events.invokeDispatcher",
    "colons and digits": "wechat:outbound:42",
    "Unicode": "отправить",
    "inner space": "a b",
    "128 characters": "x" * 128,
}

NO_NAMES: dict[str, Any] = {
    "empty": "",
    "white space": "  ",
    "129 characters": "x" * 129,
    "line break": "a\nb",
    "NUL": "a\0",
    "lone surrogate": "\ud800",
    "tabulator": "\t",
    "zero width": "a\u200b",
    "nothing": None,
    "a number": 7,
    "bytes": b"a",
}


@pytest.mark.parametrize("case", NAMES)
def test_a_kind_is_1_to_128_printable_characters(case: str) -> None:
    """Any printable text is a kind and a queue's name."""
    assert (kind_of(class_of_kind(NAMES[case])), is_name(NAMES[case])) == (NAMES[case], True)


@pytest.mark.parametrize("case", NO_NAMES)
def test_another_kind_is_refused_with_its_class(case: str) -> None:
    """A kind that can't be stored or read is a ConfigError that names the class and shows what came."""
    with pytest.raises(ConfigError, match=r"Args\.kind\(\) returned .*; expected 1 to 128 printable characters"):
        kind_of(class_of_kind(NO_NAMES[case]))
    assert is_name(NO_NAMES[case]) is False


def test_a_class_without_a_kind_makes_no_args() -> None:
    """Forgetting `kind()` is seen when the first object is made."""

    class Forgotten(JobArgs):
        pass

    forgotten: Any = Forgotten
    with pytest.raises(TypeError, match="kind"):
        forgotten()


def test_a_class_has_no_options_of_its_own_unless_it_says_so() -> None:
    """`insert_opts` may be left out."""
    assert SecretArgs.insert_opts() is None


def test_fields_of_a_newer_producer_are_ignored() -> None:
    """An older reader works what a newer producer inserted."""
    assert SecretArgs.model_validate({"token": 1, "since": "tomorrow"}) == SecretArgs(token=1)


def test_what_a_job_holds_is_not_in_the_text_of_an_error() -> None:
    """A value that does not validate can't reach a log through its error."""
    with pytest.raises(ValidationError) as refusal:
        SecretArgs.model_validate({"token": "s3cret"})
    assert "s3cret" not in str(refusal.value)


def test_every_option_is_inherited_unless_it_is_given() -> None:
    """An empty `InsertOpts` says nothing at all."""
    assert set(dataclasses.asdict(InsertOpts()).values()) == {None}


def test_options_are_frozen_and_named() -> None:
    """Options can be shared between inserts, and no value gets its meaning by its place."""
    opts: Any = InsertOpts(priority=1)
    with pytest.raises(AttributeError):
        opts.priority = 2
    of_any: Any = InsertOpts
    with pytest.raises(TypeError):
        of_any("default")


def test_priorities_have_the_names_of_the_table() -> None:
    """Smaller runs first."""
    assert {each.name: each.value for each in Priority} == {"URGENT": -100, "DEFAULT": 1, "INTERNAL": 50, "LOW": 100}
