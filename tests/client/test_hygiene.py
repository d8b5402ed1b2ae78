"""Hostile values at every door: refused with the path to them, or stored and run to an end; and secrets stay inside."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import sys
import traceback
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from pydantic import Field, JsonValue, SecretStr, ValidationError

from tests.client.kinds import Note
from tests.conftest import MakeClient
from tests.waiting import PATIENCE, eventually
from workerqueue import (
    Client,
    ConfigError,
    DatabaseError,
    DatabaseUnavailableError,
    InsertError,
    InsertOpts,
    Job,
    JobArgs,
    JobCancel,
    JobDiscard,
    JobState,
    Workers,
    migrate,
)
from workerqueue.cli.main import main
from workerqueue.database import Connection
from workerqueue.events import Event
from workerqueue.payload import MAX_ERROR_BYTES, MAX_TRACE_BYTES

MIB = 2**20


def nested(levels: int) -> Any:
    """Lists in lists, so many levels deep."""
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


TABLE: dict[str, Any] = {
    "NUL in a value": "a\0b",
    "NUL in a key": {"a\0b": 1},
    "a lone surrogate": "\ud800",
    "a lone surrogate in a key": {"\udfff": 1},
    "NaN": math.nan,
    "Infinity": math.inf,
    "-Infinity": -math.inf,
    "an integer of 4000 digits": 10**4000,
    "an integer of 5000 digits": 10**5000,
    "1e400000": float("1e400000"),
    "nested 65 levels": nested(65),
    "nested 200 levels": nested(200),
    "nested 800 levels": nested(800),
    "-0.0": -0.0,
    "1e22": 1e22,
    "a text of 6 kB": "k" * 6_000,
    "a text of 1 MiB": "x" * MIB,
    "a text of 16 MiB": "x" * 16 * MIB,
    "8000 bytes": "n" * 8_000,
    "terminal codes": "\x1b[31mred\x07",
    "a direction override": "\u202etxt.exe",
    "half a pair in a text": "a" * 100 + "\ud83d",
    "SQL": "'; drop table job; --",
    "a format": "%s %d {0} {x} $1 \\",
    "an empty text": "",
}
"""The payload table of the design, and what else texts are made of."""


def text_of(value: object) -> str:
    """Give a value as text, for doors that take only text."""
    if isinstance(value, str):
        return value
    return "a number" if isinstance(value, int | float) else repr(value)[:1_000]


Door = Callable[[Client, Connection, Any], Awaitable[object]]


async def by_transaction(client: Client, connection: Connection, value: Any) -> object:
    """Insert in a transaction of the test's own."""
    async with connection.transaction():
        return await client.insert_tx(connection, Note(data=value))


DOORS: dict[str, Door] = {
    "args": lambda client, _, value: client.insert(Note(data=value)),
    "args, many": lambda client, _, value: client.insert_many([Note(), Note(data={"a": [value]})]),
    "args, in a transaction": by_transaction,
    "args, by kind": lambda client, _, value: client.insert_kind("note", {"data": value}),
    "args of no class": lambda client, _, value: client.insert_kind("unknown", {"data": {"a": value}}),
    "metadata": lambda client, _, value: client.insert(Note(), InsertOpts(metadata={"a": value})),
    "a tag": lambda client, _, value: client.insert(Note(), InsertOpts(tags=["ok", text_of(value)])),
    "a kind": lambda client, _, value: client.insert_kind(text_of(value), {}),
    "a queue": lambda client, _, value: client.insert(Note(), InsertOpts(queue=text_of(value))),
    "a dynamic queue": lambda client, _, value: client.insert(Note(), InsertOpts(dynamic_queue=text_of(value))),
    "on_discard": lambda client, _, value: client.insert(Note(), InsertOpts(on_discard=Note(data=value))),
}
PATHS = {
    "args": "args.data",
    "args, many": "args.data.a",
    "args, in a transaction": "args.data",
    "args, by kind": "args.data",
    "args of no class": "args.data.a",
    "metadata": "metadata.a",
    "a tag": "tags[1]",
    "a kind": "kind",
    "a queue": "queue",
    "a dynamic queue": "dynamic_queue",
    "on_discard": "on_discard.args.data",
}


