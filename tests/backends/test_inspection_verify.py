"""Verification: it finds all damage, calls nothing else damage, and holds little in memory."""

from __future__ import annotations

import os
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from backends import (
    BackendUnavailable,
    CorruptData,
    Finding,
    Flaw,
    HeadConflict,
    Inspection,
    TransferCancelled,
    Verified,
)
from backends.hydration.manifest import BlobRef, Chunk, Entry
from tests.backends.rig import Rig
from tests.backends.stores import Faulty
from tests.backends.test_inspection import Acting, content
from tests.backends.trees import Node, build, trees, workspace

MIB = 1024 * 1024


def verified(store: object, *, cancelled: threading.Event | None = None) -> tuple[Verified, list[Finding]]:
    found: list[Finding] = []
    result = Inspection(store, "Tenant-1", cancelled=cancelled).verify(found.append)  # type: ignore[arg-type] # any double
    return result, found


def make(path: Path, files: int = 6) -> tuple[Rig, Path]:
    """Two trees: the earlier one is kept, and shares some blobs with the committed one."""
    rig = Rig(path)
    source = path / "source"
    (source / "d").mkdir(parents=True)
    for number in range(files):
        (source / f"d/{number}").write_bytes(os.urandom(5000))
    (source / "large").write_bytes(os.urandom(3 * MIB))
    (source / "kept").write_bytes(os.urandom(2 * MIB))
    os.link(source / "large", source / "z-link")
    rig.save(source)
    (source / "large").write_bytes(os.urandom(3 * MIB))
    (source / "new").write_bytes(b"new")
    rig.save(source, keep_previous=True)
    return rig, source


def blobs(rig: Rig) -> list[str]:
    return sorted(info.key for info in rig.store.list("_tenant-1/blobs/"))


@settings(max_examples=30)
@given(tree=trees)
def test_what_was_sent_is_intact(tree: Node) -> None:
    """A random tree verifies: nothing is found, and every object was looked at."""
    with workspace() as path:
        rig = Rig(path)
        rig.save(build(path / "source", tree))
        result, found = verified(rig.store)
        listed = list(rig.store.list("_tenant-1/"))
        assert found == []
        assert (result.blobs, result.bytes) == (len(listed), sum(info.size for info in listed))
        assert (result.damaged, result.lost, result.orphans) == (0, 0, 0)


