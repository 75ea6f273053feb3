"""Names are their head's alone: on a store that checks a guard before a request, not with it, nothing late can strike."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from blake3 import blake3

from backends import BackendsError, BackendUnavailable, BlobStore, Guard
from backends.hydration.head import SALT_SIZE
from tests.backends.rig import Rig
from tests.backends.stores import Counting, Faulty, T
from tests.backends.trees import snapshot


class Late(Counting):
    """Checks the guard of a delete at once and deletes later, as a request does that hangs in the network."""

    def __init__(self, store: BlobStore) -> None:
        super().__init__(store)
        self.waiting: list[list[str]] = []

    def delete_many(self, keys: Iterable[str], *, guard: Guard | None = None) -> int:
        self.inner.delete_many([], guard=guard)
        self.waiting.append(list(keys))
        return 0

    def arrive(self) -> int:
        return sum(self.inner.delete_many(keys) for keys in self.waiting)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    (path / "small").write_bytes(b"small")
    (path / "big").write_bytes(os.urandom(5 << 20))
    return path


def _blobs(rig: Rig) -> set[str]:
    return {info.key for info in rig.store.list("_tenant-1/blobs/")}


def test_late_deletes_miss_a_new_owner(tmp_path: Path, source: Path) -> None:
    """A delete of garbage that arrives after another owner sent the same content again strikes none of its blobs."""
    late = Late(Rig(tmp_path).store)
    one, two = Rig(tmp_path, late), Rig(tmp_path, owner="two")
    old = snapshot(source)
    one.save(source)
    aside = source.rename(tmp_path / "aside")
    source.mkdir()
    one.save(source)
    assert late.waiting
    two.save(aside)
    late.arrive()
    assert snapshot(two.load("copy")) == old


def test_late_deletes_miss_the_next_commit(tmp_path: Path, source: Path) -> None:
    """The same within one owner: what its last collection still deletes is not what its next dehydration sends."""
    late = Late(Rig(tmp_path).store)
    rig = Rig(tmp_path, late)
    old = snapshot(source)
    rig.save(source)
    (tmp_path / "empty").mkdir()
    rig.save(tmp_path / "empty")
    rig.save(source)
    assert late.arrive() > 0
    assert snapshot(rig.load("copy")) == old


def test_late_deletes_of_orphans(tmp_path: Path, source: Path) -> None:
    """Orphans of an interrupted attempt are only deleted under a later head: no retry of it can be struck."""
    late = Late(Rig(tmp_path).store)
    rig = Rig(tmp_path, late)
    (tmp_path / "empty").mkdir()
    rig.save(tmp_path / "empty")
    late.waiting.clear()

    class NoCommit(Faulty):
        def call(self, name: str, key: str, size: int, do: Callable[[], T]) -> T:
            if name == "put" and key.endswith("/head"):
                raise BackendUnavailable("no")
            return do()

    with pytest.raises(BackendUnavailable):
        rig.using(NoCommit(late, 0, "never")).save(source)
    orphans = _blobs(rig)
    rig.save(tmp_path / "empty")  # nothing changed, but orphans to collect
    assert {key for keys in late.waiting for key in keys} <= orphans
    rig.save(source)
    assert late.arrive() > 0
    assert snapshot(rig.load("copy")) == snapshot(source)


def test_an_interrupted_attempt_is_resumed(tmp_path: Path, source: Path) -> None:
    """What an attempt has sent is not sent again by the next one under the same head, but by another owner it is."""
    counting = Counting(Rig(tmp_path).store)
    rig = Rig(tmp_path, counting)
    rig.claimed()

    class NoManifest(Faulty):
        def call(self, name: str, key: str, size: int, do: Callable[[], T]) -> T:
            if name == "list" and self.count:
                raise BackendUnavailable("no")
            self.count += name == "list"
            return do()

    def interrupted(owner: Rig) -> int:
        counting.reset()
        with pytest.raises(BackendsError):
            owner.using(NoManifest(counting, 0, "never")).save(source)
        return counting.bytes_put

    assert interrupted(rig) > 5 << 20
    assert interrupted(rig) < 2000
    assert interrupted(Rig(tmp_path, counting, owner="two")) > 5 << 20


def test_blobs_end_with_their_heads_salt(tmp_path: Path, source: Path) -> None:
    """Each blob that a head's owner sends ends with that head's salt, outside of every chunk, and is named by its hash."""
    rig = Rig(tmp_path)
    before = rig.claimed()
    after = rig.save(source).head
    manifest = rig.manifest(after.manifest or "")
    assert manifest.salt == before.salt != after.salt
    ends = {
        index: chunk.offset + chunk.length
        for entry in manifest.entries
        for index, chunk in ((part.blob, part) for part in entry.chunks)
    }
    for index, ref in enumerate(manifest.blobs):
        data, _ = rig.store.get("_tenant-1/blobs/" + ref.digest.hex())
        assert blake3(data).digest() == ref.digest
        assert data[-SALT_SIZE:] == before.salt
        assert ends[index] <= len(data) - SALT_SIZE
