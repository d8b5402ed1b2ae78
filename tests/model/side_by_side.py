"""Runs model and database side by side: random lives of jobs and clients, compared after every step.

`WORKERQUEUE_TEST_DEPTH=nightly` goes deeper, from a seed of its own each time; `WORKERQUEUE_TEST_SEED` repeats one.
"""

from __future__ import annotations

import json
import os
import random
import secrets
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar, cast

from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.claiming import claim_jobs, hand_over, record
from tests.model.machine import ByHand, Client, ClientState, End, Model, New, Runner
from tests.model.tables import FALL_SILENT, HOUR, KINDS, PASS_TIME, SILENCE, STRICT, expected, read, to_insert
from workerqueue import JobCancel, JobDiscard, JobSnooze, JobState
from workerqueue.database import (
    AsyncpgRunner,
    Claim,
    Claimed,
    ClientRow,
    Connection,
    Controlled,
    ControlTable,
    Finished,
    HandedOver,
    Recorded,
)
from workerqueue.database.jobs import JobTable
from workerqueue.outcome import INTERRUPTED, Attempt, Outcome, raised, returned

T = TypeVar("T")

SCHEMA: Final = "test_machine"
TIMEOUT: Final = 10.0

NIGHTLY: Final = os.environ.get("WORKERQUEUE_TEST_DEPTH", "ci") == "nightly"
SEED: Final = int(os.environ.get("WORKERQUEUE_TEST_SEED") or (secrets.randbits(32) if NIGHTLY else 4))
SETTINGS: Final = settings(
    max_examples=5_000 if NIGHTLY else 50,
    stateful_step_count=200 if NIGHTLY else 50,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


class Server(NamedTuple):
    """A connection to a schema of the test's own, and the loop that it belongs to."""

    run: Callable[[Coroutine[Any, Any, Any]], Any]
    sql: Connection


class Run(NamedTuple):
    """A run as its client knows it, current or not."""

    token: str
    claimed: Claimed


class Ending(NamedTuple):
    """How a run ends, as its worker says it."""

    how: str
    hours: int
    """Until it is due again, where it goes on."""


PICK: Final = st.integers(0, 1_000)
"""Which of those there are."""
WHO: Final = st.one_of(st.none(), PICK, PICK)
"""Which client runs what has its turn, if any."""
SMALL: Final = st.integers(1, 3)
NAMES: Final = ["runs-1", "runs-2"]
"""Dynamic queues."""
WANTED: Final = st.sampled_from([{"default": 2, "second": 2}, {"default": 3}, {"second": 1}])
POOLS: Final = ["default", "second"]
OF_POOLS: Final = st.sampled_from([POOLS, POOLS, POOLS[:1]])
OF_KINDS: Final = st.sampled_from([KINDS, KINDS, ["plain"], ["other", "unknown"]])
Happening = st.SearchStrategy[tuple[str, dict[str, Any]]]
LEASES: Final = st.integers(1, 2**63 - 1)
NEW: Final = st.builds(
    partial(New, ""),
    kind=st.sampled_from(["plain", "plain", "other", "ordered"]),
    pool=st.sampled_from(POOLS),
    queue=st.sampled_from([None, *NAMES]),
    priority=st.integers(0, 2),
    max_attempts=SMALL,
    delay=st.sampled_from([0.0, 0.0, HOUR, 2 * HOUR]),
    parked=st.sampled_from([False, False, False, True]),
    follow_up=st.sampled_from(
        [
            None,
            None,
            New("", "sorry"),
            New("", "sorry later", delay=HOUR),
            New("", "sorry parked", parked=True),
        ]
    ),
)
ENDING: Final = st.builds(
    Ending,
    st.sampled_from(
        ["fail"] * 3 + ["complete", "output", "discard", "cancel", "snooze", "snooze at once", "interrupt"]
    ),
    SMALL,
)


ENDS: Final = st.lists(st.tuples(PICK, ENDING), min_size=1, max_size=3)

ARGUMENTS: Final[dict[str, dict[str, st.SearchStrategy[Any]]]] = {
    "insert": {"new": NEW},
    "insert_many": {"news": st.lists(NEW, min_size=1, max_size=5)},
    "promote": {"limit": st.sampled_from([1, 2, 10])},
    "release": {"pick": PICK},
    "pass_time": {"hours": st.integers(1, 5)},
    "claim": {
        "pick": PICK,
        "lease": LEASES,
        "wanted": WANTED,
        "kinds": OF_KINDS,
    },
    "hand_over": {
        "names": st.lists(st.sampled_from([*NAMES, "unused"]), min_size=1, unique=True),
        "pick": WHO,
        "lease": LEASES,
        "wanted": WANTED,
        "kinds": OF_KINDS,
    },
    "see_to_stranded": {"limit": st.sampled_from([1, 10])},
    "end": {"ends": ENDS, "pick": WHO, "lease": LEASES, "wanted": WANTED, "kinds": OF_KINDS},
    "end_late": {"ends": ENDS},
    "end_with_a_lease_of_nobody": {"pick": PICK, "lease": LEASES, "ending": ENDING},
    "release_claim": {"pick": PICK},
    "register": {"pools": OF_POOLS, "kinds": OF_KINDS},
    "fall_silent": {"pick": PICK},
    "beat": {"pick": PICK},
    "stop": {"pick": PICK},
    "lose_the_row": {"pick": PICK},
    "rescue": {},
    "save": {"pick": PICK, "value": SMALL},
    "by_hand": {
        "how": st.sampled_from(["cancel", "cancel", "complete", "fail", "fail", "retry", "retry", "delete"]),
        "state": st.sampled_from(JobState),
        "pick": PICK,
        "hours": SMALL,
    },
}
# Rules of Hypothesis's own would be left out of half of the examples each, and a life needs most of these.
OFTEN: Final = [
    *["insert", "insert_many", "register", "rescue", "hand_over", "see_to_stranded"],
    *["claim"] * 4,
    *["end"] * 3,
    *["pass_time", "promote"] * 2,
    *["by_hand"] * 3,
]


def _happening(arguments: Mapping[str, Mapping[str, st.SearchStrategy[Any]]], often: Sequence[str]) -> Happening:
    """Give any of the machine's rules, some of them often."""
    return st.sampled_from([*arguments, *often]).flatmap(
        lambda name: st.tuples(st.just(name), st.fixed_dictionaries(dict(arguments[name])))
    )


RELAXED: Final = st.builds(
    partial(New, ""),
    kind=st.sampled_from(["plain", "plain", "other"]),
    pool=st.sampled_from(POOLS),
    queue=st.sampled_from([*NAMES, NAMES[0]]),
    priority=st.integers(0, 2),
    max_attempts=SMALL,
)
IN_ORDER: Final = RELAXED.map(lambda new: replace(new, kind="ordered", queue=NAMES[1]))
IN_QUEUE: Final = st.one_of(RELAXED, RELAXED, RELAXED, IN_ORDER)
PART: Final = {
    "wanted": st.sampled_from([*[{"default": 2, "second": 2}] * 3, {"default": 1}, {"second": 1}]),
    "kinds": st.sampled_from([*[KINDS] * 3, ["plain"], ["other", "ordered"]]),
}
IN_QUEUES: Final[dict[str, dict[str, st.SearchStrategy[Any]]]] = {
    "insert": {"new": IN_QUEUE},
    "insert_many": {"news": st.lists(IN_QUEUE, min_size=2, max_size=5)},
    "claim": ARGUMENTS["claim"] | PART,
    "hand_over": ARGUMENTS["hand_over"] | PART | {"names": st.just(NAMES)},
    "end": ARGUMENTS["end"] | PART,
    # Where those who work everything die as often as anybody, most of what waits is nobody's.
    "register": {
        "pools": st.sampled_from([*[POOLS] * 4, POOLS[:1]]),
        "kinds": st.sampled_from([*[KINDS] * 4, ["plain"]]),
    },
}
OFTEN_IN_QUEUES: Final = [
    *["insert", "see_to_stranded"],
    *["insert_many", "register", "register"] * 2,
    *["claim", "hand_over", "end"] * 6,
]

NOBODY: Final = 999
"""The number of no client."""


class Machine(RuleBasedStateMachine):
    """Does to the model what it does to the database, and compares answers and tables."""

    def __init__(self, server: Server, seen: set[tuple[str, str]]) -> None:
        super().__init__()
        self._server = server
        self._seen = seen
        self._states: dict[str, str] = {}
        self._jobs = JobTable(SCHEMA, "unheard")
        self._control = ControlTable(SCHEMA, "unheard")
        self._model = Model()
        self._runs: list[Run] = []
        self._leases: set[int] = set()
        self._count = 0
        self._gone = 0
        self._began = self._do(self._empty())

    # Jobs come

    def insert(self, new: New) -> None:
        """Insert one job."""
        (job,) = self._named([new])
        inserted = self._do(self._jobs.insert_job(AsyncpgRunner(self._server.sql), to_insert(job), TIMEOUT))
        self._inserted([job], inserted.ids)

    def insert_many(self, news: list[New]) -> None:
        """Insert several in one statement."""
        jobs = self._named(news)
        inserted = self._do(
            self._jobs.insert_jobs(AsyncpgRunner(self._server.sql), [to_insert(job) for job in jobs], TIMEOUT)
        )
        self._inserted(jobs, inserted.ids)

    def promote(self, limit: int) -> None:
        """Make available what is due."""
        promoted, next_due, _ = self._do(self._jobs.promote_due_jobs(self._server.sql, limit))
        later = self._model.next_due()
        assert (promoted, next_due is None) == (self._model.promote(limit), later is None)
        assert round((next_due or 0) / HOUR) == round((later or 0) / HOUR)

    def release(self, pick: int) -> None:
        """Release a job, which need not be a parked one."""
        if not self._model.rows:
            return
        row = _pick(self._model.within(JobState.PENDING) or [*self._model.rows.values()], pick)
        assert self._do(self._jobs.release_job(self._server.sql, row.id)) == self._model.release(row.new.token)

    def pass_time(self, hours: int) -> None:
        """Let hours pass for every live job."""
        self._do(self._server.sql.execute(PASS_TIME, hours * HOUR))
        self._model.pass_time(hours * HOUR)

    # Runs begin and end

    def claim(self, pick: int, lease: int, wanted: dict[str, int], kinds: list[str]) -> None:
        """Claim as one of the clients, mostly a living one."""
        number, lease = self._somebody(pick), self._drawn(lease)
        claimed: Claim = self._do(
            claim_jobs(
                self._jobs,
                self._server.sql,
                lease=lease,
                client=f"c{number}",
                number=number,
                wanted=wanted,
                kinds=kinds,
                strict=STRICT,
            )
        )
        tokens, aside, turns = self._model.claim(lease, number, wanted, kinds, STRICT)
        assert (claimed.aside, {*claimed.turns}) == (aside, turns)
        self._began_to_run(tokens, claimed.jobs)

    def hand_over(
        self, names: list[str], pick: int | None, lease: int, wanted: dict[str, int], kinds: list[str]
    ) -> None:
        """See to the next jobs of dynamic queues, as a client that can run them or as somebody who can't."""
        number, lease = None if pick is None else self._somebody(pick), self._drawn(lease)
        handed: HandedOver = self._do(
            hand_over(
                self._jobs,
                self._server.sql,
                names,
                lease=lease,
                client=f"c{number}",
                number=number,
                pools=list(wanted),
                kinds=kinds,
            )
        )
        here = None if number is None else Runner(lease, number, wanted, kinds)
        assert not handed.again, "nothing runs beside"
        tokens = self._model.hand_over(names, here)
        by_id = sorted(handed.runs, key=lambda job: job.id)
        self._began_to_run(sorted(tokens, key=lambda token: self._model.rows[token].id), by_id)

    def see_to_stranded(self, limit: int) -> None:
        """See to what stands still, as a sweep does."""
        names = self._do(self._jobs.list_turns(self._server.sql, limit))
        assert names == self._model.list_turns(limit)
        handed: HandedOver = self._do(hand_over(self._jobs, self._server.sql, names))
        assert not handed.runs
        assert not handed.again, "nothing runs beside"
        self._model.hand_over(names)

    def end(
        self,
        ends: list[tuple[int, Ending]],
        pick: int | None,
        lease: int,
        wanted: dict[str, int],
        kinds: list[str],
    ) -> None:
        """Write how current runs ended, several in one statement; a client may run what has its turn then."""
        number = None if pick is None else self._somebody(pick)
        here = None if number is None else Runner(self._drawn(lease), number, wanted, kinds)
        if runs := self._current():
            self._end([(_pick(runs, each), ending) for each, ending in ends], here)

    def end_late(self, ends: list[tuple[int, Ending]]) -> None:
        """The same for runs of any age: most are stale, and two may be of the same job."""
        if self._runs:
            self._end([(_pick(self._runs, pick), ending) for pick, ending in ends])

    def end_with_a_lease_of_nobody(self, pick: int, lease: int, ending: Ending) -> None:
        """Write with a lease that was never drawn."""
        if self._runs:
            run = _pick(self._runs, pick)
            self._end([(run._replace(claimed=run.claimed._replace(lease=self._drawn(lease))), ending)])

    def release_claim(self, pick: int) -> None:
        """Put back what a claim took whose answer was lost, at once or late."""
        if not self._runs:
            return
        lease = _pick(self._current() or self._runs, pick).claimed.lease
        released, turns = self._do(self._jobs.release_claim(self._server.sql, lease))
        assert (released, {*turns}) == self._model.put_back(lease)

    def save(self, pick: int, value: int) -> None:
        """Save a checkpoint, as a run of any age."""
        if self._runs:
            run = _pick(self._runs, pick)
            saved = self._do(self._jobs.save_state(self._server.sql, run.claimed, progress=None, checkpoint=str(value)))
            assert saved == self._model.save(run.token, run.claimed.lease, value)

    # Somebody handles jobs by hand

    def by_hand(self, how: str, state: JobState, pick: int, hours: int) -> None:
        """Handle a job, mostly one of this state, and see to the dynamic queue where it may be another one's turn."""
        state = JobState.RETRYABLE if pick % 4 == 0 else state  # few are, at any time
        rows = self._model.within(state) or [*self._model.rows.values()]
        if not rows:
            return
        row = _pick(rows, pick)
        noted = {token for turn in self._model.turns.values() for token in turn.jobs}
        is_known = row.new.follow_up is not None and row.new.follow_up.token in self._model.rows
        if (how == "retry" and is_known) or (how == "delete" and (row.new.token in noted or is_known)):
            return  # a second follow-up would have the first one's name; a noted job that is gone has none
        found = self._do(self._handle(how, row.id, hours))
        # What has ended is not found by what can't change it any more.
        met = found[0] if found else Controlled(row.id, ok=False, state=row.state.value, queue=None)
        if how == "delete":
            answer = self._model.delete(row.new.token)
            self._runs = [run for run in self._runs if run.token in self._model.rows]
        else:
            output = f'{{"hours": {hours}}}' if how == "complete" else None
            answer = self._model.handle(row.new.token, ByHand(cast("Any", how), hours * HOUR, output))
        assert (met.ok, met.state, met.queue) == answer, (how, row, met, answer)
        if met.queue is not None:
            self._model.now += 0.5  # a statement of its own, and so at a later time
            self._do(hand_over(self._jobs, self._server.sql, [met.queue]))
            self._model.hand_over([met.queue])

    async def _handle(self, how: str, job: int, hours: int) -> list[Controlled]:
        runner = AsyncpgRunner(self._server.sql)
        match how:
            case "cancel":
                return await self._control.cancel_jobs(runner, [job], asks=False)
            case "complete":
                return await self._control.complete_job(runner, job, f'{{"hours": {hours}}}')
            case "retry":
                return await self._control.retry_jobs(runner, [job])
            case "delete":
                return await self._control.delete_jobs(runner, [job])
            case _:
                attempt = await self._control.find_attempt(runner, job)
                if attempt is None:
                    return []
                error = json.dumps({"attempt": attempt[0], "type": "FailedByHandError"})
                return await self._control.fail_job(runner, job, attempt[0], hours * HOUR, error)

    # Clients come and go

    @initialize(news=st.lists(NEW, min_size=2, max_size=6), lease=LEASES)
    def begin_with_work(self, news: list[New], lease: int) -> None:
        """Start a client that has claimed jobs: without one hardly anything can happen."""
        self.register(POOLS, KINDS)
        self.insert_many(news)
        self.claim(1, lease, {"default": 2, "second": 2}, KINDS)

    def register(self, pools: list[str], kinds: list[str]) -> None:
        """Start a client."""
        name = f"c{len(self._model.clients) + self._gone + 1}"
        number = self._do(self._jobs.register_client(self._server.sql, ClientRow(name, "h", 1, pools, kinds)))
        assert f"c{number}" == name
        self._model.clients[number] = Client(ClientState.BEATING, frozenset(pools), frozenset(kinds))

    def fall_silent(self, pick: int) -> None:
        """Let a client die, or only not beat for a while; mostly one that has work."""
        if clients := self._at_work() or self._alive():
            number = _pick(clients, pick)
            self._do(self._server.sql.execute(FALL_SILENT, number))
            self._model.become(number, ClientState.SILENT)

    def beat(self, pick: int) -> None:
        """Beat, in time or late."""
        number = _pick([*self._model.clients] or [NOBODY], pick)
        beat = self._do(self._jobs.beat(self._server.sql, number, SILENCE))
        overdue = [each for each, client in self._model.clients.items() if client.state is ClientState.SILENT]
        # A late beat still finds itself overdue: it reads what was there before.
        assert (beat.overdue, beat.alive) == (bool(overdue), self._model.beat(number))

    def stop(self, pick: int) -> None:
        """Stop a client, with runs left or without."""
        number = _pick(self._at_work() or [*self._model.clients] or [NOBODY], pick)
        self._do(self._jobs.end_client(self._server.sql, number))
        if number in self._alive():
            self._model.become(number, ClientState.STOPPED)

    def lose_the_row(self, pick: int) -> None:
        """Delete a client's row, as somebody with a prompt may."""
        if clients := self._at_work() or [*self._model.clients]:
            number = _pick(clients, pick)
            self._do(self._server.sql.execute("delete from client where number = $1", number))
            del self._model.clients[number]
            self._gone += 1

    def rescue(self) -> None:
        """Declare the silent dead and free their jobs."""
        rescued = self._do(self._jobs.rescue_jobs(self._server.sql, SILENCE))
        dead, returned, discarded, turns = self._model.rescue()
        answer = sorted(rescued.dead), rescued.returned, rescued.discarded, sorted(rescued.turns)
        assert answer == (sorted(f"c{number}" for number in dead), returned, discarded, sorted(turns))

    @rule(what=_happening(ARGUMENTS, OFTEN))
    def happen(self, what: tuple[str, dict[str, Any]]) -> None:
        """Let one thing happen, where it can."""
        name, arguments = what
        getattr(self, name)(**arguments)

    # What must hold after each

    @invariant()
    def the_tables_are_what_the_model_says(self) -> None:
        """Every column that the machine knows, and the order in which jobs fall due."""
        tables = self._do(read(self._server.sql, self._began))
        self._model.learn_ids(tables.ids)
        assert tables == expected(self._model)
        assert all(row.attempt <= row.new.max_attempts for row in self._model.rows.values())
        running = Counter(row.new.queue for row in self._model.within(JobState.RUNNING) if row.new.queue)
        assert all(count == 1 for count in running.values()), "never two of a dynamic queue"
        waiting = {row.new.queue for row in self._model.rows.values() if row.waits}
        assert waiting <= {name for name, turn in self._model.turns.items() if turn.waiting}
        states = {token: job.state for token, job in tables.jobs.items()}
        pairs = ((before, states.get(token, before)) for token, before in self._states.items())
        self._seen.update((before, after) for before, after in pairs if before != after)
        self._states = states
        self._model.now += 1.0

    def _do(self, statement: Coroutine[Any, Any, T]) -> T:
        result: T = self._server.run(statement)
        return result

    async def _empty(self) -> datetime:
        await self._server.sql.execute("truncate job, job_finalized, dynamic_queue, client, idle restart identity")
        began: datetime = await self._server.sql.fetchval("select statement_timestamp()")
        return began

    def _named(self, news: list[New]) -> list[New]:
        """Give each job a name of its own, and its follow-up another."""
        named: list[New] = []
        for new in news:
            self._count += 1
            after = new.follow_up and replace(new.follow_up, token=f"{self._count}+")
            named.append(replace(new, token=f"{self._count}", follow_up=after))
        return named

    def _inserted(self, jobs: list[New], ids: Sequence[int]) -> None:
        self._model.insert(jobs)
        self._model.learn_ids({job.token: number for job, number in zip(jobs, ids, strict=True)})

    def _alive(self) -> list[int]:
        return [number for number, client in self._model.clients.items() if client.alive]

    def _somebody(self, pick: int) -> int:
        """Give one of the clients, mostly a living one."""
        everybody = [*self._model.clients, NOBODY]
        return _pick(everybody if pick % 8 == 0 else self._alive() or everybody, pick)

    def _drawn(self, lease: int) -> int:
        """Give a lease that nobody has drawn before, as good as any."""
        while lease in self._leases:
            lease = lease % (2**63 - 1) + 1
        self._leases.add(lease)
        return lease

    def _began_to_run(self, tokens: Sequence[str], jobs: Sequence[Claimed]) -> None:
        rows = [self._model.rows[token] for token in tokens]
        assert [(job.id, job.attempt) for job in jobs] == [(row.id, row.attempt) for row in rows]
        self._runs += [Run(token, job) for token, job in zip(tokens, jobs, strict=True)]

    def _at_work(self) -> list[int]:
        working = {row.client for row in self._model.within(JobState.RUNNING)}
        return [number for number in self._alive() if number in working]

    def _current(self) -> list[Run]:
        return [run for run in self._runs if self._model.rows[run.token].lease == run.claimed.lease]

    def _end(self, ends: list[tuple[Run, Ending]], here: Runner | None = None) -> None:
        once = {(run.claimed.id, run.claimed.lease): (run, ending) for run, ending in ends}.values()
        finished = [Finished(run.claimed, _outcome(run.claimed, ending)) for run, ending in once]
        recorded: Recorded = self._do(
            record(
                self._jobs,
                self._server.sql,
                finished,
                lease=here.lease if here else 0,
                client=f"c{here.client}" if here else "",
                number=here.client if here else None,
                pools=[*here.pools] if here else [],
                kinds=[*here.kinds] if here else [],
            )
        )
        # Those outside of dynamic queues are written first, as the completer does.
        events = [(run.token, _event(run.claimed.lease, ending)) for run, ending in once]
        plain = [(token, event) for token, event in events if self._model.rows[token].new.queue is None]
        accepted = self._model.end(plain).accepted
        self._model.now += 0.5  # a statement of its own, and so at a later time
        ended = self._model.end([each for each in events if each not in plain], here)
        assert recorded.accepted == {self._model.rows[token].id for token in accepted | ended.accepted}
        assert sorted(recorded.turns) == sorted(ended.turns)
        by_id = sorted(recorded.runs, key=lambda job: job.id)
        self._began_to_run(sorted(ended.runs, key=lambda token: self._model.rows[token].id), by_id)


class InQueues(Machine):
    """The same where all jobs wait in dynamic queues: their rules are many, and most need jobs that meet."""

    @rule(what=_happening(ARGUMENTS | IN_QUEUES, OFTEN_IN_QUEUES))
    def happen(self, what: tuple[str, dict[str, Any]]) -> None:
        """Let one thing happen, where it can."""
        super().happen(what)


def run(server: Server, how: settings, seen: set[tuple[str, str]], machine: type[Machine] = Machine) -> None:
    """Run a machine; the transitions that it comes by are added to those seen."""
    factory = seed(SEED)(partial(machine, server, seen))
    run_state_machine_as_test(cast("type[Machine]", factory), settings=how)


def _pick(some: list[T], pick: int) -> T:
    return some[pick % len(some)]


def _outcome(job: Claimed, ending: Ending) -> Outcome:
    """Conclude a run by the library's own rules."""
    attempt = Attempt(job.attempt, job.max_attempts, None, job.client)
    delay = timedelta(hours=ending.hours)
    match ending.how:
        case "complete":
            return returned(None, attempt, random.random)
        case "output":
            return returned({"hours": ending.hours}, attempt, random.random)
        case "interrupt":
            return INTERRUPTED
        case "fail":
            return raised(ValueError("no"), attempt, random.random, delay=delay)
        case "discard":
            return raised(JobDiscard("no"), attempt, random.random)
        case "cancel":
            return raised(JobCancel("no"), attempt, random.random)
        case _:
            return raised(JobSnooze(delay if ending.how == "snooze" else 0), attempt, random.random)


def _event(lease: int, ending: Ending) -> End:
    """Say the same to the model."""
    hours = ending.hours * HOUR
    match ending.how:
        case "complete":
            return End(lease, "complete")
        case "output":
            return End(lease, "complete", output=f'{{"hours": {ending.hours}}}')
        case "interrupt":
            return End(lease, "interrupt")
        case "fail":
            return End(lease, "fail", hours, "ValueError")
        case "discard":
            return End(lease, "discard", error="JobDiscard")
        case "cancel":
            return End(lease, "cancel", error="JobCancel")
        case _:
            return End(lease, "snooze", hours if ending.how == "snooze" else 0.0)
