"""When leases are renewed: the pure part."""

# A white-box test: it looks at how much a schedule keeps.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from backends import Head, LeaseObserver
from backends.hydration.lease import lease_ms
from hub.leases import (
    LeasePolicy,
    Schedule,
    keeps_claim,
    pause_before_take_over,
    renewal_due,
    retry_due,
    shortening_due,
    spread_again,
    spread_first,
)
from hub.lifecycle import Pending, State
from hub.record import ModuleRecord

POLICY = LeasePolicy(lease_s=120.0, hibernated_lease_s=3600.0)
SECONDS = st.floats(0.1, 100_000.0)
TIMES = st.floats(0.0, 1e7)
CHANCE = st.floats(0.0, 1.0, exclude_max=True)


@pytest.mark.parametrize("state", State)
def test_what_runs_or_moves_has_the_short_lease_and_what_is_merely_kept_the_long_one(state: State) -> None:
    """A hub that dies keeps what served no longer than needed; sleepers cost few renewals."""
    kept = state in {State.HIBERNATED, State.CRASHED, State.UNPROVISIONED}
    assert POLICY.wanted_s(state) == (3600.0 if kept else 120.0)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("dirty", [False, True])
def test_a_claim_is_kept_for_data_and_for_what_is_about_to_have_some(state: State, dirty: bool) -> None:
    """Clean data at rest or on its way out has been given back; renewed, it would be taken from others."""
    record = ModuleRecord("m", state=state, dirty=dirty, base="me/1")
    assert keeps_claim(record) is (
        (dirty or state in {State.PROVISIONING, State.RECOVERING}) and state is not State.OBLITERATING
    )


@pytest.mark.parametrize("state", State)
def test_no_claim_is_kept_once_an_obliteration_was_begun(state: State) -> None:
    """There is nothing left to commit, whatever state that is in."""
    assert not keeps_claim(ModuleRecord("m", state=state, dirty=True, base="me/1", pending=Pending.OBLITERATE))


@given(asked_at=TIMES, written_s=SECONDS, wanted_s=SECONDS, chance=CHANCE)
def test_a_lease_is_renewed_with_time_for_two_failures(
    asked_at: float, written_s: float, wanted_s: float, chance: float
) -> None:
    """At a third of the shorter of what it is and what it should be, a little earlier by chance."""
    due = renewal_due(asked_at, written_s, wanted_s, lambda: chance)
    third = min(written_s, wanted_s) / 3
    assert asked_at + 0.9 * third - 1e-6 <= due <= asked_at + third + 1e-6


@given(now=TIMES, planned=st.none() | TIMES, wanted_s=SECONDS, chance=CHANCE)
def test_a_woken_module_is_renewed_in_a_third_of_its_new_lease_at_the_latest(
    now: float, planned: float | None, wanted_s: float, chance: float
) -> None:
    """Neither at once, which would be traffic for each wake, nor later than what was planned."""
    due = shortening_due(now, planned, wanted_s, lambda: chance)
    assert due <= now + wanted_s / 3 + 1e-6
    assert planned is None or due <= planned
    assert due == planned or due > now


@given(now=TIMES, until=TIMES, wanted_s=SECONDS, chance=CHANCE)
def test_a_renewal_that_failed_is_tried_again_before_the_lease_runs_out_or_when_it_does(
    now: float, until: float, wanted_s: float, chance: float
) -> None:
    """Always later than now, so that no failure makes a loop; and somebody looks when the lease ends."""
    due = retry_due(now, until, wanted_s, lambda: chance)
    assert now < due <= now + wanted_s / 6 + 1e-6
    assert until <= now or due <= until


def test_after_two_failures_there_is_time_for_another_try() -> None:
    """Even where each was tried as late as may be."""
    due = renewal_due(0.0, 120.0, 120.0, lambda: 0.0)
    for _ in range(3):
        due = retry_due(due, 120.0, 120.0, lambda: 0.0)
    assert due < 120.0


RECORDS = st.lists(
    st.builds(
        ModuleRecord,
        module_id=st.uuids().map(str),
        state=st.sampled_from(State),
        dirty=st.just(True),
        base=st.just("me/1"),
        since=st.floats(0, 1e9),
    ),
    max_size=50,
)


@given(records=RECORDS, now=TIMES)
def test_after_a_start_everyone_has_a_time_before_any_sleepers_lease_can_be_in_danger(
    records: list[ModuleRecord], now: float
) -> None:
    """Each once, none before the start, all within a sixth of a sleeper's lease, no more than twenty in a second."""
    planned = spread_first(POLICY, records, now)
    assert sorted(module_id for module_id, _ in planned) == sorted(record.module_id for record in records)
    times = [at for _, at in planned]
    assert times == sorted(times)
    assert all(now <= at <= now + 3600 / 6 for at in times)
    assert all(later - earlier > 1 / 20 - 1e-6 for earlier, later in itertools.pairwise(times))


@pytest.mark.parametrize(("sleepers", "over_s"), [(10, 0.5), (10_000, 500), (100_000, 600)])
def test_many_sleepers_take_longer_but_never_too_long(sleepers: int, over_s: float) -> None:
    """Twenty in a second, and more only where they are too many for that; evenly."""
    records = [ModuleRecord(f"m{n}", state=State.HIBERNATED, dirty=True, base="me/1") for n in range(sleepers)]
    times = [at for _, at in spread_first(POLICY, records, 0.0)]
    assert over_s * 0.85 < times[-1] < over_s
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) < 0.051


