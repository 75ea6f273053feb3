"""Who may start: the pure decisions."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub import Kind
from hub.admission import (
    Budget,
    Budgets,
    Excess,
    Outlook,
    Usage,
    disk_reserve_of,
    is_disk_low,
    judge,
    judge_memory,
    memory_of,
    occupies,
    retry_after_s,
)
from hub.lifecycle import Pending, State
from hub.record import ModuleRecord

MIB = 1024 * 1024
ALL = Budgets(instances=3, memory=100, memory_reserve=50, starts=4)


def exceeded(excess: Excess | None) -> Budget | None:
    return excess.budget if excess is not None else None


@pytest.mark.parametrize(
    ("usage", "memory", "expected"),
    [
        (Usage(), 1, None),
        (Usage(instances=2, memory=90, available=60, starts=3), 10, None),
        (Usage(instances=3), 1, Budget.INSTANCES),
        (Usage(memory=90), 11, Budget.MEMORY),
        (Usage(), 101, Budget.MEMORY),
        (Usage(available=59), 10, Budget.MEMORY),
        (Usage(available=69, coming=10), 10, Budget.MEMORY),
        (Usage(available=70, coming=10), 10, None),
        (Usage(available=None), 10, None),
        (Usage(starts=4), 1, Budget.STARTS),
        (Usage(disk_low=True), 0, Budget.DISK),
    ],
)
def test_each_budget_allows_exactly_what_it_holds(usage: Usage, memory: int, expected: Budget | None) -> None:
    """The last one that fits is admitted and the first that does not is refused, with the budget's name."""
    assert exceeded(judge(ALL, usage, memory)) == expected


@given(
    instances=st.integers(0, 10_000),
    memory=st.integers(0, 2**50),
    coming=st.integers(0, 2**50),
    available=st.none() | st.integers(0, 2**50),
    needed=st.integers(0, 2**50),
)
def test_without_budgets_only_the_queue_and_the_disk_refuse(
    instances: int, memory: int, coming: int, available: int | None, needed: int
) -> None:
    """A hub that was told no bounds has none."""
    usage = Usage(instances, memory, coming, available)
    assert judge(Budgets(), usage, needed) is None
    assert exceeded(judge(Budgets(), Usage(instances, memory, coming, available, starts=1), needed)) == Budget.STARTS


@given(
    limit=st.integers(1, 100), bytes_=st.integers(1, 1000), asked=st.lists(st.integers(0, 300), min_size=1, max_size=30)
)
def test_admitted_one_after_another_they_never_exceed(limit: int, bytes_: int, asked: list[int]) -> None:
    """Whatever is asked for in whatever order, the sums stay within the budgets."""
    budgets = Budgets(instances=limit, memory=bytes_, starts=1000)
    admitted: list[int] = []
    for memory in asked:
        if judge(budgets, Usage(len(admitted), sum(admitted)), memory) is None:
            admitted.append(memory)
    assert len(admitted) <= limit
    assert sum(admitted) <= bytes_


def test_another_kind_is_judged_by_memory_alone() -> None:
    """A module that is on its way up already is not refused for its own place or queue."""
    usage = Usage(instances=3, starts=4, disk_low=True)
    assert judge_memory(ALL, usage, 100) is None
    assert exceeded(judge_memory(ALL, usage, 101)) == Budget.MEMORY


def test_memory_is_what_the_kind_declares() -> None:
    """A kind's limit counts, whatever the estimate; the estimate counts for a kind without, or one that is gone."""
    command = ["server"]
    assert memory_of(Kind("k", command, limits={"memory": "2M"}), 7) == 2 * MIB
    assert memory_of(Kind("k", command, limits={"nofile": 10}), 7) == 7
    assert memory_of(None, 7) == 7


PLACES = {
    State.PROVISIONING,
    State.PROVISIONED,
    State.HIBERNATING,
    State.WAKING,
    State.RECOVERING,
}


@pytest.mark.parametrize(
    ("state", "pending", "parked"), list(itertools.product(State, (None, *Pending), (False, True)))
)
def test_who_runs_or_will_run_by_itself_has_a_place(state: State, pending: Pending | None, parked: bool) -> None:
    """A crashed module keeps its place while the watchdog will recover it; whoever has a process has one anyway."""
    record = ModuleRecord("m", state=state, pending=pending, parked=parked)
    recovers = state is State.CRASHED and pending is None and not parked
    assert occupies(record, running=False) is (state in PLACES or recovers)
    assert occupies(record, running=True)


@given(
    budget=st.sampled_from(Budget),
    outlook=st.builds(
        Outlook,
        next_idle_s=st.none() | st.floats(-1e9, 1e9),
        leaving=st.booleans(),
        starts=st.integers(0, 10_000),
        slots=st.integers(1, 100),
        start_s=st.floats(0, 1e6),
    ),
)
def test_the_time_to_wait_is_bounded_and_never_zero(budget: Budget, outlook: Outlook) -> None:
    """Nobody is told to ask in a loop, nor to come back next week."""
    assert 1 <= retry_after_s(budget, outlook) <= 300


@pytest.mark.parametrize(
    ("budget", "outlook", "expected"),
    [
        (Budget.STARTS, Outlook(starts=100, slots=4, start_s=0.4), 10.0),
        (Budget.INSTANCES, Outlook(next_idle_s=42.0), 42.0),
        (Budget.MEMORY, Outlook(next_idle_s=42.0, leaving=True), 1.0),
        (Budget.MEMORY, Outlook(), 30.0),
        (Budget.DISK, Outlook(), 30.0),
    ],
)
def test_the_time_to_wait_follows_what_is_known(budget: Budget, outlook: Outlook, expected: float) -> None:
    """The queue's length for starts; for the rest, who leaves now or is idle next."""
    assert retry_after_s(budget, outlook) == expected


@pytest.mark.parametrize(
    ("configured", "size", "expected"),
    [(None, 2**40, 256 * MIB), (None, 100 * MIB, 5 * MIB), (0, 2**40, 0), (7, 100, 7), (2**40, 100, 2**40)],
)
def test_a_small_disk_has_a_small_reserve(configured: int | None, size: int, expected: int) -> None:
    """By default a twentieth of a small disk, 256 MiB of others; what was asked for is taken as it is."""
    assert disk_reserve_of(configured, size) == expected


@pytest.mark.parametrize(
    ("free", "before", "low"),
    [(100, False, False), (99, False, True), (100, True, True), (109, True, True), (110, True, False), (0, True, True)],
)
def test_a_disk_does_not_flutter_around_its_reserve(free: int, before: bool, low: bool) -> None:
    """Low below the reserve of 100, and well again only a tenth above it."""
    assert is_disk_low(free, 100, before=before) is low


def test_without_a_reserve_no_disk_is_low() -> None:
    """Not even a full one."""
    assert not is_disk_low(0, 0, before=True)
