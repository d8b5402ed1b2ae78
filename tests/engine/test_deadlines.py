"""One timer for all deadlines: each run is cut off at its own, once, whatever the others do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.engine.jobs import within
from workerqueue.engine.deadlines import NEVER, Deadlines

SOON = 600.0
LATE = 3600.0


class Thing:
    """Something with a deadline, so many seconds from now."""

    def __init__(self, seconds: float, then: Callable[[], object] = lambda: None) -> None:
        self.deadline = asyncio.get_running_loop().time() + seconds
        self.expired = asyncio.Event()
        self.times = 0
        self._then = then

    def expire(self) -> None:
        self.times += 1
        self.expired.set()
        self._then()


class Watch:
    """Deadlines and what they watch, in a loop whose clock is put forward: how fast the machine is does not matter."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.under_way: set[Thing] = set()
        self.deadlines = Deadlines(self.under_way)
        self._ahead = 0.0
        loop = asyncio.get_running_loop()
        time = loop.time
        monkeypatch.setattr(loop, "time", lambda: time() + self._ahead)

    async def turn(self, seconds: float) -> None:
        """Put the clock forward, and let the loop see to what is due."""
        self._ahead += seconds
        for _ in range(5):
            await asyncio.sleep(0)

    def begin(self, seconds: float, then: Callable[[], object] = lambda: None) -> Thing:
        """Begin something with a deadline."""
        thing = Thing(seconds, then)
        self.under_way.add(thing)
        self.deadlines.note(thing.deadline)
        return thing


@pytest.fixture
async def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Deadlines that watch nothing yet."""
    return Watch(monkeypatch)


@pytest.fixture
async def timers(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The times for which the loop is asked to wake the deadlines."""
    asked: list[float] = []
    loop = asyncio.get_running_loop()
    call_at = loop.call_at

    def noting(when: float, callback: Callable[..., object], *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        if isinstance(getattr(callback, "__self__", None), Deadlines):
            asked.append(when)
        return call_at(when, callback, *args, **kwargs)

    monkeypatch.setattr(loop, "call_at", noting)
    return asked


async def test_each_is_cut_off_at_its_own_deadline_and_once(watch: Watch) -> None:
    """What is late is cut off one after the other, what is not late goes on."""
    things = [watch.begin(LATE), watch.begin(SOON * 2), watch.begin(SOON)]
    for expected in ([0, 0, 1], [0, 1, 1]):
        await watch.turn(SOON)
        assert [thing.times for thing in things] == expected
    watch.begin(SOON)
    await watch.turn(SOON)  # one more look, with the others still under way
    assert [thing.times for thing in things] == [0, 1, 1]


async def test_a_deadline_nearer_than_all_others_is_kept(watch: Watch) -> None:
    """It does not wait for the timer that was set before."""
    late = watch.begin(LATE)
    near = watch.begin(SOON)
    await watch.turn(SOON)
    assert (near.times, late.times) == (1, 0)


async def test_a_deadline_already_past_is_kept_at_the_next_turn(watch: Watch, timers: list[float]) -> None:
    """A run whose time was up before it was noted is cut off as well."""
    past = watch.begin(-1)
    await within(past.expired)
    assert len(timers) == 1


async def test_only_a_nearer_deadline_moves_the_timer(watch: Watch, timers: list[float]) -> None:
    """A thousand runs that begin one after the other, each with the same timeout, set it once."""
    for n in range(1000):
        thing = watch.begin(LATE + n)
        if n % 2:
            watch.under_way.discard(thing)
    assert len(timers) == 1


async def test_a_run_that_has_ended_is_not_cut_off_and_the_next_one_is(watch: Watch, timers: list[float]) -> None:
    """The timer of a run that ended in time finds the nearest deadline of those still under way."""
    ended = watch.begin(SOON)
    next_one = watch.begin(SOON * 2)
    deadlines = [ended.deadline, next_one.deadline]
    watch.under_way.discard(ended)
    for expected in (0, 1):
        await watch.turn(SOON)
        assert (ended.times, next_one.times) == (0, expected)
    assert timers == deadlines


async def test_with_nothing_left_there_is_no_timer_until_the_next_begins(watch: Watch, timers: list[float]) -> None:
    """An idle client is not woken for nothing, and the next deadline is kept although it is later than the last."""
    watch.begin(SOON)
    await watch.turn(SOON)
    watch.under_way.clear()
    looked = len(timers)
    await watch.turn(SOON * 2)
    assert len(timers) == looked
    next_one = watch.begin(SOON)
    await watch.turn(SOON)
    assert next_one.times == 1


async def test_who_is_cut_off_may_end_others_and_itself(watch: Watch) -> None:
    """What is under way changes while the late ones are cut off."""
    things: list[Thing] = []
    things += [watch.begin(SOON, lambda: watch.under_way.difference_update(things)) for _ in range(3)]
    await watch.turn(SOON)
    later = watch.begin(SOON)
    await watch.turn(SOON)
    assert ([thing.times for thing in things], later.times) == ([1, 1, 1], 1)


async def test_one_that_does_not_end_is_not_cut_off_again(watch: Watch) -> None:
    """Its deadline is gone with the first time; what becomes of it then is for others to say."""
    stubborn = watch.begin(SOON)
    await watch.turn(SOON)
    assert stubborn.deadline == NEVER
    watch.begin(SOON)
    await watch.turn(SOON)
    assert stubborn.times == 1


async def test_after_closing_nothing_is_cut_off(watch: Watch) -> None:
    """Neither what was noted before, nor anything twice; closing without a timer is no error."""
    Deadlines(watch.under_way).close()
    noted = watch.begin(SOON)
    watch.deadlines.close()
    watch.deadlines.close()
    await watch.turn(SOON * 2)
    assert noted.times == 0
