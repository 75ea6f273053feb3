"""Unchanged content is not sent again, unchanged files are not even read; the index is never trusted for more."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backends import SourceChanged
from backends.directory import DirTree
from backends.hydration import index as stat_index
from backends.hydration import send
from backends.hydration.chunk import read_chunks
from backends.hydration.scan import Found
from tests.backends.rig import Rig
from tests.backends.stores import Counting
from tests.backends.trees import snapshot


@pytest.fixture
def counted(tmp_path: Path) -> tuple[Rig, Counting, Path]:
    store = Counting(Rig(tmp_path).store)
    source = tmp_path / "source"
    source.mkdir()
    return Rig(tmp_path, store), store, source


def _small_files(source: Path, count: int) -> None:
    for number in range(count):
        (source / f"{number:04}").write_bytes(b"content %d" % number * 20)


def test_nothing_changed_sends_a_manifest_at_most(counted: tuple[Rig, Counting, Path]) -> None:
    """A second dehydration of the same directory puts the manifest and the head, nothing else."""
    rig, store, source = counted
    _small_files(source, 200)
    (source / "big").write_bytes(os.urandom(9 << 20))
    rig.save(source)
    store.reset()
    rig.save(source)
    assert len(store.keys_put) == 2
    assert store.bytes_put < 40_000


def test_small_files_share_packs(counted: tuple[Rig, Counting, Path]) -> None:
    """Hundreds of small files cost a handful of requests, both ways."""
    rig, store, source = counted
    _small_files(source, 500)
    rig.save(source)
    assert store.calls["put"] == 4  # claim, one pack, manifest, head
    store.reset()
    rig.load("copy")
    assert sum(store.calls.values()) == 3  # head, manifest, pack


def test_a_changed_page_of_a_big_file(counted: tuple[Rig, Counting, Path]) -> None:
    """One changed page costs its chunk."""
    rig, store, source = counted
    (source / "big").write_bytes(os.urandom(40 << 20))
    rig.save(source)
    store.reset()
    with (source / "big").open("r+b") as file:
        file.seek(21 << 20)
        file.write(os.urandom(4096))
    rig.save(source)
    assert store.bytes_put < (4 << 20) + 10_000
    assert (rig.load("copy") / "big").read_bytes() == (source / "big").read_bytes()


def test_moved_and_touched_content_is_not_sent(counted: tuple[Rig, Counting, Path]) -> None:
    """Renamed, copied and touched files cost no content."""
    rig, store, source = counted
    (source / "one").write_bytes(os.urandom(5 << 20))
    (source / "small").write_bytes(os.urandom(50_000))
    rig.save(source)
    store.reset()
    (source / "one").rename(source / "two")
    (source / "copy").write_bytes((source / "two").read_bytes())
    (source / "small").rename(source / "smaller")
    os.utime(source / "smaller")
    rig.save(source)
    assert store.bytes_put < 5000


def test_index_saves_reading(counted: tuple[Rig, Counting, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """After a hydration, only changed files are read. (Files as old as the racy window allows; here it is set to 0.)"""
    monkeypatch.setattr(stat_index, "RACY_NS", 0)
    rig, _, source = counted
    _small_files(source, 100)
    (source / "big").write_bytes(os.urandom(9 << 20))
    rig.save(source)
    copy = rig.load("copy")
    assert rig.save(copy).stats.files_hashed == 0
    (copy / "0007").write_bytes(b"changed")
    stats = rig.save(copy).stats
    assert (stats.files_hashed, stats.bytes_hashed) == (1, 7)
    assert snapshot(rig.load("again")) == snapshot(copy)


def test_racy_files_are_read(counted: tuple[Rig, Counting, Path]) -> None:
    """What changed within two seconds of the scan is hashed, whatever the index says."""
    rig, _, source = counted
    _small_files(source, 10)
    rig.save(source)
    assert rig.save(rig.load("copy")).stats.files_hashed == 10


def test_same_size_and_mtime_is_noticed(counted: tuple[Rig, Counting, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that restores size and mtime is still seen, by the ctime."""
    monkeypatch.setattr(stat_index, "RACY_NS", 0)
    rig, _, source = counted
    (source / "file").write_bytes(b"old!")
    rig.save(source)
    copy = rig.load("copy")
    before = (copy / "file").stat()
    (copy / "file").write_bytes(b"new!")
    os.utime(copy / "file", ns=(before.st_atime_ns, before.st_mtime_ns))
    rig.save(copy)
    assert (rig.load("again") / "file").read_bytes() == b"new!"


