"""One pool's slots: in order, never more than its workers, woken one at a time, replaced when one ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from tests.engine.jobs import within
from tests.waiting import eventually
from workerqueue.database import Claimed
from workerqueue.engine import slots as slots_module
from workerqueue.engine.slots import AHEAD_SECONDS, LONGEST_WAIT, MAX_AHEAD, TURN, WINDOW, Slots

NOW = datetime.now(UTC)


def claimed(count: int, start: int = 0) -> list[Claimed]:
    """Give so many jobs as a claim does."""
    return [
        Claimed(n, "k", "{}", "p", "p", 1, 1, 3, 60.0, NOW, NOW, NOW, None, "c1", 1)
        for n in range(start, start + count)
    ]


def ids(jobs: Sequence[Claimed]) -> list[int]:
    """Name jobs."""
    return [job.id for job in jobs]


class Pool:
    """Slots, and what they do: each job waits for the gate, unless it is open."""

    def __init__(self, max_workers: int) -> None:
        self.slots = Slots("p", max_workers, self._work)
        self.gate = asyncio.Event()
        self.gate.set()
        self.started: list[int] = []
        self.ended: list[int] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.most = 0
        self.before: Callable[[Claimed], None] = lambda _: None

    async def _work(self, job: Claimed, task: asyncio.Task[None]) -> None:
        self.tasks.add(task)
        self.started.append(job.id)
        self.most = max(self.most, self.slots.busy)
        self.before(job)
        if not self.gate.is_set():
            await self.gate.wait()
        self.ended.append(job.id)

    async def until_started(self, count: int) -> None:
        """Wait until so many jobs have been started."""
        await self.until(lambda: len(self.started) >= count)

    async def until_ended(self, count: int) -> None:
        """Wait until so many jobs have ended and their slots are free."""
        await self.until(lambda: len(self.ended) >= count and not self.slots.busy)

    async def until_gone(self, tasks: Sequence[asyncio.Task[object]]) -> None:
        """Wait until these slots have ended."""
        await self.until(lambda: all(task.done() for task in tasks))

    async def until(self, look: Callable[[], bool]) -> None:
        """Wait until this is true."""

        async def looked() -> bool:
            return look()

        await eventually(looked)


MakePool = Callable[[int], Pool]


@pytest.fixture
async def make_pool() -> AsyncGenerator[MakePool]:
    """A factory of pools, closed behind the test."""
    made: list[Pool] = []

    def make(max_workers: int) -> Pool:
        made.append(Pool(max_workers))
        return made[-1]

    yield make
    for pool in made:
        pool.gate.set()
        await pool.slots.close()


def of_pool() -> list[asyncio.Task[object]]:
    """Give the slots that there are."""
    return [task for task in asyncio.all_tasks() if task.get_name() == "workerqueue p"]


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the slots."""
    made = Clock()
    monkeypatch.setattr(slots_module, "monotonic", made)
    return made


# How jobs are worked


async def test_jobs_that_do_not_wait_are_worked_in_order_by_a_single_slot(make_pool: MakePool) -> None:
    """No task is started for a job: one slot of ten takes them all until it lets others have their turn."""
    pool = make_pool(10)
    pool.slots.hand(claimed(TURN))
    await pool.until_ended(TURN)
    assert len(pool.tasks) == 1
    assert len(of_pool()) <= 2  # the one at work has woken the next, which has woken nobody
    pool.slots.hand(claimed(1000, TURN))
    await pool.until_ended(1000 + TURN)
    assert pool.ended == list(range(1000 + TURN))
    assert pool.most == 1
    assert len(pool.tasks) <= 10


async def test_where_jobs_wait_all_slots_are_soon_awake_and_never_more(make_pool: MakePool) -> None:
    """Each slot wakes the next one when it takes a job; the rest waits in hand, unstarted and in order."""
    pool = make_pool(10)
    pool.gate.clear()
    pool.slots.hand(claimed(25))
    await pool.until_started(10)
    await asyncio.sleep(0)
    assert (pool.started, pool.slots.busy, pool.slots.in_hand) == (list(range(10)), 10, 25)
    pool.gate.set()
    await pool.until_ended(25)
    assert (pool.started, pool.most, len(pool.tasks), pool.slots.in_hand) == (list(range(25)), 10, 10, 0)


async def test_slots_are_woken_one_at_a_time(make_pool: MakePool) -> None:
    """Ten idle slots and ten jobs that do not wait: one slot works them, the others sleep on."""
    pool = make_pool(10)
    pool.gate.clear()
    pool.slots.hand(claimed(10))
    await pool.until_started(10)
    pool.gate.set()
    await pool.until_ended(10)

    pool.tasks.clear()
    pool.slots.hand(claimed(10))
    await pool.until_ended(20)
    assert len(pool.tasks) == 1