def test_many_that_run_come_in_time_for_their_short_leases() -> None:
    """A fleet that was adopted serves while the hub starts: none of it waits longer than a sixth of its lease."""
    sleepers = [ModuleRecord(f"s{n}", state=State.HIBERNATED, dirty=True, base="me/1") for n in range(10_000)]
    running = [ModuleRecord(f"r{n}", state=State.PROVISIONED, dirty=True, base="me/1") for n in range(2_000)]
    times = dict(spread_first(LeasePolicy(30.0, 3600.0), sleepers + running, 0.0))
    assert max(times[record.module_id] for record in running) <= 5.0
    assert sum(at <= 60.0 for at in times.values()) < 2_000 + 60 * 20


def test_who_runs_comes_first_then_who_crashed_then_who_fell_asleep_last() -> None:
    """The lease of what an ending hub put to sleep is a short one, and the youngest."""
    records = [
        ModuleRecord("old", state=State.HIBERNATED, since=1.0),
        ModuleRecord("unsent", state=State.UNPROVISIONED, dirty=True, since=2.0),
        ModuleRecord("crashed", state=State.CRASHED, since=1.0),
        ModuleRecord("young", state=State.HIBERNATED, since=3.0),
        ModuleRecord("adopted", state=State.PROVISIONED, since=0.0),
    ]
    order = [module_id for module_id, _ in spread_first(POLICY, records, 0.0)]
    assert order == ["adopted", "crashed", "young", "unsent", "old"]


@given(running=st.integers(0, 3000), resting=st.integers(0, 3000), now=TIMES)
def test_after_an_outage_those_that_run_come_within_a_sixth_of_a_lease(running: int, resting: int, now: float) -> None:
    """In the order given, and not all at once; sleepers follow, so few in a second that nobody has to wait for them."""
    first, then = [f"r{number}" for number in range(running)], [f"s{number}" for number in range(resting)]
    planned = spread_again(first, then, POLICY, now)
    assert [module_id for module_id, _ in planned] == first + then
    assert all(now <= at <= now + 20 for _, at in planned[:running])
    assert all(now <= at <= now + 3600 / 6 for _, at in planned)
    assert len({at for _, at in planned}) > len(planned) / 2 or not planned
    sleepers = [at for _, at in planned[running:]]
    assert all(later - earlier > 1 / 20 - 1e-6 for earlier, later in itertools.pairwise(sleepers))


class ScheduleMachine(RuleBasedStateMachine):
    """A schedule against a plain dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = Schedule()
        self.model: dict[str, float] = {}

    @rule(module_id=st.sampled_from("abcdef"), at=st.integers(0, 20))
    def plan(self, module_id: str, at: int) -> None:
        self.schedule.plan(module_id, at)
        self.model[module_id] = at

    @rule(module_id=st.sampled_from("abcdef"))
    def drop(self, module_id: str) -> None:
        self.schedule.drop(module_id)
        self.model.pop(module_id, None)

    @rule(module_id=st.sampled_from("abcdef"))
    def look(self, module_id: str) -> None:
        assert self.schedule.planned(module_id) == self.model.get(module_id)
        assert len(self.schedule) == len(self.model)

    @rule(now=st.integers(0, 20))
    def take(self, now: int) -> None:
        taken = self.schedule.take(now)
        due = [at for at in self.model.values() if at <= now]
        assert (taken is not None) == bool(due)
        if taken is not None:
            assert self.model.pop(taken) == min(due)


TestSchedule = ScheduleMachine.TestCase


def test_a_module_that_is_planned_again_and_again_does_not_fill_the_memory() -> None:
    """Times that were overtaken are forgotten: each renewal plans the next one, for as long as a hub runs."""
    schedule = Schedule()
    chance = random.Random(1)
    for _ in range(10_000):
        schedule.plan(f"m{chance.randrange(10)}", 1e6 + chance.random())
    assert len(schedule) == 10
    assert len(schedule._heap) < 200


def test_a_lease_that_is_not_renewed_is_watched_to_its_end() -> None:
    """A lease of a running module is waited for, by looks that are nearer to each other than its renewals."""
    policy = LeasePolicy(30.0, 3600.0)
    remaining: float = 30.0
    earlier: float | None = None
    looks = 0
    while remaining > 0:
        pause = pause_before_take_over(policy, remaining, earlier)
        assert pause is not None
        assert 0 < pause < 30.0 / 3
        earlier, remaining = remaining, remaining - pause
        looks += 1
    assert looks <= 13


def test_a_hub_that_lives_is_not_waited_for() -> None:
    """A lease that was renewed between two looks has a holder, and one that is longer than a running module's has time."""
    policy = LeasePolicy(30.0, 3600.0)
    assert pause_before_take_over(policy, 30.0, 28.0) is None
    assert pause_before_take_over(policy, 3600.0, None) is None


@given(SECONDS, TIMES)
def test_a_lease_as_long_as_ones_own_is_waited_for(lease_s: float, at: float) -> None:
    """To the last bit: hubs of one configuration have the same, and a machine that died may have been any of them."""
    length = lease_ms(lease_s)
    head = Head(1, "another", 1, "k", None, None, tombstone=False, etag="e", nonce="n", lease_ms=length)
    remaining = LeaseObserver(lambda: at).remaining_s("m", head)
    assert pause_before_take_over(LeasePolicy(lease_s, 3600.0), remaining, None) is not None
