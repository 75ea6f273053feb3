"""Erasures over a lease, and what arrives after them."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from backends import (
    BackendUnavailable,
    Head,
    HeadConflict,
    LeaseHeld,
    LeaseObserver,
    Tombstoned,
)
from tests.backends.leases import LEASE_S, Acting, Ticks, take
from tests.backends.rig import Rig
from tests.backends.stores import Counting, Faulty
from tests.backends.trees import snapshot, workspace


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    (path / "file").write_bytes(b"data")
    return path


def test_erasing_over_a_held_lease(tmp_path: Path, source: Path) -> None:
    """It is done at once, and tells how long the lease may still have run; an own, lapsed or missing lease does not."""
    ticks = Ticks()
    one = Rig(tmp_path)
    two = Rig(tmp_path, owner="two", observer=LeaseObserver(ticks))
    for own in (True, False):
        one.module.dehydrate(take(one), source, index=one.index)
        erased = (one if own else two).module.erase()
        assert erased.blobs > 1
        assert erased.held_s == (0.0 if own else LEASE_S)
        assert list(one.store.remains("")) == []
    take(one, 0.0)
    assert two.module.erase().held_s == 0.0
    take(one)
    with pytest.raises(LeaseHeld):
        take(two)
    ticks.now += 10
    assert two.module.erase().held_s == 20.0
    assert two.module.erase().held_s == 0.0


@pytest.mark.parametrize("how", ["before", "after", "crash"])
def test_an_erasure_that_is_repeated_knows_of_the_lease(source: Path, how: str) -> None:
    """Whichever call fails: as long as the tombstone stands, whoever goes on is told for how long to look again."""
    for number in itertools.count():
        with workspace() as path:
            rig = Rig(path)
            rig.module.dehydrate(take(rig), source, index=rig.index)
            store = Faulty(rig.store, number, how)
            other = Rig(path, store, owner="two")
            gone = False
            try:
                held = other.module.erase().held_s
            except BackendUnavailable:
                gone = rig.module.read_head() is None
                held = Rig(path, owner="two").module.erase().held_s
            assert held > 29 or gone
            if not store.fired:
                return


def _straggler(rig: Rig) -> str:
    key = "_tenant-1/blobs/" + "5" * 64
    rig.store.put(key, b"late")
    return key


def test_stragglers_go(tmp_path: Path) -> None:
    """What arrived after an erasure is removed, to the last trace; where nothing did, nothing is written."""
    rig = Rig(tmp_path)
    store = Counting(rig.store)
    module = rig.using(store).module
    assert module.erase_stragglers().blobs == 0
    assert store.calls == {"remains": 1}
    _straggler(rig)
    erased = module.erase_stragglers()
    assert (erased.blobs, erased.bytes, erased.remaining, erased.held_s) == (1, 4, 0, 0.0)
    assert list(rig.store.remains("")) == []


@pytest.mark.parametrize("how", ["before", "after", "crash"])
def test_removing_stragglers_fails_anywhere(how: str) -> None:
    """Whichever call fails: repeated, it completes, also where the first attempt left a tombstone."""
    for number in itertools.count():
        with workspace() as path:
            rig = Rig(path)
            _straggler(rig)
            store = Faulty(rig.store, number, how)
            try:
                rig.using(store).module.erase_stragglers()
            except BackendUnavailable:
                rig.module.erase_stragglers()
            assert list(rig.store.remains("")) == []
            assert take(rig).owner == "one"
            if not store.fired:
                assert number > 3
                return


def test_stragglers_of_a_module_made_anew_are_its_owners(source: Path) -> None:
    """Made anew before any call of the removal: the new module stands as it was made, or is refused with a typed error."""
    for number in itertools.count():
        with workspace() as path:
            rig, other = Rig(path), Rig(path, owner="two")
            late = _straggler(rig)
            made: list[Head] = []

            def anew(other: Rig = other, made: list[Head] = made) -> None:
                try:
                    head = take(other)
                except (Tombstoned, HeadConflict):
                    return
                made.append(other.module.dehydrate(head, source, index=other.index).head)

            store = Acting(rig.store, number, anew)
            rig.using(store).module.erase_stragglers()
            assert rig.module.read_head() == (made[0] if made else None)
            if made:
                assert snapshot(other.load("copy", made[0])) == snapshot(source)
            else:
                assert late not in {item.name for item in rig.store.remains("")}
            if number >= store.count:
                return


def test_an_unreadable_head_is_no_straggler(tmp_path: Path) -> None:
    """What stands where a head does is nobody's to remove unasked."""
    rig = Rig(tmp_path)
    _straggler(rig)
    rig.store.put("_tenant-1/head", b"not a head")
    before = [*rig.store.remains("")]
    assert rig.module.erase_stragglers().blobs == 0
    assert [*rig.store.remains("")] == before


def test_epochs_never_repeat_over_an_erasure(tmp_path: Path) -> None:
    """However often a module is claimed, erased, released and made anew: the next claim has the higher epoch."""
    rig = Rig(tmp_path)
    epochs: list[int] = []
    for number in range(30):
        epochs.append((head := take(rig)).epoch)
        if number % 3 == 1:
            rig.module.erase()
        elif number % 7 == 2:
            assert rig.module.release(head)
    assert epochs == sorted(set(epochs))