@pytest.mark.parametrize("damage", ["missing", "empty", "garbage", "flipped", "directory", "foreign"])
def test_bad_index_is_ignored(
    counted: tuple[Rig, Counting, Path], monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """A missing, damaged or foreign index costs time, not correctness."""
    monkeypatch.setattr(stat_index, "RACY_NS", 0)
    rig, _, source = counted
    _small_files(source, 5)
    rig.save(source)
    copy = rig.load("copy")
    data = rig.index.read_bytes()
    rig.index.unlink()
    if damage == "directory":
        rig.index.mkdir()
    elif damage == "foreign":
        stat_index.save(rig.index, "0" * 64, [])
    elif damage != "missing":
        flipped = data[:50] + bytes([data[50] ^ 1]) + data[51:]
        rig.index.write_bytes({"empty": b"", "garbage": b"x" * 100, "flipped": flipped}[damage])
    (copy / "0001").write_bytes(b"changed")
    stats = rig.save(copy).stats
    assert stats.files_hashed == 5
    assert snapshot(rig.load("again")) == snapshot(copy)


def test_index_of_unstored_content_is_not_trusted(
    counted: tuple[Rig, Counting, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blob that vanished from the backend is sent again although the index knows the file."""
    monkeypatch.setattr(stat_index, "RACY_NS", 0)
    rig, store, source = counted
    (source / "big").write_bytes(os.urandom(4 << 20))
    rig.save(source)
    copy = rig.load("copy")
    blob = next(info.key for info in store.list("_tenant-1/blobs/") if info.size > 4 << 20)
    store.delete(blob)
    rig.save(copy)
    assert snapshot(rig.load("again")) == snapshot(copy)


def test_packs_do_not_pile_up(counted: tuple[Rig, Counting, Path]) -> None:
    """Many small commits leave a bounded number of blobs, all of them needed."""
    rig, store, source = counted
    _small_files(source, 50)
    for number in range(80):
        (source / f"{number % 50:04}").write_bytes(b"session %d" % number)
        rig.save(source)
    assert len(list(store.list("_tenant-1/blobs/"))) <= 40
    assert rig.orphans() == set()
    assert snapshot(rig.load("copy")) == snapshot(source)


def test_dead_packs_are_rewritten(counted: tuple[Rig, Counting, Path]) -> None:
    """A pack of which little is alive is replaced: the backend does not keep what was deleted."""
    rig, store, source = counted
    for number in range(10):
        (source / f"{number}").write_bytes(os.urandom(700_000))
    rig.save(source)
    for number in range(1, 10):
        (source / f"{number}").unlink()
    rig.save(source)
    assert sum(info.size for info in store.list("_tenant-1/blobs/")) < 800_000
    assert snapshot(rig.load("copy")) == snapshot(source)


def test_previous_is_kept_until_the_next_clean_one(counted: tuple[Rig, Counting, Path]) -> None:
    """keep_previous keeps the last clean state readable over any number of such commits; a clean one drops it."""
    rig, _, source = counted
    (source / "file").write_bytes(b"clean")
    clean = rig.save(source).head
    for number in range(3):
        (source / "file").write_bytes(b"after crash %d" % number)
        head = rig.save(source, keep_previous=True).head
        assert head.previous == clean.manifest
        assert (rig.load(f"current{number}") / "file").read_bytes() == b"after crash %d" % number
        assert (rig.load_previous(f"previous{number}") / "file").read_bytes() == b"clean"
        assert rig.orphans() == set()
    assert rig.save(source).head.previous is None
    assert rig.orphans() == set()


def test_a_file_that_keeps_changing(counted: tuple[Rig, Counting, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that changes at each reading is a typed error that names it; the head stays."""
    rig, _, source = counted
    (source / "log").write_bytes(b"0")
    rig.save(source)
    before = rig.claimed()
    original = read_chunks

    def reading(tree: DirTree, item: Found) -> Iterator[tuple[bytes | None, int]]:
        yield from original(tree, item)
        with (source / "log").open("ab") as file:
            file.write(b"more")

    monkeypatch.setattr(send, "read_chunks", reading)
    with pytest.raises(SourceChanged):
        rig.save(source)
    assert rig.claimed() == before


def test_a_file_that_changes_once(counted: tuple[Rig, Counting, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A change in the middle of a reading is noticed, and the next reading is committed."""
    rig, _, source = counted
    (source / "file").write_bytes(b"a" * (9 << 20))
    original = read_chunks
    changes = iter([b"b" * (9 << 20)])

    def reading(tree: DirTree, item: Found) -> Iterator[tuple[bytes | None, int]]:
        for chunk in original(tree, item):
            yield chunk
            for data in changes:
                (source / "file").write_bytes(data)

    monkeypatch.setattr(send, "read_chunks", reading)
    rig.save(source)
    assert (rig.load("copy") / "file").read_bytes() == b"b" * (9 << 20)


def test_the_source_can_change_anywhere(counted: tuple[Rig, Counting, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that appear, vanish, turn into links or change mode while others are read are noticed too."""
    rig, _, source = counted
    outside = source.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    for name in "abc":
        (source / name).mkdir()
        (source / name / "secret").write_bytes(b"mine " + name.encode())
    original = read_chunks

    def swap() -> None:
        (source / "c").rename(source.parent / "gone")
        (source / "c").symlink_to(outside)

    steps: list[Callable[[], None]] = [swap, (source / "new").touch, lambda: None]
    changes = iter(steps)

    def reading(tree: DirTree, item: Found) -> Iterator[tuple[bytes | None, int]]:
        if item.path == b"a/secret":
            next(changes)()
        yield from original(tree, item)

    monkeypatch.setattr(send, "read_chunks", reading)
    rig.save(source)
    copy = rig.load("copy")
    assert snapshot(copy) == snapshot(source)
    assert (copy / "c").is_symlink()