async def test_a_slot_lets_the_rest_of_the_program_have_its_turn(make_pool: MakePool) -> None:
    """Between jobs that never wait, others run: every so many jobs."""
    pool = make_pool(1)
    seen: list[int] = []

    async def watch() -> None:
        while len(pool.ended) < TURN * 10:
            seen.append(len(pool.ended))
            await asyncio.sleep(0)

    pool.slots.hand(claimed(TURN * 10))
    await watch()
    assert max(later - earlier for earlier, later in pairwise(seen)) <= TURN


async def test_a_job_handed_over_while_a_slot_falls_asleep_is_worked(make_pool: MakePool) -> None:
    """Whatever the rhythm in which jobs come and slots fall idle, none is left lying."""
    pool = make_pool(3)
    for n in range(300):
        pool.slots.hand(claimed(1, n))
        for _ in range(n % 7):
            await asyncio.sleep(0)
    await pool.until_ended(300)
    assert pool.started == list(range(300))


# What goes back


async def test_what_was_not_started_can_be_taken_back(make_pool: MakePool) -> None:
    """In the order it came; what runs ends as it would, and nothing taken back is worked."""
    pool = make_pool(2)
    pool.gate.clear()
    pool.slots.hand(claimed(5))
    await pool.until_started(2)
    assert ids(pool.slots.take_back()) == [2, 3, 4]
    assert (pool.slots.take_back(), pool.slots.in_hand) == ([], 2)
    pool.gate.set()
    await pool.until_ended(2)
    assert pool.started == [0, 1]
    pool.slots.hand(claimed(1, 7))  # a slot that was woken for nothing is there for the next
    await pool.until_ended(3)


async def test_jobs_that_have_waited_for_too_long_go_back(make_pool: MakePool, clock: Clock) -> None:
    """All that are in hand, once the first of them has waited for so long; they are worked elsewhere."""
    pool = make_pool(1)
    pool.gate.clear()
    pool.slots.hand(claimed(2))
    await pool.until_started(1)
    clock.now += LONGEST_WAIT * 0.9
    pool.slots.hand(claimed(1, 5))
    assert pool.slots.take_back_overdue() == []
    clock.now += LONGEST_WAIT * 0.2
    assert ids(pool.slots.take_back_overdue()) == [1, 5]
    assert pool.slots.take_back_overdue() == []


async def test_what_runs_for_long_is_not_overdue(make_pool: MakePool, clock: Clock) -> None:
    """A job that a slot has taken is that slot's, however long it takes."""
    pool = make_pool(1)
    pool.gate.clear()
    pool.slots.hand(claimed(1))
    await pool.until_started(1)
    clock.now += LONGEST_WAIT * 100
    assert (pool.slots.take_back_overdue(), pool.slots.in_hand) == ([], 1)


# How many more it takes


async def test_a_pool_of_slow_jobs_holds_what_its_slots_work_and_no_more(make_pool: MakePool, clock: Clock) -> None:
    """Others may have the rest: a job that waits here while another client is idle is late."""
    pool = make_pool(5)
    assert pool.slots.wanted() == 5
    pool.gate.clear()
    pool.slots.hand(claimed(3))
    await pool.until_started(3)
    clock.now += 1
    assert pool.slots.wanted() == 2
    pool.slots.hand(claimed(2))
    assert pool.slots.wanted() == 0


async def worked(pool: Pool, clock: Clock, count: int) -> None:
    """Have so many jobs worked within two windows of the clock."""
    pool.slots.hand(claimed(count))
    await pool.until_ended(len(pool.ended) + count)
    clock.now += 2 * WINDOW


