"""Leases: who may take a module when, and how they are taken, renewed and given back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backends import (
    BackendsError,
    BackendUnavailable,
    Head,
    HeadConflict,
    LeaseHeld,
    LeaseObserver,
    PreconditionFailed,
)
from backends.hydration.head import LEASE_LIMIT_MS
from tests.backends.leases import LEASE_S, Ticks, held_head, take
from tests.backends.rig import Rig
from tests.backends.stores import Counting, Faulty, T


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    (path / "file").write_bytes(b"data")
    return path


def test_a_lease_keeps_others_out_until_it_was_seen_for_its_whole_time(tmp_path: Path) -> None:
    """The first sight of a head starts its time; only this process's own clock counts it."""
    ticks = Ticks(4096.0)
    one, two = Rig(tmp_path), Rig(tmp_path, owner="two", observer=LeaseObserver(ticks))
    held = take(one)
    assert held.lease_ms == LEASE_S * 1000
    for passed, left in ((0.0, 30.0), (10.0, 20.0), (19.75, 0.25)):
        ticks.now += passed
        with pytest.raises(LeaseHeld) as caught:
            take(two)
        assert caught.value.owner == "one"
        assert caught.value.remaining_s == left
        assert one.module.read_head() == held
    ticks.now += 0.25
    taken = take(two)
    assert (taken.claim, taken.lease_ms) == (f"two/{held.epoch + 1}", 30_000)
    with pytest.raises(LeaseHeld):
        take(Rig(tmp_path, owner="three"))


def test_each_renewal_starts_the_time_anew(tmp_path: Path) -> None:
    """A head that changes within its lease is never seen for long enough."""
    ticks = Ticks()
    one, two = Rig(tmp_path), Rig(tmp_path, owner="two", observer=LeaseObserver(ticks))
    held = take(one)
    for _ in range(5):
        with pytest.raises(LeaseHeld) as caught:
            take(two)
        assert caught.value.remaining_s == LEASE_S
        ticks.now += 29.0
        renewed = one.module.renew(held.claim, lease_s=LEASE_S)
        assert renewed == replace(held, etag=renewed.etag, nonce=renewed.nonce)
        assert renewed.nonce != held.nonce


@pytest.mark.parametrize("skew", [-3e8, -60.0, 60.0, 3e8])
def test_no_wall_clock_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skew: float) -> None:
    """However wrong a machine's date is, and however it jumps, a lease is held for just as long."""
    now = time.time_ns()
    ticks = Ticks()
    one, two = Rig(tmp_path), Rig(tmp_path, owner="two", observer=LeaseObserver(ticks))

    def dated(seconds: float) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: now + int(seconds * 1e9))
        monkeypatch.setattr(time, "time", lambda: now / 1e9 + seconds)
        monkeypatch.setattr(time, "monotonic", lambda: 0.0)

    held = take(one)
    dated(skew)
    with pytest.raises(LeaseHeld):
        take(two)
    dated(-skew)
    ticks.now = LEASE_S - 0.001
    with pytest.raises(LeaseHeld):
        take(two)
    assert one.module.renew(held.claim, lease_s=LEASE_S).claim == held.claim
    with pytest.raises(LeaseHeld):
        take(two)
    dated(skew)
    ticks.now += LEASE_S
    assert take(two).epoch == held.epoch + 1


def test_the_default_clock_is_that_of_the_machines_uptime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one that nobody sets, and that goes on while the machine sleeps."""
    asked: list[int] = []

    def gettime(clock: int) -> float:
        asked.append(clock)
        return 5.0

    monkeypatch.setattr(time, "clock_gettime", gettime)
    assert LeaseObserver().remaining_s("m", replace(take(Rig(tmp_path)), lease_ms=1500)) == 1.5
    assert set(asked) == {time.CLOCK_BOOTTIME}


def test_modules_and_stores_are_observed_apart(tmp_path: Path) -> None:
    """One observer serves all: what it saw of one head says nothing of another's."""
    ticks = Ticks()
    observer = LeaseObserver(ticks)
    rigs = [Rig(tmp_path / name, owner="two", observer=observer) for name in ("a", "b")]
    for number, rig in enumerate(rigs):
        take(Rig(rig.path))
        ticks.now = 10.0 * number
        with pytest.raises(LeaseHeld):
            take(rig)
    ticks.now = LEASE_S
    assert take(rigs[0]).owner == "two"
    with pytest.raises(LeaseHeld) as caught:
        take(rigs[1])
    assert caught.value.remaining_s == 10.0


def test_who_need_not_wait(tmp_path: Path) -> None:
    """A head without a lease is taken at once, and so is this owner's own: a hub that was started again."""
    one, two = Rig(tmp_path), Rig(tmp_path, owner="two")
    first = take(one)
    again = take(Rig(tmp_path))
    assert again.epoch == first.epoch + 1
    with pytest.raises(HeadConflict):
        one.module.renew(first.claim, lease_s=LEASE_S)
    assert one.module.renew(again.claim, lease_s=0).lease_ms == 0
    assert take(two).owner == "two"


def test_a_takeover_that_a_renewal_was_faster_than(tmp_path: Path) -> None:
    """Who saw a lease run out takes that very head, or nothing."""
    ticks = Ticks()
    one, two = Rig(tmp_path), Rig(tmp_path, owner="two", observer=LeaseObserver(ticks))
    held = take(one)
    with pytest.raises(LeaseHeld):
        two.module.claim(held, "store")
    ticks.now += LEASE_S
    renewed = one.module.renew(held.claim, lease_s=LEASE_S)
    with pytest.raises(HeadConflict) as caught:
        two.module.claim(held, "store")
    assert caught.value.current == renewed