def working(done: list[int]) -> Workers:
    """Workers that note what they have run, and give it back."""
    workers = Workers()

    @workers.worker
    async def note(job: Job[Note]) -> JsonValue:
        done.append(job.id)
        return job.args.data

    return workers


async def drained(sql: Connection) -> bool:
    """Tell whether no job of a kind that is worked is left."""
    return not await sql.fetchval("select count(*) from job where kind = 'note' and pool = 'default'")


@pytest.mark.parametrize("door", DOORS)
async def test_what_comes_in_is_refused_with_its_path_or_runs_to_an_end(
    make_client: MakeClient, sql: Connection, door: str
) -> None:
    """Every row of the payload table at one door: a refusal stores nothing, and no job is stuck."""
    client = make_client(working([]), strict=False)
    for case, value in TABLE.items():
        before = await sql.fetchval("select count(*) from job")
        try:
            await DOORS[door](client, sql, value)
        except ValidationError as refused:  # Pydantic's own, when the args are made: nothing came to this library
            if not str(refused).startswith("1 validation error for Note\ndata"):
                raise
        except InsertError as refused:
            text = str(refused)
            path = PATHS[door]
            assert path in text or text.startswith((path.split(".")[0], path.split("[")[0])), (case, text[:300])
            assert len(text) < 2_000, case
            text.encode()  # fit for a log
            assert await sql.fetchval("select count(*) from job") == before, case
    await sql.execute("update job set max_attempts = 1")  # 1e22 is stored as an integer too large for an output
    await client.start()
    await eventually(lambda: drained(sql), within=60)
    states = await sql.fetch(
        "select state::text, count(*) from job_all where kind = 'note' and pool = 'default' group by 1"
    )
    assert {row["state"] for row in states} <= {"completed", "discarded"}


@pytest.mark.parametrize("case", ["NUL in a value", "NaN", "an integer of 5000 digits", "nested 65 levels"])
async def test_a_batch_with_one_such_value_stores_nothing(make_client: MakeClient, sql: Connection, case: str) -> None:
    """One refusal refuses all."""
    with pytest.raises(InsertError):
        await make_client().insert_many([*[Note()] * 2_500, Note(data=TABLE[case])])
    assert await sql.fetchval("select count(*) from job") == 0


class Say(JobArgs):
    case: str
    how: str

    @classmethod
    def kind(cls) -> str:
        return "say"


class HostileError(Exception):
    """An error whose text is one of the table's values."""


def hostile(how: str, text: str) -> Exception:
    """Make an error that holds the text in one way."""
    error: Exception = HostileError(text if how == "error" else how)
    if how == "note":
        error.add_note(text)
    elif how == "cause":
        error.__cause__ = KeyError(text)
    elif how == "cancel":
        error = JobCancel(text)
    elif how == "discard":
        error = JobDiscard(text)
    elif how == "name":
        error = type(f"E{text[:200]}".replace("\0", "N"), (Exception,), {})("named")
    return error


WAYS = ["output", "error", "note", "cause", "cancel", "discard", "name"]


async def test_what_goes_out_ends_its_job(make_client: MakeClient, sql: Connection) -> None:
    """Every row as an output, an error, its cause, a note on it, a reason, a name: each job ends and can be read."""
    workers = Workers()

    @workers.worker
    async def say(job: Job[Say]) -> dict[str, object]:
        if job.args.how == "output":
            return {"a": TABLE[job.args.case]}
        raise hostile(job.args.how, text_of(TABLE[job.args.case]))

    client = make_client(workers, poll_interval=0.05)
    await client.start()
    opts = InsertOpts(max_attempts=1)
    jobs = [(Say(case=case, how=how), opts) for case in TABLE for how in WAYS]
    results = await client.insert_many(jobs)

    async def all_ended() -> bool:
        return not await sql.fetchval("select count(*) from job")

    await eventually(all_ended, within=60)
    for result in results:
        job = await client.jobs.get(result.job.id)
        assert job is not None
        assert job.state.is_final
        if job.state is not JobState.COMPLETED:
            assert len(job.errors[0].error.encode()) <= MAX_ERROR_BYTES
            assert len((job.errors[0].trace or "").encode()) <= MAX_TRACE_BYTES
    outcomes = await sql.fetch("select state::text, count(*) as jobs from job_finalized group by 1")
    by_state = {row["state"]: row["jobs"] for row in outcomes}
    assert by_state["cancelled"] == len(TABLE)
    assert sum(by_state.values()) == len(TABLE) * len(WAYS)


