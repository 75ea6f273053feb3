"""One owner at a time: claims, fences, races."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from backends import BackendsError, Head, HeadConflict, InvalidName, Remnant, RemoteModule, Tombstoned
from tests.backends.rig import Rig
from tests.backends.stores import Counting, T
from tests.backends.trees import snapshot


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    (path / "file").write_bytes(b"data")
    return path


def test_each_claim_writes(tmp_path: Path, source: Path) -> None:
    """The first claim creates the head; the same owner's next is another epoch and term, and fences the first."""
    store = Counting(Rig(tmp_path).store)
    rig = Rig(tmp_path, store)
    head = rig.module.claim(None, "redis")
    assert (head.owner, head.kind, head.manifest, head.lease_ms) == ("one", "redis", None, 0)
    assert rig.module.read_head() == head
    store.reset()
    again = rig.module.claim(head, "redis")
    assert store.calls == {"put": 1}
    assert again == replace(head, epoch=head.epoch + 1, etag=again.etag, nonce=again.nonce, term=again.term)
    assert again.term not in {head.term, ""}
    with pytest.raises(HeadConflict) as caught:
        rig.module.dehydrate(head, source, index=rig.index)
    assert caught.value.current == again


def test_takeover_raises_the_epoch(tmp_path: Path, source: Path) -> None:
    """Another owner takes over with the next epoch, the same data and its kind; the former can't commit any more."""
    one, two = Rig(tmp_path), Rig(tmp_path, owner="two")
    old = one.save(source).head
    new = two.module.claim(old, "ignored")
    assert (new.owner, new.epoch, new.kind, new.manifest) == ("two", old.epoch + 1, "store", old.manifest)
    assert new.identity != old.identity
    with pytest.raises(HeadConflict) as caught:
        one.module.dehydrate(old, source, index=one.index)
    assert caught.value.current == new
    with pytest.raises(HeadConflict):
        one.module.dehydrate(new, source, index=one.index)
    assert two.module.read_head() == new
    assert snapshot(two.load("copy")) == snapshot(source)


def test_stale_claims_conflict(tmp_path: Path) -> None:
    """A claim on a head that has moved, or that appeared meanwhile, is a conflict that shows the current head."""
    one, two = Rig(tmp_path), Rig(tmp_path, owner="two")
    first = one.module.claim(None, "store")
    with pytest.raises(HeadConflict) as caught:
        two.module.claim(None, "store")
    assert caught.value.current == first
    two.module.claim(first, "store")
    with pytest.raises(HeadConflict):
        Rig(tmp_path, owner="three").module.claim(first, "store")


def test_racing_claims(tmp_path: Path) -> None:
    """Of many owners that claim one head at once, exactly one gets it."""
    start = Rig(tmp_path).module.claim(None, "store")
    barrier = threading.Barrier(12)

    def claim(number: int) -> Head | None:
        module = Rig(tmp_path, owner=f"racer{number}").module
        barrier.wait()
        try:
            return module.claim(start, "store")
        except HeadConflict:
            return None

    with ThreadPoolExecutor(12) as pool:
        won = [head for head in pool.map(claim, range(12)) if head is not None]
    assert [head.epoch for head in won] == [start.epoch + 1]
    assert Rig(tmp_path).module.read_head() == won[0]


def test_racing_commits(tmp_path: Path) -> None:
    """Of dehydrations that begin with one head, exactly one commits, and its data is what is there."""
    start = Rig(tmp_path).module.claim(None, "store")
    sources: list[Path] = []
    for number in range(6):
        sources.append(tmp_path / f"source{number}")
        sources[-1].mkdir()
        (sources[-1] / "file").write_bytes(b"of %d" % number)
    barrier = threading.Barrier(6)

    def commit(number: int) -> int | None:
        module = Rig(tmp_path).module
        barrier.wait()
        try:
            module.dehydrate(start, sources[number], index=tmp_path / f"index{number}")
        except HeadConflict:
            return None
        return number

    with ThreadPoolExecutor(6) as pool:
        won = [number for number in pool.map(commit, range(6)) if number is not None]
    assert len(won) == 1
    rig = Rig(tmp_path)
    assert snapshot(rig.load("copy")) == snapshot(sources[won[0]])
    rig.save(sources[won[0]])
    assert rig.orphans() == set()


