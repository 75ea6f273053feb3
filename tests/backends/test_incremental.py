"""Unchanged content is not sent again, unchanged files are not even read; the index is never trusted for more."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from blake3 import blake3

from backends import SourceChanged
from backends.hydration import chunk, dehydrate, send
from backends.hydration import index as stat_index
from backends.hydration.progress import Meter
from backends.hydration.scan import Found
from backends.hydration.send import Taken
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


@pytest.mark.parametrize("old", [True, False])
def test_nothing_changed_writes_nothing(
    counted: tuple[Rig, Counting, Path], monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    """A second dehydration of the same directory writes nothing at all, and leaves the head; with old files that the
    index vouches for it does not even read the manifest."""
    rig, store, source = counted
    if old:
        monkeypatch.setattr(stat_index, "RACY_NS", 0)
    _small_files(source, 200)
    (source / "big").write_bytes(os.urandom(9 << 20))
    first = rig.save(source)
    store.reset()
    again = rig.save(source)
    assert store.keys_put == []
    assert store.calls["delete_many"] == 0
    assert again.head == first.head
    assert (again.stats.files, again.stats.bytes, again.stats.blobs_sent) == (201, first.stats.bytes, 0)
    assert (again.stats.files_hashed == 0) is old
    assert store.calls["get"] == (2 if old else 3)  # head twice (the rig's and the fence), manifest
    assert store.calls["list"] == 1


@pytest.mark.parametrize("change", ["mode", "mtime", "new", "gone", "link", "directory", "hard link", "rename"])
def test_any_change_is_noticed(
    counted: tuple[Rig, Counting, Path], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Whatever changes in a tree that the index records, content or not, is committed."""
    monkeypatch.setattr(stat_index, "RACY_NS", 0)
    rig, _, source = counted
    _small_files(source, 5)
    (source / "dir").mkdir()
    (source / "link").symlink_to("0001")
    rig.save(source)
    copy = rig.load("copy")
    assert rig.save(copy).stats.files_hashed == 0
    before = copy.stat()

    def relink() -> None:
        (copy / "link").unlink()
        (copy / "link").symlink_to("0002")

    acts: dict[str, Callable[[], object]] = {
        "mode": lambda: (copy / "0001").chmod(0o600),
        "mtime": lambda: os.utime(copy / "0001", ns=(0, 5)),
        "new": (copy / "dir" / "new").touch,
        "gone": (copy / "0001").unlink,
        "link": relink,
        "directory": lambda: (copy / "dir").chmod(0o700),
        "hard link": lambda: (copy / "other").hardlink_to(copy / "0003"),
        "rename": lambda: (copy / "0001").rename(copy / "9999"),
    }
    acts[change]()
    os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
    rig.save(copy)
    assert snapshot(rig.load("again")) == snapshot(copy)