@pytest.mark.parametrize("how", ["missing", "flipped", "shorter", "longer", "empty"])
def test_every_damaged_blob_is_found_with_the_files_that_are_lost(tmp_path: Path, how: str) -> None:
    """Whichever blob is damaged, it alone is found, and the files named are exactly those that can't be read back."""
    rig, _ = make(tmp_path)
    inspection = Inspection(rig.store, "Tenant-1")
    trees_ = [inspection.snapshot(), inspection.snapshot(previous=True)]
    assert trees_[0] is not None
    assert trees_[1] is not None
    manifests = {"_tenant-1/blobs/" + tree.digest for tree in trees_ if tree is not None}
    assert len(blobs(rig)) >= 6
    lost_in_all = 0
    for key in blobs(rig):
        good = rig.store.get(key)[0]
        if how == "missing":
            rig.store.delete(key)
        else:
            flipped = bytearray(good)
            flipped[len(good) // 2] ^= 0x10
            bad = {"flipped": bytes(flipped), "shorter": good[:-1], "longer": good + b"x", "empty": b""}[how]
            rig.store.put(key, bad)
        result, [finding] = verified(rig.store)
        assert (finding.key, finding.flaw) == (key, Flaw.MISSING if how == "missing" else Flaw.CORRUPT)
        assert result.damaged == 1
        if key not in manifests:
            for tree, named in zip(trees_, (finding.files, finding.previous_files), strict=True):
                assert tree is not None
                lost: set[bytes] = set()
                for entry in tree.children(b"", recursive=True):
                    if entry.kind in {"f", "h"}:
                        try:
                            content(inspection, tree, entry.path)
                        except CorruptData:
                            lost.add(entry.path)
                assert set(named) == lost
                assert len(named) == len(lost)
                lost_in_all += len(lost)
            assert (result.lost, result.lost_previous) == (len(finding.files), len(finding.previous_files))
        rig.store.put(key, good)
    assert lost_in_all > 0 or how in {"longer", "shorter"}  # which leaves all chunks where they were
    assert verified(rig.store)[1] == []


def test_a_bit_in_a_pack_costs_one_file(tmp_path: Path) -> None:
    """Of a pack with one flipped bit only the file that has it is lost; the others are not named."""
    rig, _ = make(tmp_path)
    tree = Inspection(rig.store, "Tenant-1").snapshot()
    assert tree is not None
    chunk = tree.content(b"d/3")[0]
    key = "_tenant-1/blobs/" + tree.manifest.blobs[chunk.blob].digest.hex()
    data = bytearray(rig.store.get(key)[0])
    data[chunk.offset] ^= 1
    rig.store.put(key, data)
    _, [finding] = verified(rig.store)
    assert finding.files == (b"d/3",)
    assert finding.previous_files == (b"d/3",)


def test_orphans_are_told_and_are_no_damage(tmp_path: Path) -> None:
    """Objects that nothing needs are found as orphans, with their bytes, and nothing counts as damaged."""
    rig, _ = make(tmp_path)
    rig.store.put("_tenant-1/blobs/" + "0" * 64, b"12345")
    rig.store.put("_tenant-1/strange", b"1")
    result, found = verified(rig.store)
    assert {(item.flaw, item.key) for item in found} == {
        (Flaw.ORPHAN, "_tenant-1/blobs/" + "0" * 64),
        (Flaw.ORPHAN, "_tenant-1/strange"),
    }
    assert (result.damaged, result.orphans, result.orphan_bytes) == (0, 2, 6)


def test_no_orphan_is_made_up_where_a_manifest_is_unreadable(tmp_path: Path) -> None:
    """While it is unknown what is needed, nothing is called an orphan; the damage is the manifest's alone."""
    rig, _ = make(tmp_path)
    head = rig.module.read_head()
    assert head is not None
    rig.store.put(f"_tenant-1/blobs/{head.manifest}", b"nonsense")
    result, [finding] = verified(rig.store)
    assert (finding.flaw, finding.key) == (Flaw.CORRUPT, f"_tenant-1/blobs/{head.manifest}")
    assert "no file of it can be restored" in finding.message
    assert result.orphans == 0


def test_a_head_that_is_none_is_damage(tmp_path: Path) -> None:
    """An unreadable head is found as corrupt; a missing one leaves orphans; a tombstone leaves nothing to verify."""
    rig, _ = make(tmp_path)
    head = rig.module.read_head()
    assert head is not None
    rig.store.put("_tenant-1/head", replace(head, tombstone=True).to_json())
    result, found = verified(rig.store)
    assert (result.damaged, result.orphans, found) == (0, 0, [])
    assert result.head is not None
    assert result.head.tombstone
    rig.store.put("_tenant-1/head", b"{}")
    result, [finding] = verified(rig.store)
    assert (finding.flaw, finding.key, result.damaged) == (Flaw.CORRUPT, "_tenant-1/head", 1)
    rig.store.delete("_tenant-1/head")
    result, found = verified(rig.store)
    assert (result.head, result.damaged, result.orphans) == (None, 0, len(blobs(rig)))
    assert {item.flaw for item in found} == {Flaw.ORPHAN}


def test_a_manifest_that_lies_about_a_chunk_is_found(tmp_path: Path) -> None:
    """A blob that is what its name says, but not what the manifest says is in it, is damage with its file."""
    rig = Rig(tmp_path)
    data = os.urandom(1000)
    chunk = Chunk(blake3(b"something else").digest(), 0, 10, 100)
    (tmp_path / "empty").mkdir()
    head = rig.save(tmp_path / "empty").head
    manifest = structs.replace(
        rig.manifest(head.manifest or ""),
        blobs=(BlobRef(blake3(data).digest(), len(data)),),
        entries=(Entry(b"", "d", 0o755), Entry(b"f", "f", 0o644, 0, 100, chunks=(chunk,))),
    ).encode()
    for blob in (data, manifest):
        rig.store.put("_tenant-1/blobs/" + blake3(blob).hexdigest(), blob)
    changed = replace(head, manifest=blake3(manifest).hexdigest())
    rig.store.put("_tenant-1/head", changed.to_json(), if_match=head.etag)
    rig.store.delete(f"_tenant-1/blobs/{head.manifest}")
    _, [finding] = verified(rig.store)
    assert (finding.flaw, finding.files) == (Flaw.CORRUPT, (b"f",))
    assert "manifest" in finding.message


def test_a_commit_meanwhile_is_no_damage(tmp_path: Path) -> None:
    """While the owner commits and collects what is being verified, the verification goes on with the new tree."""
    rig, source = make(tmp_path)

    def commit() -> None:
        for name in ("large", "kept", "new"):
            (source / name).write_bytes(os.urandom(2 * MIB))
        rig.save(source)

    result, found = verified(Acting(rig.store, "get", commit, times=4))
    head = rig.module.read_head()
    assert head is not None
    assert result.head is not None
    assert result.head.manifest == head.manifest
    assert found == []


def test_a_module_that_never_holds_still_is_a_conflict(tmp_path: Path) -> None:
    """When the head moves at every attempt, the verification gives up with the typed error, and finds no damage."""
    rig, source = make(tmp_path)

    def commit() -> None:
        (source / "new").write_bytes(os.urandom(100))
        rig.save(source)

    found: list[Finding] = []
    with pytest.raises(HeadConflict):
        Inspection(Acting(rig.store, "get", commit, times=10**6), "Tenant-1").verify(found.append)
    assert found == []


@settings(max_examples=25)
@given(fail_at=st.integers(0, 14))
def test_a_backend_that_fails_is_never_damage(fail_at: int) -> None:
    """Whichever call fails, the verification raises; it never reports a blob as damaged that it could not read."""
    with workspace() as path:
        rig, _ = make(path)
        store = Faulty(rig.store, fail_at, "before")
        found: list[Finding] = []
        try:
            Inspection(store, "Tenant-1", threads=1).verify(found.append)
        except BackendUnavailable:
            assert store.fired
        else:
            assert not store.fired
        assert found == []


def test_memory_is_bounded_by_threads_not_by_the_module(tmp_path: Path) -> None:
    """A module of 128 MiB is verified within the memory of a few blobs."""
    rig = Rig(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    for number in range(8):
        (source / f"{number}").write_bytes(os.urandom(16 * MIB))
    rig.save(source)
    tracemalloc.start()
    try:
        result, _ = verified(rig.store)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result.bytes > 128 * MIB
    assert peak < 40 * MIB


def test_a_set_token_ends_it(tmp_path: Path) -> None:
    """A verification whose token is set while it reads ends with the typed error, and so do its threads."""
    rig, _ = make(tmp_path)
    token = threading.Event()
    with pytest.raises(TransferCancelled):
        verified(Acting(rig.store, "get", token.set), cancelled=token)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("modhub-inspect")]


def test_progress_reaches_its_end(tmp_path: Path) -> None:
    """Progress is told in bytes and blobs, ends complete, and is never told by two threads at once."""
    rig, _ = make(tmp_path)
    told: list[tuple[int, int, int, int]] = []
    Inspection(rig.store, "Tenant-1").verify(
        lambda _finding: None,
        progress=lambda now: told.append((now.bytes_done, now.bytes_total, now.files_done, now.files_total)),
    )
    done, total, files, files_total = told[-1]
    assert done == total > 5 * MIB
    assert files == files_total > 3