def test_a_late_renewal_of_ones_own_is_no_conflict(tmp_path: Path) -> None:
    """Who takes a module anew while a renewal of before is on its way takes it all the same."""
    one = Rig(tmp_path)
    held = take(one)
    one.module.renew(held.claim, lease_s=LEASE_S)
    again = one.module.claim(held, "store", lease_s=LEASE_S)
    assert again.epoch == held.epoch + 1
    assert one.module.read_head() == again
    with pytest.raises(HeadConflict):  # of another claim of its own it knows nothing
        one.module.claim(held, "store", lease_s=LEASE_S)


@pytest.mark.parametrize("lease_s", [-1.0, float("nan"), float("inf"), LEASE_LIMIT_MS / 1000 + 1])
def test_leases_that_can_not_be(tmp_path: Path, lease_s: float) -> None:
    """What no head could hold is refused before anything is asked."""
    store = Counting(Rig(tmp_path).store)
    module = Rig(tmp_path, store).module
    with pytest.raises(ValueError, match="a lease lasts"):
        module.claim(None, "store", lease_s=lease_s)
    with pytest.raises(ValueError, match="a lease lasts"):
        module.renew("one/1", lease_s=lease_s)
    assert store.calls == {}


def test_a_lease_is_never_written_shorter_than_its_holder_counts(tmp_path: Path) -> None:
    """Fractions of a millisecond are rounded up."""
    assert take(Rig(tmp_path), 0.0001).lease_ms == 1
    assert take(Rig(tmp_path), 1.0001).lease_ms == 1001


def test_the_lease_is_given_back_with_the_commit(tmp_path: Path, source: Path) -> None:
    """By the commit's own write; where nothing is to be written, by one write; without a lease, by none."""
    store = Counting(Rig(tmp_path).store)
    rig, two = Rig(tmp_path, store), Rig(tmp_path, owner="two")
    store.reset()
    done = rig.module.dehydrate(take(rig), source, index=rig.index, release=True)
    assert done.head.lease_ms == 0
    assert store.keys_put.count("_tenant-1/head") == 2  # the claim, and the commit
    held = take(rig)
    for heads in (1, 0):
        store.reset()
        done = rig.module.dehydrate(held, source, index=rig.index, release=True)
        assert store.keys_put == ["_tenant-1/head"] * heads
        assert (done.head.lease_ms, done.head.claim) == (0, held.claim)
        assert done.head == rig.module.read_head()
    assert take(two).manifest == done.head.manifest


def test_a_lease_that_can_not_be_given_back_is_no_failure(tmp_path: Path, source: Path) -> None:
    """All is at home: whether the write fails or somebody took the module, it is told beside the success."""

    class NoHead(Faulty):
        def call(self, name: str, key: str, size: int, do: Callable[[], T]) -> T:
            if name == "put":
                raise BackendUnavailable("no")
            return do()

    rig = Rig(tmp_path)
    rig.save(source)
    held = take(rig)
    done = rig.using(NoHead(rig.store, 0, "never")).module.dehydrate(held, source, index=rig.index, release=True)
    assert isinstance(done.stats.release_error, BackendUnavailable)
    assert done.head == rig.module.read_head() == held
    taken: list[Head] = []

    class Taking(Counting):
        def call(self, name: str, key: str, size: int, do: Callable[[], T]) -> T:
            if name == "put":
                taken.append(take(Rig(tmp_path)))
            return super().call(name, key, size, do)

    done = rig.using(Taking(rig.store)).module.dehydrate(held, source, index=rig.index, release=True)
    assert isinstance(done.stats.release_error, PreconditionFailed)
    assert [rig.module.read_head()] == taken


def test_release(tmp_path: Path, source: Path) -> None:
    """A claim without data goes altogether, even if it was renewed meanwhile; one with data loses its lease alone."""
    rig, two = Rig(tmp_path), Rig(tmp_path, owner="two")
    held = take(rig)
    rig.module.renew(held.claim, lease_s=LEASE_S)
    assert rig.module.release(held)
    assert list(rig.store.remains("")) == []
    held = take(rig)
    committed = rig.module.dehydrate(held, source, index=rig.index).head
    assert committed.lease_ms == 30_000
    assert rig.module.release(held)
    assert rig.module.read_head() == replace(
        committed, lease_ms=0, etag=(head := held_head(rig)).etag, nonce=head.nonce
    )
    assert rig.module.release(head)
    assert take(two).owner == "two"
    assert not rig.module.release(held)


def test_heads_without_term_and_lease_areheld_head(tmp_path: Path, source: Path) -> None:
    """A head that was stored before there were leases is held by nobody, and is committed over and taken as it is."""
    rig = Rig(tmp_path)
    old = (
        b'{"format":1,"owner":"one","epoch":7,"kind":"store","manifest":null,"previous":null,'
        b'"tombstone":false,"nonce":"n1"}'
    )
    rig.store.put("_tenant-1/head", old)
    head = held_head(rig)
    assert (head.term, head.lease_ms, head.claim) == ("n1", 0, "one/7")
    renewed = rig.module.renew("one/7", lease_s=LEASE_S)
    assert (renewed.term, renewed.lease_ms) == ("n1", 30_000)
    assert rig.module.dehydrate(head, source, index=rig.index).head.epoch == 7
    with pytest.raises(BackendsError):
        take(Rig(tmp_path, owner="two"))
