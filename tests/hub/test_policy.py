"""The watchdog's decisions: restart budget, idleness, and what an interrupted module becomes."""

import itertools
import random
from collections.abc import Sequence
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.lifecycle import Pending, State
from hub.policy import (
    Crash,
    IdlePolicy,
    Recovery,
    Resolution,
    RestartPolicy,
    choose_idle,
    is_idle,
    may_be_adopted,
    needs_backend,
    plan_recovery,
    resolve,
    spread,
)
from hub.record import ModuleRecord

POLICY = RestartPolicy(limit=3, period_s=60.0, stable_after_s=10.0)
MOMENTS = st.lists(st.floats(0, 1000, allow_nan=False), max_size=30).map(sorted)
POLICIES = st.builds(
    RestartPolicy,
    limit=st.integers(0, 6),
    period_s=st.floats(0, 200, allow_nan=False),
    stable_after_s=st.floats(0, 100, allow_nan=False),
)


def plan(policy: RestartPolicy, times: Sequence[float], now: float) -> Recovery:
    """Plan for a module that came up again at once after each crash."""
    crashes = [Crash(at, at - before) for before, at in pairwise((times[0] if times else now, *times, now))]
    return plan_recovery(policy, crashes[:-1], crashes[-1])


@pytest.mark.parametrize(
    ("crashes", "now", "expected"),
    [
        pytest.param([], 0.0, Recovery(spent=False, attempt=0), id="first-crash"),
        pytest.param([0.0], 5.0, Recovery(spent=False, attempt=1), id="again-soon"),
        pytest.param([0.0, 5.0], 9.0, Recovery(spent=False, attempt=2), id="third-of-a-series"),
        pytest.param([0.0, 5.0, 9.0], 12.0, Recovery(spent=True, attempt=3), id="budget-spent"),
        pytest.param([0.0], 10.0, Recovery(spent=False, attempt=0), id="stable-in-between"),
        pytest.param([0.0, 15.0], 20.0, Recovery(spent=False, attempt=1), id="series-began-after-the-stable-time"),
        pytest.param([0.0, 20.0, 40.0], 59.9, Recovery(spent=True, attempt=3), id="stable-but-too-often"),
        pytest.param([0.0, 20.0, 40.0], 60.0, Recovery(spent=False, attempt=0), id="oldest-left-the-window"),
    ],
)
def test_a_crash_is_planned_for(crashes: list[float], now: float, expected: Recovery) -> None:
    """The budget counts a sliding window, the backoff a series without a stable time in it."""
    assert plan(POLICY, crashes, now) == expected


def test_a_limit_of_zero_recovers_nothing() -> None:
    """With no budget the first crash spends it."""
    assert plan(RestartPolicy(limit=0), [], 0.0).spent


@given(policy=POLICIES, moments=MOMENTS)
def test_no_window_sees_more_recoveries_than_the_limit(policy: RestartPolicy, moments: list[float]) -> None:
    """Whatever the crashes, no period of the policy's length contains more recoveries than its limit."""
    recovered: list[float] = []
    for number, now in enumerate(moments):
        if not plan(policy, moments[:number], now).spent:
            recovered.append(now)
    for start in recovered:
        assert sum(1 for t in recovered if 0 <= t - start < policy.period_s) <= policy.limit


@given(policy=POLICIES, moments=MOMENTS, gap=st.floats(0, 100, allow_nan=False))
def test_a_stable_time_starts_the_backoff_anew(policy: RestartPolicy, moments: list[float], gap: float) -> None:
    """After a stable time without a crash, a recovery that is still allowed is number 0 of its series."""
    now = (moments[-1] if moments else 0.0) + policy.stable_after_s + gap
    recovery = plan(policy, moments, now)
    # Subtraction may lose the last bit of the sum above: judge by what the policy sees.
    if not recovery.spent and (not moments or now - moments[-1] >= policy.stable_after_s):
        assert recovery.attempt == 0


