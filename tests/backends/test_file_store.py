"""The store on a folder: durability, modes, what it does to strangers' files, and what a failing disk looks like."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from backends import (
    BackendFull,
    BackendsError,
    BackendUnavailable,
    BlobNotFound,
    BlobStore,
    Erased,
    Guard,
    LocalDiskFull,
    PreconditionFailed,
    open_store,
)
from backends.errors import BackendDenied, LocalDiskError, backend_errors, local_errors
from tests.backends.rig import Rig, listed
from tests.backends.trees import snapshot


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> BlobStore:
    return open_store(root.as_uri())


@contextlib.contextmanager
def _tmpfs(path: Path, options: str) -> Generator[Path]:
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


def test_opening_and_reading_write_nothing(root: Path, store: BlobStore) -> None:
    """Opening, checking, listing and reading a store that does not exist yet create nothing."""
    store.check()
    assert list(store.list("")) == []
    with pytest.raises(BlobNotFound):
        store.get("m/head")
    assert not root.exists()


def test_modes_and_places(root: Path, store: BlobStore) -> None:
    """Only the owner can enter or read, and everything lies below modules' folders."""
    store.put("m/blobs/x", b"1")
    store.put("m/head", b"2")
    found = {str(path.relative_to(root)): stat.S_IMODE(path.lstat().st_mode) for path in root.rglob("*")}
    assert found == {"m": 0o700, "m/blobs": 0o700, "m/blobs/x": 0o600, "m/head": 0o600}


