"""Hydration over a clean copy fetches what differs; what is not proven to be clean is never touched."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from backends import BackendsError, BackendUnavailable, DestinationExists, Hydrated
from backends.hydration import chunk, local, place
from backends.hydration import index as stat_index
from backends.hydration.manifest import Chunk, Entry
from backends.hydration.pieces import Piece, batches, ranges
from backends.hydration.scan import Found
from tests.backends.rig import Rig
from tests.backends.stores import Counting, Faulty
from tests.backends.trees import Snapshot, snapshot


class Pair:
    """A hub with a clean copy, and another one that has changed the module since."""

    def __init__(self, path: Path) -> None:
        self.store = Counting(Rig(path).store)
        self.mine, self.other = Rig(path, self.store), Rig(path, owner="two")
        self.other.index = path / "other-index"
        self.copy, self.away = path / "copy", path / "away"

    def over(self, rig: Rig | None = None) -> Hydrated:
        rig = rig or self.mine
        head = rig.module.read_head()
        assert head is not None
        return rig.module.hydrate(head, self.copy, scratch=rig.scratch, index=rig.index, over_clean=True)

    def refused(self, before: Snapshot) -> None:
        with pytest.raises(DestinationExists) as caught:
            self.over()
        assert caught.value.hint
        assert snapshot(self.copy) == before
        assert self.mine.scraps() == []

    def change(self, act: Callable[[Path], object]) -> Snapshot:
        """Commit a change from elsewhere; what the copy is to become."""
        act(self.other.load("away"))
        self.other.save(self.away)
        self.store.reset()
        return snapshot(self.away)


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    monkeypatch.setattr(stat_index, "RACY_NS", 0)
    source = tmp_path / "source"
    (source / "dir").mkdir(parents=True)
    for number in range(50):
        (source / "dir" / f"{number:02}").write_bytes(os.urandom(60_000))
    (source / "big").write_bytes(os.urandom(9 << 20))
    (source / "link").symlink_to("big")
    (source / "hard").hardlink_to(source / "big")
    with (source / "sparse").open("wb") as file:
        file.truncate(9 << 20)
    made = Pair(tmp_path)
    made.mine.save(source)
    made.mine.load("copy")
    made.store.reset()
    return made


def test_the_same_is_left_alone(pair: Pair) -> None:
    """With the manifest that the copy has, nothing is fetched, written or changed."""
    before, inode = snapshot(pair.copy), pair.copy.stat().st_ino
    done = pair.over()
    assert (done.blobs, done.bytes_received, done.files) == (0, 0, 52)
    assert done.bytes_reused == done.bytes == (9 << 20) * 2 + 50 * 60_000
    assert pair.store.calls == {"get": 1}
    assert snapshot(pair.copy) == before
    assert pair.copy.stat().st_ino == inode


def test_only_what_differs_is_fetched(pair: Pair) -> None:
    """Of a changed tree only the changed contents are fetched, few bytes of a pack by ranges; the rest is reused."""

    def act(path: Path) -> None:
        (path / "dir" / "07").write_bytes(b"new")
        with (path / "big").open("r+b") as file:
            file.seek(5 << 20)
            file.write(b"page")
        (path / "link").unlink()
        (path / "dir" / "08").rename(path / "moved")
        (path / "dir" / "09").chmod(0o600)

    after = pair.change(act)
    done = pair.over()
    assert snapshot(pair.copy) == after
    assert done.blobs == 2
    assert done.bytes_received < (4 << 20) + 1000
    assert done.bytes_reused + done.bytes_received >= done.bytes - (9 << 20)
    assert pair.store.calls["list"] == pair.store.calls["put"] == 0
    assert pair.mine.scraps() == []
    head = pair.mine.claimed()
    assert pair.mine.module.dehydrate(head, pair.copy, index=pair.mine.index).stats.files_hashed == 0


def test_little_of_a_pack_is_fetched_by_ranges(pair: Pair) -> None:
    """Contents that were deleted here and are wanted again cost their ranges of the pack, checked by their hashes."""
    (pair.copy / "dir" / "10").unlink()
    (pair.copy / "dir" / "40").unlink()
    pair.mine.save(pair.copy)
    old = snapshot(pair.copy)
    pair.change(lambda path: (path / "dir" / "new").write_bytes(os.urandom(3000)))
    done = pair.over()
    assert snapshot(pair.copy) != old
    assert done.bytes_received < 10_000
    assert snapshot(pair.copy) == snapshot(pair.away)


@pytest.mark.parametrize("change", ["content", "new", "gone", "mode", "touched", "index", "racy", "socket", "file"])
def test_what_is_not_clean_is_not_touched(pair: Pair, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """Whatever was changed, added or removed, or can't be proven, refuses the hydration and stays as it is."""
    pair.change(lambda path: (path / "new").touch())
    acts: dict[str, Callable[[], object]] = {
        "content": lambda: (pair.copy / "dir" / "07").write_bytes(os.urandom(60_000)),
        "new": (pair.copy / "mine").touch,
        "gone": (pair.copy / "dir" / "07").unlink,
        "mode": lambda: (pair.copy / "dir").chmod(0o700),
        "touched": lambda: os.utime(pair.copy / "big"),
        "index": pair.mine.index.unlink,
        "racy": lambda: monkeypatch.setattr(stat_index, "RACY_NS", 10**12),
        "socket": lambda: os.mkfifo(pair.copy / "fifo"),
        "file": lambda: [pair.copy.rename(pair.away / "aside"), pair.copy.write_bytes(b"mine")],
    }
    acts[change]()
    if change == "file":
        with pytest.raises(DestinationExists):
            pair.over()
        assert pair.copy.read_bytes() == b"mine"
        return
    if change == "socket":
        (pair.copy / "fifo").unlink()
    pair.refused(snapshot(pair.copy))