@given(waits=st.lists(st.floats(0, 1000, allow_nan=False), max_size=10))
def test_time_that_is_not_up_is_never_stable(waits: list[float]) -> None:
    """However long a module waits in `crashed` or takes to start, attempts that fail climb one at a time."""
    policy = RestartPolicy(limit=100, period_s=1e9, stable_after_s=10.0)
    failed = [Crash(at, up_s=0.0) for at in accumulate(waits)]
    now = Crash(sum(waits) + 1, up_s=0.0)
    assert plan_recovery(policy, failed, now).attempt == len(failed)


@given(limit=st.integers(1, 20), interval=st.floats(0.001, 1))
def test_a_crash_loop_climbs_one_attempt_at_a_time_until_the_budget_is_spent(limit: int, interval: float) -> None:
    """Crashes in quick succession get attempts 0, 1, 2, ... and exactly `limit` recoveries."""
    policy = RestartPolicy(limit=limit, period_s=1000.0, stable_after_s=10.0)
    crashes = [n * interval for n in range(limit + 1)]
    plans = [plan(policy, crashes[:n], now) for n, now in enumerate(crashes)]
    assert [p.attempt for p in plans] == list(range(limit + 1))
    assert [p.spent for p in plans] == [False] * limit + [True]


IDLE = IdlePolicy(provisioned_s=100.0, hibernated_s=200.0)


@pytest.mark.parametrize(
    ("policy", "state", "idle_s", "expected"),
    [
        (IDLE, State.PROVISIONED, 99.9, False),
        (IDLE, State.PROVISIONED, 100.0, True),
        (IDLE, State.HIBERNATED, 199.9, False),
        (IDLE, State.HIBERNATED, 200.0, True),
        (IdlePolicy(hibernated_s=1.0), State.PROVISIONED, 1e9, False),
        (IdlePolicy(provisioned_s=1.0), State.HIBERNATED, 1e9, False),
        (IdlePolicy(provisioned_s=0.0), State.PROVISIONED, 0.0, True),
        *((IDLE, state, 1e9, False) for state in State if state not in {State.PROVISIONED, State.HIBERNATED}),
    ],
)
def test_only_unused_provisioned_and_hibernated_modules_are_idle(
    policy: IdlePolicy, state: State, idle_s: float, expected: bool
) -> None:
    """A module is idle from its own state's time-out on, never without one, and never in any other state."""
    assert is_idle(policy, ModuleRecord("m", state=state), idle_s) is expected


# By hand from the contract: what a killed hub leaves, next to what the module becomes; -: its local data goes.
RESOLVED = """
unprovisioned   clean  unprovisioned  -
unprovisioned   dirty  unprovisioned  kept
provisioning    clean  unprovisioned  -
provisioning    dirty  unprovisioned  kept
provisioned     clean  crashed        kept
provisioned     dirty  crashed        kept
hibernating     clean  hibernated     kept
hibernating     dirty  hibernated     kept
hibernated      clean  hibernated     kept
hibernated      dirty  hibernated     kept
waking          clean  hibernated     kept
waking          dirty  hibernated     kept
deprovisioning  clean  unprovisioned  -
deprovisioning  dirty  crashed        kept
crashed         clean  crashed        kept
crashed         dirty  crashed        kept
recovering      clean  unprovisioned  -
recovering      dirty  crashed        kept
obliterating    clean  crashed        kept
obliterating    dirty  crashed        kept
"""


@pytest.mark.parametrize("pending", [None, Pending.DEPROVISION])
@pytest.mark.parametrize("row", RESOLVED.strip().splitlines())
def test_an_interrupted_module_comes_to_the_rest_that_the_contract_names(row: str, pending: Pending | None) -> None:
    """Each state, clean or dirty, resolves to its stable state and keeps its data where a process has run on it."""
    state, data, target, kept = row.split()
    resolution = resolve(ModuleRecord("m", state=State(state), dirty=data == "dirty", pending=pending))
    assert (resolution.state.value, resolution.keep_data) == (target, kept == "kept")