def test_writes_are_synced(root: Path, store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new object's file, its folder and every new folder's parent are fsynced; the file before it gets its name."""
    synced: list[str] = []
    fsync, rename = os.fsync, os.rename

    def note(fd: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()).removeprefix(str(root.parent)))
        fsync(fd)

    def named(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        synced.append("rename")
        rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(os, "rename", named)
    store.put("m/head", b"1")
    plain = [name if "/.tmp-" not in name else "file" for name in synced]
    assert plain == ["", "/store", "file", "rename", "/store/m"]


def test_a_vanished_root_is_not_an_empty_one(root: Path, store: BlobStore, tmp_path: Path) -> None:
    """Once seen, a missing root is unavailable to reads and writes, and is not created again."""
    store.put("m/head", b"1")
    root.rename(tmp_path / "away")
    for act in (
        lambda: store.get("m/head"),
        lambda: list(store.list("")),
        lambda: list(store.remains("m/")),
        lambda: store.put("m/head", b"2"),
        lambda: store.put("m/head", b"2", if_match="h0"),
        lambda: store.delete("m/head"),
        lambda: store.delete_many(["m/head"]),
        lambda: store.purge("m/", keep="m/head"),
        store.check,
    ):
        with pytest.raises(BackendUnavailable):
            act()
    assert not root.exists()
    (tmp_path / "away").rename(root)
    assert store.get("m/head")[0] == b"1"


def test_a_root_that_is_created_meanwhile_has_not_vanished(
    root: Path, store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading where nothing is yet finds nothing, also while the first write creates the root."""
    opened = os.open

    def beside_a_write(path: Any, *args: Any, **more: Any) -> int:
        try:
            return opened(path, *args, **more)
        except FileNotFoundError:
            monkeypatch.undo()
            store.put("m/head", b"x", if_none_match=True)
            raise

    monkeypatch.setattr(os, "open", beside_a_write)
    with pytest.raises(BlobNotFound):
        store.get("m/head")
    assert store.get("m/head")[0] == b"x"


def test_a_file_as_root(root: Path) -> None:
    """A root that is a file is unavailable, for each operation, typed."""
    root.touch()
    rig = Rig(root.parent)
    for act in (rig.store.check, rig.module.read_head, lambda: rig.module.claim(None, "store"), rig.module.erase):
        with pytest.raises(BackendUnavailable) as caught:
            act()
        assert caught.value.hint


def test_a_file_where_the_modules_folder_should_be(root: Path) -> None:
    """A stranger's file in a module's place is unavailable, typed, and stays."""
    root.mkdir()
    (root / "_tenant-1").write_bytes(b"mine")
    rig = Rig(root.parent)
    with pytest.raises(BackendsError):
        rig.module.read_head()
    with pytest.raises(BackendsError):
        rig.module.erase()
    assert (root / "_tenant-1").read_bytes() == b"mine"


def test_read_only_disk(tmp_path: Path) -> None:
    """A read-only file system is denied, at the check and at each write."""
    with _tmpfs(tmp_path / "disk", "size=1m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        store = open_store((disk / "store").as_uri())
        with pytest.raises(BackendDenied, match=f"^{disk} is not writable, and so {store.uri} can't be made$"):
            store.check()
        with pytest.raises(BackendDenied):
            store.put("m/head", b"1")


def test_full_backend(tmp_path: Path) -> None:
    """A full backend is typed as its own; the last commit stays, and space for it is the only thing missing."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_bytes(b"small")
    with _tmpfs(tmp_path / "disk", "size=3m") as disk:
        rig = Rig(tmp_path, open_store((disk / "store").as_uri()))
        before = rig.save(source).head
        (source / "big").write_bytes(os.urandom(6 << 20))
        with pytest.raises(BackendFull) as caught:
            rig.save(source)
        assert caught.value.hint
        assert rig.claimed() == before
        assert listed(rig.load("copy")) == ["file"]
        (source / "big").unlink()
        rig.save(source)
        assert rig.orphans() == set()
        rig.module.erase()
        assert listed(disk / "store") == []


def test_full_local_disk(tmp_path: Path) -> None:
    """A local disk that fills up is told apart from a full backend, and nothing is left on it."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "big").write_bytes(os.urandom(6 << 20))
    rig = Rig(tmp_path)
    head = rig.save(source).head
    with _tmpfs(tmp_path / "disk", "size=3m") as disk:
        with pytest.raises(LocalDiskFull):
            rig.module.hydrate(head, disk / "copy", scratch=disk / "scratch", index=disk / "index")
        assert listed(disk) == ["scratch"]
        assert listed(disk / "scratch") == []


def test_scratch_on_another_disk(tmp_path: Path) -> None:
    """Scratch that can't be renamed from is a local error, and is left empty."""
    rig = Rig(tmp_path)
    head = rig.claimed()
    with _tmpfs(tmp_path / "disk", "size=3m") as disk:
        with pytest.raises(LocalDiskError):
            rig.module.hydrate(head, tmp_path / "copy", scratch=disk, index=rig.index)
        assert listed(disk) == []


def test_leftovers_of_crashed_writes(root: Path) -> None:
    """Temporary files are not objects; the next dehydration removes them, and an erasure counts them."""
    rig = Rig(root.parent)
    source = root.parent / "source"
    source.mkdir()
    rig.save(source)
    for folder in ("", "blobs/"):
        (root / "_tenant-1" / f"{folder}.tmp-0123456789abcdef").write_bytes(b"half")
    assert not [info for info in rig.store.list("") if ".tmp" in info.key]
    assert len(rig.orphans()) == 2
    rig.save(source)
    assert rig.orphans() == set()
    (root / "_tenant-1" / "blobs" / ".tmp-0123456789abcdef").write_bytes(b"half")
    erased = rig.module.erase()
    assert (erased.versions, erased.remaining) == (1, 0)


def test_failed_writes_leave_nothing(root: Path, store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails at its fsync or rename leaves the old content and no temporary file."""
    store.put("m/head", b"old")

    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(5, "injected")

    for name in ("fsync", "rename", "write"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(BackendUnavailable, match="injected"):
                store.put("m/head", b"new")
        assert store.get("m/head")[0] == b"old"
        assert listed(root / "m") == ["head"]


def test_planted_links_are_not_followed(root: Path, tmp_path: Path) -> None:
    """Links in the backend's own folders lead no write, read or erasure out of it."""
    outside = tmp_path / "outside"
    (outside / "blobs").mkdir(parents=True)
    (outside / "blobs" / "x").write_bytes(b"theirs")
    (outside / "head").write_bytes(b"theirs")
    before = snapshot(outside)
    rig = Rig(tmp_path)
    rig.claimed()
    (root / "_tenant-1" / "blobs").symlink_to(outside / "blobs")
    (root / "_tenant-1" / "link").symlink_to(outside)
    with pytest.raises(BackendsError):
        rig.store.put("_tenant-1/blobs/y", b"1")
    with pytest.raises(BackendsError):
        rig.store.get("_tenant-1/blobs/x")
    with pytest.raises(BackendsError):
        list(rig.store.list("_tenant-1/link/"))
    assert rig.module.erase().remaining == 0
    assert listed(root) == []
    (root / "_tenant-1").symlink_to(outside)
    for act in (rig.module.read_head, rig.module.erase, lambda: rig.module.claim(None, "store")):
        with pytest.raises(BackendsError):
            act()
    assert snapshot(outside) == before


def test_erasure_takes_strangers_files_too(root: Path) -> None:
    """Whatever lies below the module's prefix goes: odd names, deep folders, links; neighbours stay."""
    rig = Rig(root.parent)
    rig.claimed()
    rig.store.put("other/head", b"1")
    mine = root / "_tenant-1"
    (mine / ".hidden" / "deep" / "er").mkdir(parents=True)
    (mine / ".hidden" / "deep" / "file").touch()
    (mine / ".hidden").chmod(0)
    (mine / os.fsdecode(b"\xff\n")).touch()
    (mine / "dangling").symlink_to("nowhere")
    os.mkfifo(mine / "fifo")
    assert rig.module.erase().remaining == 0
    assert listed(root) == ["other"]
    assert rig.module.erase() == Erased()


def test_etags_of_large_objects(store: BlobStore) -> None:
    """Large objects' etags change with each write, though their content is not hashed."""
    data = b"x" * 100_000
    assert len({store.put("m/a", data) for _ in range(20)}) == 20


def test_writes_against_erasures(root: Path) -> None:
    """Guarded writes that race with an erasure either precede it or fail; nothing is left of either."""
    for _ in range(10):
        rig = Rig(root.parent)
        head = rig.claimed()
        guard = Guard.unchanged("_tenant-1/head", head.etag)
        begin = threading.Barrier(3)

        def write(number: int) -> None:
            begin.wait()  # noqa: B023
            with contextlib.suppress(PreconditionFailed):
                for index in range(100):
                    rig.store.put(f"_tenant-1/blobs/{number}-{index}", b"x" * 1000, guard=guard)  # noqa: B023

        writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
        for writer in writers:
            writer.start()
        begin.wait()
        rig.module.erase()
        for writer in writers:
            writer.join()
        assert list(rig.store.remains("")) == []


@pytest.mark.parametrize(
    ("number", "backend", "local"),
    [
        (28, "BackendFull", "LocalDiskFull"),
        (122, "BackendFull", "LocalDiskFull"),
        (13, "BackendDenied", "LocalDiskError"),
        (1, "BackendDenied", "LocalDiskError"),
        (30, "BackendDenied", "LocalDiskError"),
        (2, "BackendUnavailable", "LocalDiskError"),
        (5, "BackendUnavailable", "LocalDiskError"),
        (20, "BackendUnavailable", "LocalDiskError"),
        (116, "BackendUnavailable", "LocalDiskError"),
        (9999, "BackendUnavailable", "LocalDiskError"),
    ],
)
def test_system_errors_are_typed(number: int, backend: str, local: str) -> None:
    """Each system error has its type, for each side, with a hint and the cause attached."""
    for translate, expected in ((backend_errors, backend), (local_errors, local)):
        with pytest.raises(BackendsError, match="doing it") as caught, translate("doing it"):
            raise OSError(number, os.strerror(number))
        assert type(caught.value).__name__ == expected
        assert caught.value.hint
        assert isinstance(caught.value.__cause__, OSError)