@pytest.mark.parametrize("moment", ["building", "exchanged"])
def test_what_becomes_dirty_meanwhile_is_given_back(pair: Pair, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """A write into the copy while the new tree is built, or in the instant of the exchange, is never lost."""
    pair.change(lambda path: (path / "new").touch())
    wanted = 1 if moment == "building" else 2
    inside = os.open(pair.copy / "dir", os.O_RDONLY)
    original, looks = local.LocalCopy.check, 0

    def check(self: local.LocalCopy, root: os.stat_result | None = None) -> None:
        nonlocal looks
        looks += 1
        if looks == wanted:
            os.close(os.open("late", os.O_CREAT | os.O_WRONLY, dir_fd=inside))
        original(self, root)

    monkeypatch.setattr(local.LocalCopy, "check", check)
    with pytest.raises(DestinationExists, match="changed"):
        pair.over()
    os.close(inside)
    assert (pair.copy / "dir" / "late").exists()
    assert not (pair.copy / "new").exists()
    assert pair.mine.scraps() == []


def test_what_was_put_in_its_place_is_given_back(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that somebody puts in the copy's place in the last instant is not taken for it, and not removed."""
    pair.change(lambda path: (path / "new").touch())
    original = local.LocalCopy.check

    def check(self: local.LocalCopy, root: os.stat_result | None = None) -> None:
        original(self, root)
        if not pair.copy.with_name("aside").exists():
            pair.copy.rename(pair.copy.with_name("aside"))
            pair.copy.mkdir()
            (pair.copy / "mine").write_bytes(b"mine")

    monkeypatch.setattr(local.LocalCopy, "check", check)
    with pytest.raises(DestinationExists):
        pair.over()
    assert [path.name for path in pair.copy.iterdir()] == ["mine"]
    assert pair.mine.scraps() == []


def test_a_link_is_no_copy(pair: Pair) -> None:
    """A link to a clean copy is refused: what it leads to is somebody else's."""
    pair.change(lambda path: (path / "new").touch())
    real = pair.copy.rename(pair.copy.with_name("real"))
    pair.copy.symlink_to(real)
    before = snapshot(real)
    with pytest.raises(DestinationExists):
        pair.over()
    assert pair.copy.is_symlink()
    assert snapshot(real) == before


def test_without_an_exchange(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that can't exchange two directories they are swapped in two steps; a dirty copy comes back."""

    class Libc:
        def renameat2(self, *_args: object) -> int:
            return -1

    after = pair.change(lambda path: (path / "new").touch())
    monkeypatch.setattr(place, "_libc", Libc())
    monkeypatch.setattr("ctypes.get_errno", lambda: 22)
    pair.over()
    assert snapshot(pair.copy) == after
    assert pair.mine.scraps() == []


def test_a_damaged_copy_is_not_spread(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content that the disk gives back differently, or not at all, is fetched instead of being copied."""
    after = pair.change(lambda path: (path / "new").touch())
    original = chunk.read_at

    def read(source: chunk.Opener, item: Found, offset: int, length: int) -> bytes:
        if item.path == b"dir/07":
            raise OSError(5, "injected")
        data = original(source, item, offset, length)
        return data[:-1] + bytes([data[-1] ^ 1]) if item.path == b"dir/08" or offset else data

    monkeypatch.setattr(local, "read_at", read)
    done = pair.over()
    assert snapshot(pair.copy) == after
    assert done.bytes_received >= (4 << 20) + 120_000


@pytest.mark.parametrize("how", ["before", "after", "crash"])
def test_a_failing_backend_changes_nothing(pair: Pair, how: str) -> None:
    """Whichever call fails: the copy is as it was and proven clean still, or it is the new tree."""
    old = snapshot(pair.copy)
    new = pair.change(lambda path: [(path / "new").write_bytes(b"1"), (path / "big").write_bytes(os.urandom(5 << 20))])
    for number in range(1, 100):
        store = Faulty(pair.mine.store, number, how)
        try:
            pair.over(pair.mine.using(store))
        except BackendUnavailable:
            assert snapshot(pair.copy) == old
            assert pair.mine.scraps() == []
        else:
            assert snapshot(pair.copy) == new
            return
    pytest.fail("never succeeded")


def test_nothing_committed_replaces_nothing(pair: Pair) -> None:
    """A copy whose module has nothing committed any more is kept: it may be the last there is."""
    before = snapshot(pair.copy)
    pair.mine.module.erase()
    pair.mine.claimed()
    pair.refused(before)


def test_no_copy_is_a_plain_hydration(pair: Pair) -> None:
    """With nothing at the destination, it is brought whole."""
    before = snapshot(pair.copy)
    pair.copy.rename(pair.away)
    assert pair.over().bytes_reused == 0
    assert snapshot(pair.copy) == before


def test_scratch_elsewhere_is_an_error(pair: Pair) -> None:
    """A scratch that is no directory fails the hydration, and the copy stays clean."""
    pair.change(lambda path: (path / "new").touch())
    pair.mine.scratch.rmdir()
    pair.mine.scratch.touch()
    with pytest.raises(BackendsError):
        pair.over()
    pair.mine.scratch.unlink()
    pair.over()
    assert (pair.copy / "new").exists()


def _pieces(*at: tuple[int, int]) -> list[Piece]:
    entry = Entry(b"f", "f")
    return [Piece(entry, Chunk(b"", 0, offset, length), 0) for offset, length in at]


@pytest.mark.parametrize(
    ("size", "at", "expected"),
    [
        (1000, [(0, 499)], [(0, 499)]),
        (1000, [(0, 500)], None),
        (10**6, [(0, 10), (200_000, 10)], [(0, 10), (200_000, 10)]),
        (10**6, [(200_000, 10), (0, 10)], [(0, 10), (200_000, 10)]),
        (10**6, [(0, 10), (60_000, 10)], [(0, 60_010)]),
        (10**6, [(0, 100), (0, 100), (50, 10)], [(0, 100)]),
        (10**7, [(number * 200_000, 1) for number in range(8)], [(number * 200_000, 1) for number in range(8)]),
        (10**7, [(number * 200_000, 1) for number in range(9)], None),
    ],
)
def test_ranges(size: int, at: list[tuple[int, int]], expected: list[tuple[int, int]] | None) -> None:
    """Little of a blob is read by few ranges, neighbours in one; much of it, or many places, as a whole."""
    found = ranges(size, _pieces(*at))
    assert (None if found is None else [(part.offset, part.length) for part in found]) == expected
    if found is not None:
        assert sum(len(part.pieces) for part in found) == len(at)


def test_batches() -> None:
    """Pieces are copied in batches of a chunk's bytes at most, in their order, none lost."""
    pieces = _pieces(*[(0, 1 << 20)] * 9, (0, 4 << 20), (0, 1))
    found = list(batches(pieces))
    assert [len(batch) for batch in found] == [4, 4, 1, 1, 1]
    assert [piece for batch in found for piece in batch] == pieces
    assert list(batches([])) == []
