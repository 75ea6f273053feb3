"""What renewals, takeovers and erasures do to what is under way: a renewal nothing, the others end it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backends import (
    BackendUnavailable,
    Head,
    HeadConflict,
    LeaseHeld,
    LeaseObserver,
    PreconditionFailed,
    Tombstoned,
)
from tests.backends.leases import LEASE_S, Acting, Ticks, held_head, take
from tests.backends.rig import Rig
from tests.backends.stores import Counting, Faulty, T
from tests.backends.trees import edit_source, make_source, snapshot, workspace


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    (path / "file").write_bytes(b"data")
    return path


@pytest.mark.parametrize("edited", [True, False])
def test_a_renewal_at_any_moment_disturbs_no_dehydration(*, edited: bool) -> None:
    """Renewed right before any of its calls, a dehydration commits what it would have, and the lease is the renewed one."""
    for number in itertools.count():
        with workspace() as path:
            rig = Rig(path)
            source = make_source(path / "source")
            rig.save(source)
            held = take(rig)
            if edited:
                edit_source(source)
            else:
                rig.store.put("_tenant-1/blobs/" + "0" * 64, b"garbage")  # so that the head is written anew
            store = Acting(rig.store, number, lambda: rig.module.renew(held.claim, lease_s=77))  # noqa: B023
            done = rig.using(store).module.dehydrate(held, source, index=rig.index)
            assert done.stats.collect_error is None
            head = held_head(rig)
            assert head.lease_ms == (77_000 if number < store.count else 30_000)
            # The renewal came before the commit, or after it.
            assert done.head in (head, replace(head, lease_ms=30_000, etag=done.head.etag, nonce=done.head.nonce))
            assert (head.claim, head.manifest != held.manifest) == (held.claim, edited)
            assert snapshot(rig.load("copy", done.head)) == snapshot(source)
            assert rig.orphans() == set()
            if number >= store.count:
                assert number > 5
                return


def test_a_renewal_at_any_moment_disturbs_no_hydration() -> None:
    """A renewed head's blobs are where they were."""
    for number in itertools.count():
        with workspace() as path:
            rig = Rig(path)
            source = make_source(path / "source")
            rig.save(source)
            held = take(rig)
            store = Acting(rig.store, number, lambda: rig.module.renew(held.claim, lease_s=77))  # noqa: B023
            assert snapshot(rig.using(store).load("copy", held)) == snapshot(source)
            if number >= store.count:
                return


def test_a_commit_at_any_moment_disturbs_no_renewal(tmp_path: Path, source: Path) -> None:
    """A renewal finds its own owner's commit in its way, and renews that one's head."""
    rig = Rig(tmp_path)
    for number in range(3):
        held = take(rig)
        (source / "file").write_bytes(b"%d" % number)

        def commit(held: Head = held) -> None:
            rig.module.dehydrate(held, source, index=rig.index)

        renewed = rig.using(Acting(rig.store, number, commit)).module.renew(held.claim, lease_s=77)
        assert renewed == held_head(rig)
        assert (renewed.claim, renewed.lease_ms) == (held.claim, 77_000)
        assert (renewed.manifest != held.manifest) == (number < 2), "it has two calls"


def test_who_lost_its_lease_can_do_nothing(tmp_path: Path, source: Path) -> None:
    """After a takeover, an erasure, and a new module of another or the same owner: no renewal, commit or release."""
    one, two = Rig(tmp_path), Rig(tmp_path, owner="two", observer=LeaseObserver(ticks := Ticks()))
    one.save(source)
    held = take(one)
    (source / "file").write_bytes(b"never committed")

    def refused() -> None:
        before = [*one.store.remains("")], one.module.read_head()
        for act in (
            lambda: one.module.renew(held.claim, lease_s=LEASE_S),
            lambda: one.module.dehydrate(held, source, index=one.index),
            lambda: one.module.dehydrate(held, source, index=one.index, release=True),
        ):
            with pytest.raises(HeadConflict) as caught:
                act()
            assert caught.value.current == before[1]
        assert not one.module.release(held)
        assert ([*one.store.remains("")], one.module.read_head()) == before

    with pytest.raises(LeaseHeld):
        take(two)
    ticks.now += LEASE_S
    take(two)
    refused()
    two.module.erase()
    refused()
    take(two)
    refused()
    two.module.erase()
    new = take(one)
    refused()
    assert new.claim != held.claim


def test_a_tombstone_ends_all(tmp_path: Path, source: Path) -> None:
    """While an erasure is under way its module can't be renewed, claimed, committed to or released by anybody."""
    one = Rig(tmp_path)
    held = take(one)

    class Stopped(Counting):
        def call(self, name: str, key: str, size: int, do: Callable[[], T]) -> T:
            if name == "purge":
                raise BackendUnavailable("no")
            return do()

    with pytest.raises(BackendUnavailable):
        Rig(tmp_path, Stopped(one.store), owner="two").module.erase()
    found = one.module.read_head()
    assert found is not None
    assert (found.owner, found.tombstone) == ("two", True)
    with pytest.raises(HeadConflict):
        one.module.renew(held.claim, lease_s=LEASE_S)
    with pytest.raises(HeadConflict):
        Rig(tmp_path, owner="two").module.renew(found.claim, lease_s=LEASE_S)
    with pytest.raises(HeadConflict):
        one.module.dehydrate(held, source, index=one.index)
    for rig in (one, Rig(tmp_path, owner="two")):
        with pytest.raises(Tombstoned):
            take(rig)
        assert not rig.module.release(found)
    assert one.module.read_head() == found


@pytest.mark.parametrize("how", ["before", "after", "crash"])
@pytest.mark.parametrize("operation", ["renew", "release"])
def test_renewals_fail_anywhere(tmp_path: Path, source: Path, how: str, operation: str) -> None:
    """Whichever call fails: what was acknowledged is there, the claim stands, and it can be done again."""
    for number in itertools.count():
        rig = Rig(tmp_path / str(number))
        rig.path.mkdir()
        rig.save(source)
        held = take(rig)
        store = Faulty(rig.store, number, how)
        module = rig.using(store).module
        try:
            if operation == "renew":
                assert module.renew(held.claim, lease_s=77) == rig.module.read_head()
            else:
                assert module.release(held)
        except BackendUnavailable:
            assert held_head(rig).claim == held.claim
        else:
            assert held_head(rig).lease_ms == (77_000 if operation == "renew" else 0)
        assert rig.module.renew(held.claim, lease_s=5) == held_head(rig)
        assert (held_head(rig).claim, held_head(rig).term) == (held.claim, held.term)
        if not store.fired:
            assert number > 0
            return


def test_a_commit_is_settled_past_a_renewal_of_it(tmp_path: Path, source: Path) -> None:
    """A commit whose answer is lost, and whose head is renewed before anybody looks, is told as one."""
    rig = Rig(tmp_path)
    held = take(rig)

    class Lossy(Counting):
        def call(self, name: str, key: str, size: int, do: Callable[[], T]) -> T:
            result = super().call(name, key, size, do)
            if name == "put" and key.endswith("/head") and self.keys_put.count(key) == 1:
                rig.module.renew(held.claim, lease_s=77)
                raise PreconditionFailed("its own work is in its way")
            return result

    done = rig.using(Lossy(rig.store)).module.dehydrate(held, source, index=rig.index)
    assert done.head == rig.module.read_head()
    assert done.head.lease_ms == 77_000
    assert done.head.manifest is not None