def test_fenced_while_fetching(tmp_path: Path, source: Path) -> None:
    """A hydration whose blobs a new owner has replaced meanwhile is a conflict, not damage."""
    one, two = Rig(tmp_path), Rig(tmp_path, owner="two")
    old = one.save(source).head
    (source / "file").write_bytes(b"other")
    two.save(source)
    with pytest.raises(HeadConflict) as caught:
        one.fetch(tmp_path / "copy", old)
    assert caught.value.current == two.module.read_head()
    assert not (tmp_path / "copy").exists()


def test_fenced_while_sending(tmp_path: Path, source: Path) -> None:
    """An owner that is fenced off in the middle of a dehydration can neither commit nor write nor delete any more."""
    one, two = Rig(tmp_path), Rig(tmp_path, owner="two")
    old = one.save(source).head
    (source / "file").write_bytes(b"never committed")
    taken: list[Head] = []

    class Fencing(Counting):
        def call(self, name: str, key: str, size: int, do: Callable[[], T]) -> T:
            if name == "put" and not taken:
                taken.append(two.module.claim(old, "store"))
            return super().call(name, key, size, do)

    with pytest.raises(HeadConflict) as caught:
        one.using(Fencing(one.store)).module.dehydrate(old, source, index=one.index)
    assert caught.value.current == taken[0] == two.module.read_head()
    assert two.orphans() == set()


def test_erased_while_sending(tmp_path: Path, source: Path) -> None:
    """A dehydration during which the module is erased fails and leaves nothing behind, at any of its writes."""
    for moment in range(3):
        path = tmp_path / str(moment)
        path.mkdir()
        one, other = Rig(path), Rig(path, owner="two")
        head = one.claimed()
        seen: list[str] = []

        class Erasing(Counting):
            def call(self, name: str, key: str, size: int, do: Callable[[], T]) -> T:
                if name == "put":
                    seen.append(key)  # noqa: B023
                    if len(seen) == moment + 1:  # noqa: B023
                        other.module.erase()  # noqa: B023
                return super().call(name, key, size, do)

        with pytest.raises(HeadConflict):
            one.using(Erasing(one.store)).module.dehydrate(head, source, index=one.index)
        assert len(seen) == moment + 1
        assert list(one.store.remains("")) == []


def test_reborn_module_is_another(tmp_path: Path, source: Path) -> None:
    """After an erasure the same owner's new head fences the old one, by its term even where all else is equal."""
    rig = Rig(tmp_path)
    old = rig.claimed()
    rig.module.erase()
    new = rig.claimed()
    assert new.epoch > old.epoch
    same = replace(new, epoch=old.epoch, etag="", nonce=old.nonce)
    rig.store.put("_tenant-1/head", same.to_json(), if_match=new.etag)
    with pytest.raises(HeadConflict):
        rig.module.dehydrate(old, source, index=rig.index)
    assert rig.module.read_head() == replace(same, etag=rig.store.get("_tenant-1/head")[1])


def test_tombstones_refuse(tmp_path: Path, source: Path) -> None:
    """A tombstone can be neither claimed, hydrated nor committed over."""
    rig = Rig(tmp_path)
    head = replace(rig.claimed(), tombstone=True)
    rig.store.put("_tenant-1/head", head.to_json())
    found = rig.module.read_head()
    assert found is not None
    with pytest.raises(Tombstoned):
        rig.module.claim(found, "store")
    with pytest.raises(Tombstoned):
        rig.fetch(tmp_path / "copy", found)
    with pytest.raises(BackendsError):
        rig.module.dehydrate(found, source, index=rig.index)


@pytest.mark.parametrize("owner", ["", "a b", "a\n", "ä", "x" * 257])
def test_bad_owners(tmp_path: Path, owner: str) -> None:
    """An owner or kind that no head could hold is refused before anything happens."""
    store = Rig(tmp_path).store
    with pytest.raises(InvalidName):
        RemoteModule(store, "m", owner=owner)
    with pytest.raises(InvalidName):
        RemoteModule(store, "m", owner="me").claim(None, owner)
    assert not (tmp_path / "store").exists()


def test_erasure_looks_for_one_remnant(tmp_path: Path, source: Path) -> None:
    """An erasure looks whether anything remains, not at all that does: its requests do not grow with a listing of it."""

    class Lazy(Counting):
        seen = 0

        def remains(self, prefix: str) -> Iterator[Remnant]:
            for remnant in self.inner.remains(prefix):
                self.seen += 1
                yield remnant

    store = Lazy(Rig(tmp_path).store)
    rig = Rig(tmp_path, store)
    rig.save(source)
    assert rig.module.erase().blobs == 3
    assert store.seen == 1