RAW: dict[str, str] = {
    "an integer of 4000 digits": '{"data": 1' + "0" * 4_000 + "}",
    "an integer of 5000 digits": '{"data": 1' + "0" * 5_000 + "}",
    "1e400000": '{"data": 1e400000}',
    "1e400": '{"data": 1e400}',
    "NaN": '{"data": NaN}',
    "NUL": '{"data": "\\u0000"}',
    "a lone surrogate": '{"data": "\\ud800"}',
    "nested 200 levels": '{"data": ' + "[" * 200 + "]" * 200 + "}",
    "nested 3000 levels": '{"data": ' + "[" * 3_000 + "]" * 3_000 + "}",
    "nested 20000 levels": '{"data": ' + "[" * 20_000 + "]" * 20_000 + "}",
    "duplicate keys": '{"n": 1, "n": 2}',
    "2 MiB": '{"text": "' + "x" * 2 * MIB + '"}',
    "9 MiB": '{"text": "' + "x" * 9 * MIB + '"}',
    "the wrong type": '{"n": "many"}',
    "no object": "[]",
    "-0.0": '{"data": -0.0}',
}


async def test_rows_of_plain_sql_are_refused_or_run_to_an_end(make_client: MakeClient, sql: Connection) -> None:
    """What PostgreSQL takes as args or metadata never leaves a job stuck, and never harms another."""
    done: list[int] = []
    inserted = 0
    for text in RAW.values():
        for column in ("args", "metadata"):
            try:
                await sql.execute(f"insert into job (kind, {column}, max_attempts) values ('note', $1::text::jsonb, 1)", text)  # noqa: E501, S608 # fmt: skip
                inserted += 1
            except asyncpg.PostgresError:
                pass
    assert inserted > len(RAW)
    client = make_client(working(done), poll_interval=0.05)
    await client.start()
    last = await client.insert(Note())
    await client.jobs.wait(last.job.id, PATIENCE)
    await eventually(lambda: drained(sql), within=60)
    assert await sql.fetchval("select count(*) from job_finalized") == inserted + 1


