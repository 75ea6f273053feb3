"""The pool that transfers share: bounds, turns, failures, ends."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from backends import TransferCancelled, TransferPool
from backends.cancellation import pause
from backends.hydration.pool import Lane


class Probe:
    """Calls that say when they run and end when they are let."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.order: list[str] = []
        self.changed = threading.Condition(self.lock)
        self.gate = threading.Semaphore(0)

    def call(self, name: str) -> None:
        with self.changed:
            self.order.append(name)
            self.running[name] += 1
            self.running["all"] += 1
            for key in (name, "all"):
                self.most[key] = max(self.most[key], self.running[key])
            self.changed.notify_all()
        self.gate.acquire()
        with self.changed:
            self.running[name] -= 1
            self.running["all"] -= 1

    def started(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.order) >= count, 20)


def _background(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_lane_is_bounded_and_its_producer_waits() -> None:
    """A lane never has more calls queued or running than its limit, however many threads are idle."""
    probe = Probe()
    submitted: list[int] = []
    with TransferPool(8) as pool, pool.lane(3) as lane:

        def produce() -> None:
            for number in range(10):
                lane.submit(probe.call, "a")
                submitted.append(number)

        thread = _background(produce)
        probe.started(3)
        assert len(submitted) <= 3
        for _ in range(10):
            probe.gate.release()
        thread.join()
        lane.drain()
    assert probe.most["a"] == 3
    assert len(probe.order) == 10


def test_lanes_take_turns() -> None:
    """With every thread taken by one transfer, another one's call is next, not behind all that the first has to do."""
    probe = Probe()
    with TransferPool(2) as pool, pool.lane(6) as big, pool.lane(4) as small:
        for _ in range(6):
            big.submit(probe.call, "big")
        probe.started(2)
        for _ in range(2):
            small.submit(probe.call, "small")
        for _ in range(8):
            probe.gate.release()
        small.drain()
        big.drain()
    assert probe.order.index("small") < 5
    assert Counter(probe.order) == {"big": 6, "small": 2}
    assert probe.most["all"] == 2


def test_a_failure_fails_its_lane_only() -> None:
    """The first failure reaches its own transfer, whose queued calls don't run any more; others go on."""
    ran: list[str] = []
    gate = threading.Event()

    def wait() -> None:
        gate.wait(20)

    def fail() -> None:
        raise ValueError("first")

    with TransferPool(1) as pool, pool.lane(4) as other:

        def run() -> None:
            with pool.lane(4) as lane:
                lane.submit(wait)
                lane.submit(fail)
                lane.submit(ran.append, "queued")
                gate.set()
                lane.drain()

        with pytest.raises(ValueError, match="first"):
            run()
        other.submit(ran.append, "other")
        other.drain()
    assert ran == ["other"]


def test_leaving_a_lane_waits_for_its_own_calls() -> None:
    """A transfer that ends drops its queued calls and returns when its running ones have ended, whatever others do."""
    probe, others = Probe(), Probe()
    with TransferPool(2) as pool, pool.lane(1) as other:
        other.submit(others.call, "other")
        others.started(1)

        lanes: list[Lane] = []

        def leave() -> None:
            with pool.lane(4) as lane:
                lanes.append(lane)
                for _ in range(3):
                    lane.submit(probe.call, "mine")
                probe.started(1)

        thread = _background(leave)
        probe.started(1)
        deadline = time.monotonic() + 20
        while lanes[0].queued and time.monotonic() < deadline:
            os.sched_yield()
        probe.gate.release()
        thread.join(20)
        assert not thread.is_alive()
        others.gate.release()
    assert probe.order == ["mine"]


def test_a_token_ends_the_wait_for_a_turn() -> None:
    """A transfer that waits behind another one's long calls is cancelled at once, and its calls never run."""
    probe, token = Probe(), threading.Event()
    with TransferPool(1) as pool, pool.lane(1) as busy:
        busy.submit(probe.call, "busy")
        probe.started(1)
        token.set()

        def run() -> None:
            with pool.lane(1, token) as lane:
                lane.submit(probe.call, "mine")
                lane.drain()

        with pytest.raises(TransferCancelled):
            run()
        probe.gate.release()
    assert probe.order == ["busy"]


def test_pauses_in_calls_end_with_the_token() -> None:
    """A store that pauses before it repeats a request is woken by the token of the transfer whose call it works on."""
    token = threading.Event()
    with TransferPool(1) as pool:

        def run() -> None:
            with pool.lane(1, token) as lane:
                lane.submit(pause, 60)
                token.set()
                lane.drain()

        with pytest.raises(TransferCancelled):
            run()
        with pool.lane(1) as after:
            after.submit(pause, 0)
            after.drain()


def test_close_joins_and_refuses() -> None:
    """A closed pool has no threads, and takes no more calls."""
    before = threading.active_count()
    pool = TransferPool(4)
    with pool.lane(4) as lane:
        for _ in range(20):
            lane.submit(lambda: None)
        lane.drain()
    pool.close()
    assert threading.active_count() == before
    with pool.lane(1) as lane, pytest.raises(RuntimeError):
        lane.submit(lambda: None)
