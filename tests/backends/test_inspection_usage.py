"""The account of a module's bytes adds up, and names what could be freed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from backends import CorruptData, Inspection, Usage
from backends.hydration.inspection.usage import account, covered
from backends.hydration.manifest import BlobRef, Chunk, Entry, Manifest
from tests.backends.rig import Rig
from tests.backends.trees import Node, build, trees, workspace

ROOT = Entry(b"", "d", 0o755)


Make = Callable[..., Manifest]


@pytest.fixture
def manifest(tmp_path: Path) -> Make:
    """Makes manifests of one blob, of its size in bytes, and of a file for each range of it."""
    rig = Rig(tmp_path)
    (tmp_path / "empty").mkdir()
    template = rig.manifest(rig.save(tmp_path / "empty").head.manifest or "")

    def make(blob: bytes, size: int, *ranges: tuple[int, int]) -> Manifest:
        return replace(template, blobs=(BlobRef(blob, size),), entries=(ROOT, *_files(ranges)))

    return make


def _files(ranges: Iterable[tuple[int, int]]) -> list[Entry]:
    return [
        Entry(b"%d" % number, "f", 0o644, 0, length, chunks=(Chunk(bytes(32), 0, offset, length),))
        for number, (offset, length) in enumerate(ranges)
    ]


def _sum(usage: Usage) -> int:
    return usage.live + usage.previous + usage.dead + usage.orphans


PACK = b"p" * 32
KEY = "blobs/" + PACK.hex()


def test_dead_bytes_are_those_that_no_manifest_needs(manifest: Make) -> None:
    """A pack's bytes are live, only the earlier tree's, or dead; what both need is live."""
    sizes = {"head": 100, "blobs/m": 50, "blobs/n": 40, KEY: 1000, "blobs/x": 7}
    committed = [("m", manifest(PACK, 1000, (0, 100), (0, 100), (100, 100)))]
    kept = [("n", manifest(PACK, 1000, (100, 200)))]
    usage = account(sizes, committed, kept)
    assert usage.live == 100 + 50 + 200 + 16
    assert usage.previous == 40 + 100
    assert usage.dead == 1000 - 300 - 16
    assert (usage.orphans, usage.orphan_objects) == (7, 1)
    assert _sum(usage) == usage.stored == 1197
    assert (usage.objects, usage.files, usage.data, usage.missing) == (5, 3, 300, 0)


@pytest.mark.parametrize("salt", [0, 15, 16])
def test_what_ends_a_blob_is_no_waste(manifest: Make, salt: int) -> None:
    """The few bytes at a blob's end that belong to no chunk do not count as dead."""
    usage = account({KEY: 100 + salt}, [("m", manifest(PACK, 100 + salt, (0, 100)))])
    assert (usage.live, usage.dead) == (100 + salt, 0)


def test_missing_and_unreadable_are_counted(manifest: Make) -> None:
    """Blobs that are not there, or in another size, and manifests that can't be read, show in the account."""
    assert account({}, [("m", manifest(PACK, 100, (0, 100)))]).missing == 1
    assert account({KEY: 99}, [("m", manifest(PACK, 100, (0, 100)))]).missing == 1
    usage = account({KEY: 100, "blobs/m": 5}, [("m", None)])
    assert (usage.unreadable, usage.orphans, usage.live) == (1, 100, 5)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 20))))
def test_overlapping_ranges_count_once(ranges: list[tuple[int, int]]) -> None:
    """However ranges overlap, a byte counts once."""
    assert covered(ranges) == len({byte for offset, length in ranges for byte in range(offset, offset + length)})


@settings(max_examples=30)
@given(trees, trees)
def test_the_account_of_real_modules_adds_up(first: Node, second: Node) -> None:
    """After random commits the parts add up to what is stored, and nothing is missing or an orphan."""
    with workspace() as path:
        rig = Rig(path)
        rig.save(build(path / "first", first))
        rig.save(build(path / "second", second), keep_previous=True)
        usage = Inspection(rig.store, "Tenant-1").usage()
        assert _sum(usage) == usage.stored == sum(info.size for info in rig.store.list("_tenant-1/"))
        assert (usage.missing, usage.unreadable, usage.orphans) == (0, 0, 0)


def test_deleted_files_show_as_dead_bytes(tmp_path: Path) -> None:
    """Bytes of files that were deleted from a pack are dead until it is rewritten; the sum of accounts adds up."""
    rig = Rig(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    for number in range(10):
        (source / f"{number}").write_bytes(os.urandom(10_000))
    rig.save(source)
    assert Inspection(rig.store, "Tenant-1").usage().dead == 0
    (source / "3").unlink()
    rig.save(source)
    usage = Inspection(rig.store, "Tenant-1").usage()
    assert 10_000 - 16 <= usage.dead <= 10_000  # but for what may end a blob
    assert (usage + usage).dead == 2 * usage.dead


def test_an_unreadable_head_has_no_account(tmp_path: Path) -> None:
    """Without a head nothing tells what is needed: that is an error, and no account of orphans."""
    rig = Rig(tmp_path)
    rig.claimed()
    rig.store.put("_tenant-1/head", b"{}")
    with pytest.raises(CorruptData):
        Inspection(rig.store, "Tenant-1").usage()
    assert Inspection(rig.store, "nothing").usage() == Usage()