async def test_args_of_plain_sql_have_a_size(sql: Connection, make_client: MakeClient) -> None:
    """The largest that a client may send is within the table's limit, whatever jsonb makes of it; 9 MiB are not."""
    with pytest.raises(asyncpg.CheckViolationError):
        await sql.execute("insert into job (kind, args) values ('note', $1::text::jsonb)", RAW["9 MiB"])
    digits: list[JsonValue] = [1] * ((MIB - 100) // 2)
    result = await make_client().insert(Note(data=digits))
    assert await sql.fetchval("select state::text from job where id = $1", result.job.id) == "available"


# Secrets

PASSWORD = "hunter2-of-the-test"
NUMBER = "4111-1111-of-the-test"


class Login(JobArgs):
    password: SecretStr
    number: str = Field(repr=False)
    how: str = "return"

    @classmethod
    def kind(cls) -> str:
        return "login"


def logging_in(seen: list[str]) -> Workers:
    """A worker that is careless with what it gets."""
    workers = Workers()

    @workers.worker
    async def login(job: Job[Login]) -> None:
        password = job.args.password.get_secret_value()
        seen.append(f"{password} {job.args.number}")
        logging.getLogger("workerqueue.tests").info("working %r", job)
        if job.args.how == "cancel":
            raise JobCancel(f"{password!r} is wrong")
        if job.args.how == "time out":
            try:
                await asyncio.sleep(60)
            finally:
                raise RuntimeError(password)
        if job.args.how == "group":
            raise ExceptionGroup("several", [ValueError(password), KeyError(job.args.number)])
        if job.args.how == "raise":
            raise RuntimeError(f"no {job.args.number}\n{password}") from KeyError(password)

    return workers


@pytest.mark.parametrize("how", ["return", "cancel", "time out", "group", "raise"])
@pytest.mark.parametrize("insert_id", [False, True])
async def test_secrets_reach_the_worker_and_nothing_else(
    make_client: MakeClient, sql: Connection, caplog: pytest.LogCaptureFixture, how: str, insert_id: bool
) -> None:
    """Not the log, not an event, not the job's history, not what a reader prints."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, "asyncio")
    seen: list[str] = []
    events: list[Event] = []
    client = make_client(logging_in(seen))
    client.events.add(events.append)
    await client.start()
    args = Login(password=SecretStr(PASSWORD), number=NUMBER, how=how)
    opts = InsertOpts(
        timeout=0.2 if how == "time out" else 60, max_attempts=1, insert_id=None if not insert_id else uuid4()
    )
    result = await client.insert(args, opts)
    job = await client.jobs.wait(result.job.id, PATIENCE)
    assert seen == [f"{PASSWORD} {NUMBER}"]
    assert (job.state is JobState.COMPLETED) == (how == "return")
    everything = [f"{result!r} {job!r} {events!r} {args!r}", caplog.text, *(str(vars(each)) for each in caplog.records)]
    if insert_id:
        everything.append(repr(await client.insert(args, opts)))
    row = await sql.fetchrow("select errors, output, metadata, tags from job_all")
    everything.append(str(row))
    assert [each for text in everything for each in (PASSWORD, NUMBER) if each in text] == []
    assert caplog.records
    assert await sql.fetchval("select args ->> 'password' from job_all") == PASSWORD


def test_a_listing_of_the_command_line_is_masked(
    database_url: str,
    schema: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """`insert --json` shows asterisks, and a refusal repeats nothing."""
    (tmp_path / "secret_tasks.py").write_text(
        "from pydantic import Field, SecretStr\n"
        "from workerqueue import Job, JobArgs, Workers\n"
        "workers = Workers()\n"
        "class Login(JobArgs):\n"
        "    password: SecretStr\n"
        "    number: str = Field(repr=False)\n"
        "    @classmethod\n"
        "    def kind(cls) -> str: return 'login'\n"
        "@workers.worker\n"
        "async def login(job: Job[Login]) -> None: ...\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    options = ["--json", "--tasks", "secret_tasks", "--database-url", database_url, "--schema", schema]
    code = _run(["insert", "login", json.dumps({"password": PASSWORD, "number": NUMBER}), *options])
    written = capsys.readouterr()
    assert code == 0, written.err
    assert json.loads(written.out)["args"] == {"password": "**********", "number": "**********"}
    code = _run(["insert", "login", json.dumps({"password": [PASSWORD]}), *options])
    written = capsys.readouterr()
    assert (code, PASSWORD in written.out + written.err) == (2, False)


def _run(arguments: list[str]) -> object:
    try:
        main(arguments)
    except SystemExit as ended:
        return ended.code


# Where the database is

URLS = {
    "no scheme": f"user:{PASSWORD}@127.0.0.1/x",
    "another scheme": f"mysql://user:{PASSWORD}@127.0.0.1/x",
    "a scheme of SQLAlchemy": f"postgresql+asyncpg://user:{PASSWORD}@127.0.0.1:1/x",
    "one slash": f"postgresql:/user:{PASSWORD}@127.0.0.1/x",
    "a port that is none": f"postgresql://user:{PASSWORD}@127.0.0.1:nine/x",
    "a port too large": f"postgresql://user:{PASSWORD}@127.0.0.1:99999/x",
    "a negative port": f"postgresql://user:{PASSWORD}@127.0.0.1:-1/x",
    "an open bracket": f"postgresql://user:{PASSWORD}@[::1/x",
    "a @ in the password": f"postgresql://user:{PASSWORD}@{PASSWORD}@127.0.0.1:1/x",
    "a / in the password": f"postgresql://user:{PASSWORD}/{PASSWORD}@127.0.0.1:1/x",
    "a # in the password": f"postgresql://user:a#{PASSWORD}@127.0.0.1:1/x",
    "a ? in the password": f"postgresql://user:a?{PASSWORD}@127.0.0.1:1/x",
    "a % in the password": f"postgresql://user:%zz{PASSWORD}@127.0.0.1:1/x",
    "NUL": f"postgresql://user:{PASSWORD}\0@127.0.0.1:1/x",
    "a line break": f"postgresql://user:{PASSWORD}\n@127.0.0.1:1/x",
    "key and value": f"host=127.0.0.1 password={PASSWORD}",
    "a password as a parameter": f"postgresql://127.0.0.1:1/x?password={PASSWORD}&user=u",
    "an unknown sslmode": f"postgresql://user:{PASSWORD}@127.0.0.1:1/x?sslmode={PASSWORD}",
    "a certificate that is none": f"postgresql://user:{PASSWORD}@127.0.0.1:1/x?sslmode=verify-full&sslrootcert=/{PASSWORD}",
    "an unknown parameter": f"postgresql://user:{PASSWORD}@127.0.0.1:1/x?{PASSWORD}={PASSWORD}",
    "a wrong target": f"postgresql://user:{PASSWORD}@127.0.0.1:1/x?target_session_attrs={PASSWORD}",
    "many hosts, few ports": f"postgresql://user:{PASSWORD}@127.0.0.1:1,127.0.0.1:2,127.0.0.1/x?port=1,2",
    "a socket that is none": f"postgresql://user:{PASSWORD}@/x?host=/{PASSWORD}",
    "a surrogate": f"postgresql://user:{PASSWORD}\ud800@127.0.0.1:1/x",
    "empty but for the password": PASSWORD,
}


REACHING_NOWHERE = {
    *("one slash", "a @ in the password", "a % in the password", "NUL", "a line break", "a password as a parameter"),
    *("a certificate that is none", "an unknown parameter", "many hosts, few ports", "a socket that is none"),
    *("a surrogate",),
}
"""Those that can be read."""
UNREADABLE = sorted(URLS.keys() - REACHING_NOWHERE)


@pytest.mark.parametrize("case", URLS)
async def test_a_wrong_url_is_refused_without_its_text(case: str, caplog: pytest.LogCaptureFixture) -> None:
    """By a client and by a migration: an error of ours, and the password nowhere."""
    caplog.set_level(logging.DEBUG)
    calls: list[Callable[[], Awaitable[object]]] = [lambda: _insert_at(URLS[case])]
    if case in UNREADABLE:  # else a migration waits for its deadline
        calls.append(lambda: migrate(URLS[case]))
    for call in calls:
        with pytest.raises(ConfigError if case in UNREADABLE else DatabaseUnavailableError) as refused:
            await call()
        said = "".join(traceback.format_exception(refused.value)) + caplog.text
        assert PASSWORD not in _without_source(said)


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_wrong_url_is_one_line_of_the_command_without_its_text(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is wrong with it."""
    code = _run(["migrate", "status", "--database-url", URLS[case]])
    written = capsys.readouterr()
    assert code == 2
    assert PASSWORD not in written.out + written.err
    assert "unexpected" not in written.err


async def _insert_at(url: str) -> object:
    client = Client(url, insert_timeout=0.3)
    try:
        return await client.insert(Note())
    finally:
        await client.close()


def _without_source(trace: str) -> str:
    """Leave out the lines of this file that a trace shows."""
    return "\n".join(line for line in trace.splitlines() if "PASSWORD" not in line)


async def test_what_the_table_refuses_repeats_no_value(make_client: MakeClient, sql: Connection) -> None:
    """A constraint of the application's own on the table is told by its class and code."""
    await sql.execute(f"alter table job add constraint mine check (args ->> 'number' <> '{NUMBER}')")
    client = make_client(logging_in([]))
    args = Login(password=SecretStr(PASSWORD), number=NUMBER)
    for insert in (
        lambda: client.insert(args),
        lambda: client.insert_many([args, args]),
        lambda: client.insert(args, InsertOpts(insert_id=uuid4(), scheduled_at=timedelta(hours=1))),
    ):
        with pytest.raises(DatabaseError) as refused:
            await insert()
        assert PASSWORD not in f"{refused.value} {refused.value!r}"
        assert NUMBER not in "".join(traceback.format_exception(refused.value)).replace("number=NUMBER", "")
