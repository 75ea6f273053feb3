"""A store that fails or dies at any call: the data is equal or the error typed, the last commit intact, orphans go."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from backends import BackendsError, BackendUnavailable, CorruptData, TransferCancelled
from tests.backends.rig import Rig
from tests.backends.stores import Faulty, T
from tests.backends.trees import edit_source, make_source, snapshot, workspace

HOWS = ["before", "after", "crash"]


@pytest.mark.parametrize("how", HOWS)
def test_dehydration_fails_anywhere(how: str) -> None:
    """Whichever call fails: old or new state, whole; the next dehydration commits and leaves no orphan."""
    for number in itertools.count():
        with workspace() as path:
            rig = Rig(path)
            source = make_source(path / "source")
            old = snapshot(source)
            head = rig.save(source).head
            new = edit_source(source)
            store = Faulty(rig.store, number, how)
            caught: BackendsError | None = None
            try:
                committed = rig.using(store).module.dehydrate(head, source, index=rig.index)
            except BackendsError as error:
                caught = error
                after = snapshot(rig.load("after"))
                # A crash right after the head moved can't be told from one before; both states are whole.
                assert after == old or (how != "before" and after == new)
            else:
                assert rig.claimed() == committed.head
                assert snapshot(rig.load("after")) == new
            if caught is not None:
                assert isinstance(caught, BackendUnavailable)
                assert caught.hint
            assert snapshot(source) == new
            rig.save(source)
            assert snapshot(rig.load("final")) == new
            assert rig.orphans() == set()
            if not store.fired:
                assert number > 10
                return


@pytest.mark.parametrize("how", HOWS)
def test_hydration_fails_anywhere(how: str) -> None:
    """Whichever call fails: a typed error and nothing on disk, or the whole tree."""
    for number in itertools.count():
        with workspace() as path:
            rig = Rig(path)
            source = make_source(path / "source")
            head = rig.save(source).head
            rig.index.unlink()
            store = Faulty(rig.store, number, how)
            try:
                copy = rig.using(store).load("copy", head)
            except BackendUnavailable:
                assert not (path / "copy").exists()
                assert rig.scraps() == []
                assert not rig.index.exists()
            else:
                assert snapshot(copy) == snapshot(source)
            if not store.fired:
                assert number > 3
                return


@pytest.mark.parametrize("how", HOWS)
def test_erasure_fails_anywhere(how: str) -> None:
    """Whichever call fails: a repeated erasure completes, and an interrupted one lets nobody commit or claim."""
    for number in itertools.count():
        with workspace() as path:
            rig = Rig(path)
            source = make_source(path / "source")
            head = rig.save(source).head
            store = Faulty(rig.store, number, how)
            try:
                rig.using(store).module.erase()
            except BackendUnavailable:
                found = rig.module.read_head()
                if found is not None and found.tombstone:
                    with pytest.raises(BackendsError):
                        rig.module.dehydrate(head, source, index=rig.index)
                    with pytest.raises(BackendsError):
                        rig.claimed()
                rig.module.erase()
            assert list(rig.store.remains("_tenant-1/")) == []
            assert list(rig.store.remains("")) == []
            if not store.fired:
                assert number > 4
                return


@pytest.mark.parametrize("how", HOWS)
def test_claim_fails_anywhere(how: str) -> None:
    """A claim whose answer was lost either happened under this owner or can be made again."""
    for number in itertools.count():
        with workspace() as path:
            rig = Rig(path)
            store = Faulty(rig.store, number, how)
            with contextlib.suppress(BackendUnavailable):
                rig.using(store).claimed()
            head = rig.claimed()
            assert (head.owner, head.manifest, head.tombstone) == ("one", None, False)
            assert rig.module.read_head() == head
            if not store.fired:
                return


@pytest.mark.parametrize("operation", ["save", "load", "erase"])
def test_cancelled_anywhere(operation: str) -> None:
    """A token set at any call ends the operation typed, with nothing left; or it was too late to matter."""

    class Cancelling(Faulty):
        def call(self, name: str, key: str, size: int, do: Callable[[], T]) -> T:
            if self.count == self.fail_at:
                token.set()
            return super().call(name, key, size, do)

    for number in itertools.count():
        token = threading.Event()
        with workspace() as path:
            rig = Rig(path)
            source = make_source(path / "source")
            old, head = snapshot(source), rig.save(source).head
            new = edit_source(source) if operation == "save" else old
            store = Cancelling(rig.store, number, "never")
            module = rig.using(store).module
            threads = threading.active_count()
            try:
                if operation == "save":
                    module.dehydrate(head, source, index=rig.index, cancelled=token)
                elif operation == "load":
                    module.hydrate(head, path / "copy", scratch=rig.scratch, index=rig.index, cancelled=token)
                else:
                    module.erase(cancelled=token)
            except TransferCancelled:
                assert token.is_set()
                assert not (path / "copy").exists()
                assert rig.scraps() == []
                if operation != "erase":
                    assert rig.claimed() == head
            else:
                if operation == "save":
                    assert snapshot(rig.load("after")) == new
                elif operation == "load":
                    assert snapshot(path / "copy") == old
                else:
                    assert list(rig.store.remains("")) == []
            assert threading.active_count() == threads
            if not store.fired:
                return


def test_cancelled_before_it_begins(tmp_path: Path) -> None:
    """A token that is set already ends each operation before its first request."""
    rig = Rig(tmp_path)
    source = make_source(tmp_path / "source")
    head = rig.save(source).head
    store = Faulty(rig.store, 10**6, "never")
    module, token = rig.using(store).module, threading.Event()
    token.set()
    with pytest.raises(TransferCancelled):
        module.dehydrate(head, source, index=rig.index, cancelled=token)
    with pytest.raises(TransferCancelled):
        module.hydrate(head, tmp_path / "copy", scratch=rig.scratch, index=rig.index, cancelled=token)
    with pytest.raises(TransferCancelled):
        module.erase(cancelled=token)
    assert store.count == 0


@pytest.mark.parametrize("damage", ["flipped", "short", "long", "missing", "link", "directory"])
def test_damaged_blobs_are_named(damage: str) -> None:
    """Each blob, damaged in each way, fails the hydration by its name and changes nothing."""
    with workspace() as path:
        rig = Rig(path)
        source = make_source(path / "source")
        rig.save(source)
        blobs = path / "store" / "_tenant-1" / "blobs"
        for number, blob in enumerate(sorted(blobs.iterdir())):
            data = blob.read_bytes()
            blob.unlink()
            if damage == "directory":
                blob.mkdir()
            elif damage == "link":
                blob.symlink_to(path / "aside")
                (path / "aside").write_bytes(data)
            elif damage != "missing":
                bad = {"flipped": data[:-1] + bytes([data[-1] ^ 1]), "short": data[:-1], "long": data + b"x"}[damage]
                blob.write_bytes(bad)
            with pytest.raises(CorruptData, match=blob.name) as caught:
                rig.load(f"copy{number}")
            assert caught.value.blob == f"_tenant-1/blobs/{blob.name}"
            assert not (path / f"copy{number}").exists()
            assert rig.scraps() == []
            blob.rmdir() if damage == "directory" else blob.unlink(missing_ok=True)
            blob.write_bytes(data)
        assert snapshot(rig.load("copy")) == snapshot(source)


def test_dehydration_heals_a_damaged_manifest(tmp_path: Path) -> None:
    """A lost or corrupt old manifest does not keep today's data from its way home."""
    rig = Rig(tmp_path)
    source = make_source(tmp_path / "source")
    head = rig.save(source).head
    manifest = tmp_path / "store" / "_tenant-1" / "blobs" / str(head.manifest)
    manifest.write_bytes(b"garbage")
    kept = rig.save(source, keep_previous=True)
    assert kept.stats.blobs_deleted == 0
    assert snapshot(rig.load("one")) == snapshot(source)
    manifest.unlink(missing_ok=True)
    rig.save(source)
    assert snapshot(rig.load("two")) == snapshot(source)
    assert rig.orphans() == set()


def test_garbage_that_can_not_be_deleted_is_no_failure(tmp_path: Path) -> None:
    """A failure after the commit is reported beside the success."""

    class NoDelete(Faulty):
        def call(self, name: str, key: str, size: int, do: Callable[[], T]) -> T:
            if name == "delete_many":
                raise BackendUnavailable("no")
            return do()

    rig = Rig(tmp_path)
    source = make_source(tmp_path / "source")
    rig.save(source)
    edit_source(source)
    done = rig.using(NoDelete(rig.store, 0, "never")).save(source)
    assert isinstance(done.stats.collect_error, BackendUnavailable)
    assert rig.orphans() != set()
    assert snapshot(rig.load("copy")) == snapshot(source)
    rig.save(source)
    assert rig.orphans() == set()