async def test_a_pool_of_quick_jobs_holds_what_it_will_soon_work(make_pool: MakePool, clock: Clock) -> None:
    """By the pace of its last jobs, up to a limit; when half of it is worked it is time for more."""
    pool = make_pool(2)
    await worked(pool, clock, 10)
    pace = 10 / (2 * WINDOW) / 2  # half of what was just seen, half of what was before
    ahead = int(pace * AHEAD_SECONDS)
    assert pool.slots.wanted() == 2 + ahead
    pool.slots.hand(claimed(2 + ahead))
    assert (pool.slots.is_low, pool.slots.wanted()) == (False, 0)
    await pool.until_ended(10 + 2 + ahead)

    pool.gate.clear()
    pool.slots.hand(claimed(2 + ahead // 2 + 1))
    await pool.until_started(10 + 2 + ahead + 2)
    assert (pool.slots.is_low, pool.slots.wanted()) == (False, 0)
    assert len(pool.slots.take_back()) == ahead // 2 + 1
    assert (pool.slots.is_low, pool.slots.wanted()) == (True, ahead)
    pool.gate.set()
    await pool.until_ended(10 + 2 + ahead + 2)

    for _ in range(20):
        await worked(pool, clock, 500)
        pool.slots.wanted()
    assert pool.slots.wanted() == 2 + MAX_AHEAD


async def test_jobs_that_turn_out_slow_end_the_holding_ahead(make_pool: MakePool, clock: Clock) -> None:
    """After what was overdue has gone back, the pool asks for its free slots again and for nothing beside."""
    pool = make_pool(2)
    await worked(pool, clock, 10)
    ahead = pool.slots.wanted()
    assert ahead > 2
    pool.gate.clear()
    pool.slots.hand(claimed(ahead))
    await pool.until_started(12)
    clock.now += LONGEST_WAIT * 2
    assert len(pool.slots.take_back_overdue()) == ahead - 2
    clock.now += LONGEST_WAIT
    assert pool.slots.wanted() == 0
    pool.gate.set()
    await pool.until_ended(12)


# Slots that end


async def test_a_slot_whose_worker_cancels_its_task_is_replaced(make_pool: MakePool) -> None:
    """Its job ends, the slot with it, and the jobs after it are worked by as many slots as before."""
    pool = make_pool(2)

    def cancel_at_first(job: Claimed) -> None:
        task = asyncio.current_task()
        if job.id < 2 and task is not None:
            task.cancel()

    pool.before = cancel_at_first
    pool.slots.hand(claimed(2))
    await pool.until_ended(2)
    await pool.until_gone(list(pool.tasks))
    old = set(pool.tasks)
    pool.tasks.clear()
    pool.gate.clear()
    pool.slots.hand(claimed(4, 2))
    await pool.until_started(4)
    assert len(pool.tasks) == 2
    assert not pool.tasks & old
    pool.gate.set()
    await pool.until_ended(6)


async def test_no_job_is_cancelled_by_the_one_before_it() -> None:
    """A worker that cancels its own task and returns at once harms nobody who comes after it."""
    ended: list[int] = []
    all_ended = asyncio.Event()

    async def work(job: Claimed, task: asyncio.Task[None]) -> None:
        if job.id == 0:
            task.cancel()
            return
        await asyncio.sleep(0)
        ended.append(job.id)
        if len(ended) == 3:
            all_ended.set()

    slots = Slots("p", 1, work)
    slots.hand(claimed(4))
    await within(all_ended)
    await slots.close()
    assert ended == [1, 2, 3]


@pytest.mark.parametrize("turns", range(4))
async def test_a_slot_cancelled_at_any_moment_leaves_no_job_behind(make_pool: MakePool, turns: int) -> None:
    """Before its first step, while it is woken, at work or idle: what was in hand is worked by another."""
    pool = make_pool(1)
    ended: list[int] = []

    async def round_of(start: int) -> None:
        pool.slots.hand(claimed(3, start))
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in asyncio.all_tasks():
            if task.get_name() == "workerqueue p":
                task.cancel()
        pool.slots.hand(claimed(1, start + 3))
        await pool.until(lambda: not pool.slots.in_hand)
        ended.append(start)

    for start in range(0, 40, 4):
        await round_of(start)
    assert len(ended) == 10
    assert set(pool.started) == set(range(40))


async def test_a_slot_that_fails_is_told_and_replaced(make_pool: MakePool, caplog: pytest.LogCaptureFixture) -> None:
    """What nobody foresaw costs one slot, not the pool, and is in the log with its trace."""
    pool = make_pool(1)

    def fail_at_first(job: Claimed) -> None:
        if job.id == 0:
            raise ZeroDivisionError

    pool.before = fail_at_first
    with caplog.at_level(logging.ERROR, "workerqueue.engine"):
        pool.slots.hand(claimed(3))
        await pool.until_ended(2)
    assert (pool.ended, pool.slots.in_hand) == ([1, 2], 0)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


# Closing


async def test_closing_ends_the_idle_slots(make_pool: MakePool) -> None:
    """Nothing is left of a pool whose work is done, and what is handed to it afterwards is not started."""
    pool = make_pool(3)
    pool.gate.clear()
    pool.slots.hand(claimed(3))
    await pool.until_started(3)
    pool.gate.set()
    await pool.until_ended(3)
    assert len(of_pool()) == 3
    await pool.slots.close()
    assert of_pool() == []
    pool.slots.hand(claimed(1, 9))
    await asyncio.sleep(0)
    assert of_pool() == []
    assert ids(pool.slots.take_back()) == [9]


async def test_closing_does_not_wait_for_a_worker_that_does_not_end(make_pool: MakePool) -> None:
    """Its slot takes nothing more when it comes back one day."""
    pool = make_pool(1)
    pool.gate.clear()
    pool.slots.hand(claimed(2))
    await pool.until_started(1)
    (stuck,) = of_pool()
    await _soon(pool.slots.close())
    assert not stuck.done()
    pool.gate.set()
    await pool.until_gone([stuck])
    assert (pool.ended, ids(pool.slots.take_back())) == ([0], [1])


async def test_closing_what_never_worked_is_no_error(make_pool: MakePool) -> None:
    """A client may stop before its first job, and stop twice."""
    pool = make_pool(3)
    await pool.slots.close()
    await pool.slots.close()


async def _soon(closing: Awaitable[None]) -> None:
    done = asyncio.Event()

    async def close() -> None:
        await closing
        done.set()

    task = asyncio.create_task(close())
    await within(done)
    await task
