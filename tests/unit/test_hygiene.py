"""Secrets reach the worker and nothing else: what is stored has their values, what is shown has asterisks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, Secret, SecretBytes, SecretStr, field_validator

from workerqueue import ArgsError, InsertOpts, Job, JobArgs, JobCancel, JobState
from workerqueue.config import Config
from workerqueue.database import Claimed, StoredJob
from workerqueue.options import Resolver
from workerqueue.outcome import Attempt, raised
from workerqueue.payload import decode_model, encode_model, encode_output
from workerqueue.redaction import MASK, mask, secrets_in, shown

NOW = datetime(2026, 1, 2, tzinfo=UTC)
KEY = 'open "sesame"'


class Colour(Enum):
    RED = "vermilion"


@dataclass
class Card:
    number: str = field(default="4111-1111", repr=False)
    owner: str = "Ada"


class Account(BaseModel):
    token: SecretStr = SecretStr("token-1")
    number: str = Field(default="number-1", repr=False, alias="accountNumber")
    name: str = "Ada"


class Login(JobArgs):
    password: SecretStr = SecretStr(KEY)
    key: SecretBytes = SecretBytes(b"bytes-1")
    pin: Secret[int] = Secret(9)
    accounts: list[Account] = Field(default=[])
    by_name: dict[str, SecretStr] = Field(default={})
    cards: list[Card] = Field(default=[])
    colour: Colour = Field(default=Colour.RED, repr=False)
    codes: list[int] = Field(default=[], repr=False)
    anything: Any = None
    old: SecretStr = Field(default=SecretStr("alias-1"), alias="oldPassword")
    user: str = "ada"

    @classmethod
    def kind(cls) -> str:
        return "login"

    @field_validator("user")
    @classmethod
    def _is_known(cls, user: str) -> str:
        if user.startswith("bad"):
            raise ValueError(f"nobody is called {user}")
        return user


FULL = Login(
    accounts=[Account(), Account(token=SecretStr("token-2"))],
    by_name={"a": SecretStr("mapped-1")},
    cards=[Card()],
    codes=[271828],
)
HIDDEN = ["bytes-1", "token-1", "token-2", "number-1", "mapped-1", "4111-1111", "vermilion", "271828", "alias-1"]


# What is stored


def test_a_secret_is_stored_as_its_value_and_comes_back() -> None:
    """Its worker gets what was inserted, at every place where a secret may stand."""
    written = encode_model(FULL)
    assert MASK not in written
    back = decode_model(Login, written)
    assert back == FULL
    assert back.password.get_secret_value() == KEY
    assert back.by_name["a"].get_secret_value() == "mapped-1"
    assert json.loads(written)["oldPassword"] == "alias-1"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=50))
def test_any_text_may_be_a_secret(text: str) -> None:
    """Also one that looks like what hides it, or like JSON."""
    args = Login(password=SecretStr(text), by_name={text: SecretStr(text)})
    assert decode_model(Login, encode_model(args)) == args


def test_asterisks_that_are_no_secret_stay_what_they_are() -> None:
    """A text of asterisks is a text."""
    args = Login(user=MASK, anything=[MASK, {"a": MASK}])
    assert decode_model(Login, encode_model(args)) == args


@pytest.mark.parametrize(
    ("args", "path"),
    [
        (Login(password=SecretStr("a\0b")), "args.password"),
        (Login(password=SecretStr("\ud800")), "args.password"),
        (Login(key=SecretBytes(b"\xff")), "args.key"),
        (Login(pin=Secret(2**63)), "args.pin"),
        (Login(accounts=[Account(), Account(token=SecretStr("\0"))]), "args.accounts[1].token"),
        (Login(by_name={"a": SecretStr("\0")}), "args.by_name.a"),
        (Login(anything={"a": [SecretStr("\0")]}), "args.anything.a[0]"),
        (Login(password=SecretStr("x" * 2**20)), "args"),
    ],
)
def test_a_secret_that_cannot_be_stored_is_refused_with_its_path(args: Login, path: str) -> None:
    """As any other value, and without repeating it."""
    with pytest.raises(ArgsError) as refused:
        encode_model(args)
    assert refused.value.path == path


def test_a_secret_in_metadata_is_refused() -> None:
    """Metadata is shown wherever its job is, so asterisks would be stored for it."""
    wrong: Any = {"a": [{"b": SecretStr(KEY)}]}
    with pytest.raises(ArgsError, match=r"metadata\.a\[0\]\.b: is a secret") as refused:
        Resolver(Config()).resolve(Login(), InsertOpts(metadata=wrong))
    assert KEY not in str(refused.value)


def test_a_secret_in_a_tag_is_refused() -> None:
    """Its text is not repeated."""
    wrong: Any = [SecretStr(KEY)]
    with pytest.raises(ArgsError, match=r"tags\[0\]: expected text, got SecretStr"):
        Resolver(Config()).resolve(Login(), InsertOpts(tags=wrong))


def test_a_secret_in_an_output_is_asterisks() -> None:
    """An output is there to be read."""
    assert encode_output({"a": SecretStr(KEY), "b": Account()}).count(MASK) == 2


def test_a_payload_without_a_class_may_hold_secrets() -> None:
    """They are stored, and hidden in the result."""
    new = Resolver(Config(), strict=False).resolve_plain("k", {"a": {"b": SecretStr("v-1")}}, None, {})
    assert json.loads(new.args_json) == {"a": {"b": "v-1"}}
    assert "v-1" not in repr(new.to_job(1, NOW))


# What is shown


def test_secrets_and_marked_fields_are_found() -> None:
    """Wherever they are, and nothing else is."""
    found = secrets_in(FULL)
    assert set(HIDDEN) <= found
    assert KEY in found
    assert not {"Ada", "ada", "a"} & found


def test_a_listing_shows_asterisks() -> None:
    """Secrets and fields declared with `repr=False` are masked, whatever holds them, under their JSON names."""
    listed = json.dumps(shown(FULL))
    assert [each for each in (*HIDDEN, "sesame") if each in listed] == []
    assert (listed.count("Ada"), listed.count('"accountNumber"')) == (3, 2)
    assert shown({"a": [1]}) == {"a": [1]}


@pytest.mark.parametrize("follow_up", [False, True])
def test_no_object_shows_secrets(follow_up: bool) -> None:
    """`repr` of what a job is, at each of its stations, is fit for a log."""
    opts = InsertOpts(on_discard=FULL) if follow_up else None
    new = Resolver(Config()).resolve(FULL, opts)
    job: Job[Any] = new.to_job(1, NOW)
    stored = StoredJob._make([1, "login", new.args_json, "q", "q", "available", *[None] * 17])
    claimed = Claimed(1, "login", new.args_json, None, "q", 1, 1, 3, 60.0, NOW, NOW, NOW, None, "c", 1)
    text = f"{new!r} {new.terms!r} {job!r} {stored!r} {claimed!r} {new} {claimed} {opts!r}"
    assert [each for each in (*HIDDEN, "sesame") if each in text and each != "4111-1111"] == []


TEMPLATES = ["{}", "x{}y", "failed for {!r}.", "line\n{}\n", "{0} and {0}", "{!r:>80}"]


@given(st.text(min_size=4, max_size=40), st.sampled_from(TEMPLATES))
def test_an_error_never_repeats_a_secret(secret: str, template: str) -> None:
    """Neither its text, nor its trace, nor its line in the log, however the worker put it there."""
    if not secret.strip():
        return
    args = Login(password=SecretStr(secret))
    cause = KeyError(secret)
    error = RuntimeError(template.format(secret))
    error.__cause__ = cause
    error.add_note(secret)
    outcome = _outcome(error, args)
    entry = json.loads(outcome.error or "")
    shown_before = json.loads(_outcome(RuntimeError(template.format("")), args).error or "")
    for text in (entry["error"], outcome.reason or ""):
        assert secret not in text.replace(MASK, "") or secret in shown_before["error"] + "RuntimeError: "
    assert repr(secret) not in entry["trace"]


def _outcome(error: Exception, args: JobArgs) -> Any:
    attempt = Attempt(1, 3, None, "c1", secrets_in(args))
    try:
        raise error
    except (RuntimeError, JobCancel) as caught:
        return raised(caught, attempt, lambda: 0.5)


def test_a_secret_at_the_cut_of_a_long_error_does_not_remain() -> None:
    """It is masked before the text is cut."""
    secret = "s3cr3t-" * 40
    error = RuntimeError("x" * 8_100 + secret)
    entry = json.loads(_outcome(error, Login(password=SecretStr(secret))).error)
    assert "s3cr3t" not in entry["error"]


def test_a_cancellations_reason_is_masked() -> None:
    """It is stored and logged as errors are."""
    outcome = _outcome(JobCancel(f"no account for {KEY}"), FULL)
    assert outcome.state is JobState.CANCELLED
    assert "sesame" not in f"{outcome.error} {outcome.reason}"


@pytest.mark.parametrize(
    ("text", "secret", "masked"),
    [
        ("pin 9 is wrong, 19 is not", "9", f"pin {MASK} is wrong, 19 is not"),
        ("abc", "b", "abc"),
        ("(ab)", "ab", f"({MASK})"),
        ("xabcdx", "abcd", f"x{MASK}x"),
        ("nothing", "", "nothing"),
    ],
)
def test_a_short_secret_is_masked_where_it_stands_by_itself(text: str, secret: str, masked: str) -> None:
    """A digit is in every line number; a trace without them would help nobody."""
    assert mask(text, secrets_in(Login(password=SecretStr(secret), pin=Secret(77)))) == masked


def test_a_validators_text_does_not_repeat_what_it_was_given() -> None:
    """Neither at the insert nor where the worker's class no longer takes what is stored."""
    stored = encode_model(Login()).replace('"ada"', '"bad-name-1"')
    with pytest.raises(ArgsError, match=r"args\.user: nobody is called \*+$"):
        decode_model(Login, stored)
    with pytest.raises(ArgsError, match=r"args\.user: nobody is called \*+$"):
        Resolver(Config(), strict=False).resolve_plain("login", {"user": "bad-name-1"}, None, {"login": Login})


def test_a_refusal_of_what_holds_itself_ends() -> None:
    """Looking for secrets in it does not go on for ever."""
    loop: dict[str, Any] = {}
    loop["user"] = loop
    with pytest.raises(ArgsError, match=r"args\.user"):
        Resolver(Config(), strict=False).resolve_plain("login", loop, None, {"login": Login})


def test_what_a_claimed_row_holds_is_not_repeated_by_its_refusal() -> None:
    """Plain SQL can store metadata that no job can have; the error says where, not what."""
    claimed = Claimed(1, "k", "{}", None, "q", 1, 1, 3, 60.0, NOW, NOW, NOW, '{"tags": "hunter2"}', "c", 1)
    with pytest.raises(ValueError, match="tags") as refused:
        claimed.to_job(Login())
    assert "hunter2" not in str(refused.value)
