"""What is sent home comes back the same, whatever it is."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings

from backends import DestinationExists, LocalDiskError, UnsupportedFile
from backends.hydration import durable
from tests.backends.rig import Rig
from tests.backends.trees import Node, build, snapshot, trees, workspace


@given(tree=trees)
@settings(max_examples=150)
def test_random_trees(tree: Node) -> None:
    """Any tree of any names in bytes, empty folders, links and modes comes back equal."""
    with workspace() as path:
        rig = Rig(path)
        source = build(path / "source", tree)
        before = snapshot(source)
        rig.save(source)
        assert snapshot(source) == before
        assert snapshot(rig.load("copy")) == before
        assert rig.scraps() == []


@given(first=trees, second=trees, third=trees)
@settings(max_examples=60)
def test_random_edits(first: Node, second: Node, third: Node) -> None:
    """Each dehydration over an earlier one gives exactly the last state, and leaves nothing that it doesn't need."""
    with workspace() as path:
        rig = Rig(path)
        for number, tree in enumerate((first, second, third)):
            source = build(path / f"source{number}", tree)
            rig.save(source, keep_previous=number == 1)
            assert snapshot(rig.load(f"copy{number}")) == snapshot(source)
            assert rig.orphans() == set()


def test_nothing_committed_is_an_empty_directory(tmp_path: Path) -> None:
    """A claimed module without data hydrates to an empty directory."""
    assert list(Rig(tmp_path).load("copy").iterdir()) == []


def test_big_file_with_holes(tmp_path: Path) -> None:
    """A sparse file comes back equal, still sparse, and its holes are not sent."""
    rig = Rig(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    with (source / "sparse").open("wb") as file:
        file.truncate(40 << 20)
        file.seek((17 << 20) + 5)
        file.write(b"island")
    sent = rig.save(source).stats
    assert sent.bytes_sent < 5 << 20
    copy = rig.load("copy") / "sparse"
    assert copy.read_bytes() == (source / "sparse").read_bytes()
    assert copy.stat().st_blocks * 512 < 10 << 20


@pytest.mark.parametrize("count", [3, 100])
def test_hydrated_files_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """What was hydrated is on the disk before it is in place: few files one by one, many by one sync of the disk."""
    rig = Rig(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    for number in range(count):
        (source / str(number)).write_bytes(b"%d" % number)
    head = rig.save(source).head
    synced: list[str] = []

    class Libc:
        def syncfs(self, fd: int) -> int:
            synced.extend(str(Path(f"/proc/self/fd/{fd}").readlink() / name) for name in os.listdir(fd))
            return 0

    def fsync(fd: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))

    monkeypatch.setattr(durable, "_libc", Libc())
    monkeypatch.setattr(os, "fsync", fsync)
    rig.fetch(tmp_path / "copy", head)
    assert {Path(path).name for path in synced if "hydrate-" in path} >= {str(number) for number in range(count)}
    assert str(tmp_path) in synced


@pytest.mark.parametrize("year", [-(10**4), 300, 8000])
def test_times_far_away(year: int) -> None:
    """A time that the format can't hold is clamped, and keeps nothing from its way home."""
    with workspace() as path:
        rig = Rig(path)
        source = path / "source"
        source.mkdir()
        (source / "file").write_bytes(b"1")
        os.utime(source / "file", ns=(0, year * 365 * 86400 * 10**9))
        rig.save(source)
        assert (rig.load("copy") / "file").read_bytes() == b"1"
        rig.save(source)


def test_chunk_borders(tmp_path: Path) -> None:
    """Files of sizes around the chunk size and the pack threshold come back equal."""
    rig = Rig(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    for size in (0, 1, (1 << 20) - 1, 1 << 20, (4 << 20) - 1, 4 << 20, (4 << 20) + 1, (8 << 20) + 7):
        (source / str(size)).write_bytes(os.urandom(size))
    rig.save(source)
    assert snapshot(rig.load("copy")) == snapshot(source)


def test_deep_trees(tmp_path: Path) -> None:
    """A path far longer than PATH_MAX goes home and comes back, and its copy can be removed after a failure."""
    rig = Rig(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    depth, fd = 150, os.open(source, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d" * 50, dir_fd=fd)
        below = os.open("d" * 50, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    rig.save(source)
    manifest = rig.manifest(rig.claimed().manifest or "")
    assert len(manifest.entries) == depth + 2
    rig.load("copy")
    rig.save(tmp_path / "copy")
    assert rig.claimed().manifest is not None


def test_sockets_are_skipped_and_counted(tmp_path: Path) -> None:
    """Sockets and fifos are runtime artefacts: they stay behind, counted."""
    rig = Rig(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_bytes(b"1")
    os.mkfifo(source / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(source / "socket"))
        assert rig.save(source).stats.skipped == 2
    assert [path.name for path in rig.load("copy").iterdir()] == ["file"]


def test_devices_are_refused(tmp_path: Path) -> None:
    """A device in the source is a typed error that names it; the previous data stays."""
    rig = Rig(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    rig.save(source)
    before = rig.claimed()
    os.mknod(source / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    with pytest.raises(UnsupportedFile, match="null"):
        rig.save(source)
    assert rig.claimed() == before


def test_setuid_is_not_kept(tmp_path: Path) -> None:
    """Set-uid and set-gid bits are dropped, since owners are not restored either."""
    rig = Rig(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    (source / "tool").write_bytes(b"1")
    (source / "tool").chmod(0o6755)
    rig.save(source)
    assert stat.S_IMODE((rig.load("copy") / "tool").stat().st_mode) == 0o755


def test_destination_is_never_overwritten(tmp_path: Path) -> None:
    """Hydration refuses any existing destination, even an empty directory or a dangling link."""
    rig = Rig(tmp_path)
    rig.claimed()
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("empty", "link"):
        with pytest.raises(DestinationExists):
            rig.load(name)
    assert not rig.index.exists()


def test_missing_source_is_a_local_error(tmp_path: Path) -> None:
    """A source that is missing, a file or a link is the local side's error, and the head stays."""
    rig = Rig(tmp_path)
    before = rig.claimed()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("missing", "file", "link"):
        with pytest.raises(LocalDiskError):
            rig.save(tmp_path / name)
    assert rig.claimed() == before


def test_unusable_scratch_is_a_local_error(tmp_path: Path) -> None:
    """A scratch path that is a file, or a destination without a parent, is the local side's error; nothing is left."""
    rig = Rig(tmp_path)
    rig.claimed()
    with pytest.raises(LocalDiskError):
        rig.fetch(tmp_path / "no" / "parent")
    assert rig.scraps() == []
    rig.scratch.rmdir()
    rig.scratch.touch()
    with pytest.raises(LocalDiskError):
        rig.load("copy")


def test_links_are_never_followed(tmp_path: Path) -> None:
    """Links to a directory outside go home as links: nothing behind them is sent, changed or erased."""
    rig = Rig(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    source = tmp_path / "source"
    source.mkdir()
    (source / "out").symlink_to(outside)
    stats = rig.save(source).stats
    assert (stats.files, stats.bytes) == (0, 0)
    assert (rig.load("copy") / "out").readlink() == outside
    rig.module.erase()
    assert (outside / "secret").read_bytes() == b"secret"
