"""Interrupted records brought to rest: the pure part."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.lifecycle import Pending, State
from hub.policy import may_be_adopted, resolve
from hub.record import ModuleRecord
from hub.resolution import resolved

RECORDS = st.builds(
    ModuleRecord,
    module_id=st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True),
    kind=st.sampled_from(["", "store", "redis"]),
    state=st.sampled_from(State),
    dirty=st.booleans(),
    base=st.none() | st.text(max_size=10),
    pending=st.none() | st.sampled_from(Pending),
    suspect=st.booleans(),
    op_id=st.sampled_from(["", "0123456789abcdef"]),
    port=st.none() | st.integers(1, 65535),
    pid=st.none() | st.integers(1, 2**22),
    started_ticks=st.none() | st.integers(0, 2**40),
    boot_id=st.sampled_from(["", "3f0e4a52-8f3f-4e5e-a2c3-0d2f6e4f9b11"]),
    restarts=st.integers(0, 9),
    last_error=st.none() | st.text(max_size=20),
    since=st.floats(0, 1e10),
    parked=st.booleans(),
    relist_s=st.floats(0, 1e5),
)


@given(record=RECORDS, now=st.floats(0, 1e10))
def test_a_resolved_module_is_at_rest(record: ModuleRecord, now: float) -> None:
    """Afterwards the state is stable, and no operation and no process is claimed any more."""
    after = resolved(record, now)
    assert after.state.stable
    assert (after.op_id, after.pid, after.started_ticks, after.boot_id) == ("", None, None, "")


@given(record=RECORDS, now=st.floats(0, 1e10))
def test_a_process_is_claimed_only_where_it_is_adopted(record: ModuleRecord, now: float) -> None:
    """A module whose process serves on is as it was; one whose process may not be adopted is resolved without it."""
    after = resolved(record, now, serving=True)
    if may_be_adopted(record):
        assert after == msgspec.structs.replace(record, op_id="")
    else:
        assert after == resolved(record, now)


@given(record=RECORDS, now=st.floats(0, 1e10))
def test_dirty_data_and_what_it_grew_from_survive(record: ModuleRecord, now: float) -> None:
    """A dirty module stays dirty, tracked, on its base and with its pending intent; nothing takes dirtiness away."""
    after = resolved(record, now)
    assert after.dirty == record.dirty
    if record.dirty:
        assert after.tracked
        pending = Pending.OBLITERATE if record.state is State.OBLITERATING else record.pending
        assert (after.base, after.pending, after.suspect) == (record.base, pending, record.suspect)


@given(record=RECORDS, now=st.floats(0, 1e10))
def test_what_resolution_does_not_decide_stays(record: ModuleRecord, now: float) -> None:
    """Identity, kind, port, history and the last error are carried over."""
    after = resolved(record, now)
    for name in ("module_id", "kind", "port", "restarts", "last_error", "parked", "base", "suspect", "relist_s"):
        assert getattr(after, name) == getattr(record, name)


@given(record=RECORDS, now=st.floats(0, 1e10))
def test_resolving_twice_changes_nothing_more(record: ModuleRecord, now: float) -> None:
    """A second kill -9 before the journal was written ends in the same record, and the very object when at rest."""
    once = resolved(record, now)
    assert resolved(once, now + 1) is once


@given(record=RECORDS, now=st.floats(0, 1e10))
def test_since_moves_with_the_state_only(record: ModuleRecord, now: float) -> None:
    """The time of the last change of state is now if the state changed, and as it was otherwise."""
    after = resolved(record, now)
    assert after.since == (record.since if after.state is record.state else now)


@given(record=RECORDS, now=st.floats(0, 1e10))
def test_data_that_goes_takes_its_pending_deprovision_along(record: ModuleRecord, now: float) -> None:
    """Where the data is not kept nothing of the module is left to retry or to remember."""
    if not resolve(record).keep_data:
        after = resolved(record, now)
        assert not after.tracked
        assert after.pending is None


@pytest.mark.parametrize("state", list(State))
def test_a_pending_obliteration_survives(state: State) -> None:
    """An obliteration that was begun is still pending after any interruption."""
    after = resolved(ModuleRecord("m", state=state, pending=Pending.OBLITERATE), 1.0)
    assert (after.state, after.pending) == (State.CRASHED, Pending.OBLITERATE)


def test_a_module_at_rest_is_the_same_object() -> None:
    """A record that needs no change is returned itself, so that a start writes nothing for sleeping modules."""
    record = ModuleRecord("m", kind="store", state=State.HIBERNATED, dirty=True, port=7000, since=1.0)
    assert resolved(record, 2.0) is record
    changed = msgspec.structs.replace(record, pid=4711)
    assert resolved(changed, 2.0) == record