SPACE = list(itertools.product(State, (False, True), (None, *Pending)))


@pytest.mark.parametrize(("state", "dirty", "pending"), SPACE)
def test_only_what_was_provisioned_is_adopted(state: State, dirty: bool, pending: Pending | None) -> None:
    """A process that still serves keeps its module provisioned; in any other state, or with an obliteration begun,
    its operation is resolved as if it did not."""
    record = ModuleRecord("m", state=state, dirty=dirty, pending=pending)
    if state is State.PROVISIONED and pending is not Pending.OBLITERATE:
        assert may_be_adopted(record)
        assert resolve(record, serving=True) == Resolution(State.PROVISIONED, keep_data=True, reason="adopted")
    else:
        assert not may_be_adopted(record)
        assert resolve(record, serving=True) == resolve(record)


@pytest.mark.parametrize(("state", "dirty", "pending"), SPACE)
def test_every_interruption_is_resolved_without_losing_dirty_data(
    state: State, dirty: bool, pending: Pending | None
) -> None:
    """All states x dirty x pending lead to a stable state, with a reason, and dirty data is kept in every one."""
    resolution = resolve(ModuleRecord("m", state=state, dirty=dirty, pending=pending))
    assert resolution.state.stable
    assert resolution.reason.isidentifier()
    assert resolution.keep_data or not dirty


@pytest.mark.parametrize(("state", "dirty"), list(itertools.product(State, (False, True))))
def test_a_begun_obliteration_stays_the_only_future(state: State, dirty: bool) -> None:
    """With an obliteration pending, whatever was interrupted rests in `crashed`, where only obliterate is open."""
    resolution = resolve(ModuleRecord("m", state=state, dirty=dirty, pending=Pending.OBLITERATE))
    assert (resolution.state, resolution.reason) == (State.CRASHED, "obliteration_pending")


@pytest.mark.parametrize(
    ("record", "needs"),
    [
        (ModuleRecord("m", state=State.CRASHED, pending=Pending.OBLITERATE), True),
        (ModuleRecord("m", state=State.CRASHED, dirty=True, pending=Pending.DEPROVISION), True),
        (ModuleRecord("m", state=State.CRASHED, dirty=False, pending=Pending.DEPROVISION), False),
        (ModuleRecord("m", state=State.UNPROVISIONED, dirty=True), True),
        (ModuleRecord("m", state=State.CRASHED, dirty=True), False),
        (ModuleRecord("m", state=State.PROVISIONED, dirty=True), False),
    ],
)
def test_what_waits_for_the_backend_is_known(record: ModuleRecord, needs: bool) -> None:
    """Obliterations and dirty data on its way home do; a recovery, or a deletion after the commit, does not."""
    assert needs_backend(record) is needs


@given(count=st.integers(0, 500), delay=st.floats(0, 10), longest=st.floats(0, 300), seed=st.randoms())
def test_what_waited_is_spread(count: int, delay: float, longest: float, seed: random.Random) -> None:
    """One after another on average, none later than the cap, each by a chance of its own."""
    delays = spread(count, delay, longest, seed.random)
    assert len(delays) == count
    assert all(0 <= each <= min(count * delay, longest) for each in delays)


def test_a_herd_does_not_come_at_once() -> None:
    """Of a hundred that waited, no second gets more than a handful."""
    delays = spread(100, 1.0, 300.0, random.Random(1).random)
    assert max(sum(1 for each in delays if second <= each < second + 1) for second in range(100)) <= 6


@pytest.mark.parametrize(("room", "chosen"), [(-3, []), (0, []), (2, [1, 3]), (9, [1, 3, 0, 2])])
def test_the_longest_idle_go_first(room: int, chosen: list[int]) -> None:
    """Where there is not room for all, those that were used last stay."""
    assert choose_idle([5.0, 90.0, 1.0, 30.0], room) == chosen