@pytest.mark.parametrize("old", [True, False])
def test_unchanged_collects_orphans(
    counted: tuple[Rig, Counting, Path], monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    """Orphans go with a dehydration that changes nothing too, under a head that is newer than they are."""
    if old:
        monkeypatch.setattr(stat_index, "RACY_NS", 0)
    rig, store, source = counted
    _small_files(source, 5)
    first = rig.save(source).head
    store.put("_tenant-1/blobs/" + "a" * 64, b"orphan")
    store.reset()
    again = rig.save(source)
    assert again.stats.blobs_deleted == 1
    assert store.keys_put == ["_tenant-1/head"]
    assert (again.head.manifest, again.head.epoch) == (first.manifest, first.epoch)
    assert again.head.nonce != first.nonce
    assert rig.orphans() == set()
    assert snapshot(rig.load("copy")) == snapshot(source)


def test_unchanged_drops_the_previous(counted: tuple[Rig, Counting, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept beside an unchanged manifest stays while it is to be kept, and goes with a clean dehydration."""
    monkeypatch.setattr(stat_index, "RACY_NS", 0)
    rig, _, source = counted
    (source / "file").write_bytes(b"clean")
    clean = rig.save(source, keep_previous=True).head
    assert rig.save(source, keep_previous=True).head == clean
    (source / "file").write_bytes(b"after a crash")
    kept = rig.save(source, keep_previous=True).head
    assert kept.previous == clean.manifest
    assert rig.save(source, keep_previous=True).head == kept
    assert (rig.load_previous("previous") / "file").read_bytes() == b"clean"
    head = rig.save(source).head
    assert (head.manifest, head.previous) == (kept.manifest, None)
    assert rig.orphans() == set()
    assert (rig.load("copy") / "file").read_bytes() == b"after a crash"


@pytest.mark.parametrize("lost", ["blob", "manifest", "size"])
def test_unchanged_notices_what_the_store_lost(
    counted: tuple[Rig, Counting, Path], monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """A tree that has not changed is sent again where the listing does not show all that its manifest needs."""
    monkeypatch.setattr(stat_index, "RACY_NS", 0)
    rig, store, source = counted
    _small_files(source, 5)
    head = rig.save(source).head
    keys = {info.key.rpartition("/")[2] == head.manifest: info.key for info in store.list("_tenant-1/blobs/")}
    store.delete(keys[lost == "manifest"])
    if lost == "size":
        store.put(keys[False], b"shorter")
    rig.save(source)
    rig.index.unlink()
    assert snapshot(rig.load("copy")) == snapshot(source)


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


@pytest.mark.parametrize(
    "damage", ["missing", "empty", "garbage", "flipped", "directory", "foreign", "lengths", "types"]
)
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
        stat_index.save(rig.index, "0" * 64, rig.manifest(rig.claimed().manifest or ""), [], {})
    elif damage in {"lengths", "types"}:
        parts: list[object] = msgspec.msgpack.decode(data[32:])
        parts[7] = [b""] if damage == "lengths" else [1, 2, 3, 4, 5]
        body = msgspec.msgpack.encode(parts)
        rig.index.write_bytes(blake3(body).digest() + body)
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


Status = Callable[[int, Found], None]


def _during_reads(monkeypatch: pytest.MonkeyPatch, act: Callable[[Found], object]) -> None:
    """Do something after each read of a file, before it is seen whether the file is still the same."""
    original: Status = chunk.check_same

    def check(fd: int, item: Found) -> None:
        act(item)
        original(fd, item)

    monkeypatch.setattr(chunk, "check_same", check)


@pytest.mark.parametrize("size", [1, 5 << 20])
def test_a_file_that_keeps_changing(
    counted: tuple[Rig, Counting, Path], monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """A file that changes at each reading is a typed error that names it; the head stays."""
    rig, _, source = counted
    (source / "log").write_bytes(b"0" * size)
    rig.save(source)
    before = rig.claimed()

    def grow(_: Found) -> None:
        with (source / "log").open("ab") as file:
            file.write(b"more")

    _during_reads(monkeypatch, grow)
    (source / "log").touch()
    with pytest.raises(SourceChanged, match="log"):
        rig.save(source)
    assert rig.claimed() == before


def test_a_file_that_changes_once(counted: tuple[Rig, Counting, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A change in the middle of a reading is noticed, and the next reading is committed."""
    rig, _, source = counted
    (source / "file").write_bytes(b"a" * (9 << 20))
    changes = iter([b"b" * (9 << 20)])
    _during_reads(monkeypatch, lambda _: [(source / "file").write_bytes(data) for data in changes])
    rig.save(source)
    assert (rig.load("copy") / "file").read_bytes() == b"b" * (9 << 20)


def test_a_file_that_is_cut_while_it_is_read(
    counted: tuple[Rig, Counting, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that becomes shorter between the scan and its reading is noticed, small or large."""
    rig, _, source = counted
    for name, size in (("large", 5 << 20), ("small", 5000)):
        (source / name).write_bytes(os.urandom(size))
    original = send.look

    def cut(path: Path, meter: Meter) -> Taken:
        taken = original(path, meter)
        for file in path.iterdir():
            os.truncate(file, file.stat().st_size // 2)
        return taken

    monkeypatch.setattr(dehydrate, "look", cut)
    rig.save(source)
    assert snapshot(rig.load("copy")) == snapshot(source)


def test_the_source_can_change_anywhere(counted: tuple[Rig, Counting, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that appear, vanish, turn into links or change mode while others are read are noticed too."""
    rig, _, source = counted
    outside = source.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    for name in "abc":
        (source / name).mkdir()
        (source / name / "secret").write_bytes(b"mine " + name.encode())

    def swap() -> None:
        (source / "c").rename(source.parent / "gone")
        (source / "c").symlink_to(outside)

    steps: list[Callable[[], None]] = [swap, (source / "new").touch, lambda: None]
    changes = iter(steps)

    def act(item: Found) -> None:
        if item.path == b"a/secret":
            next(changes)()

    _during_reads(monkeypatch, act)
    rig.save(source)
    copy = rig.load("copy")
    assert snapshot(copy) == snapshot(source)
    assert (copy / "c").is_symlink()
