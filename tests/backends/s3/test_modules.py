"""Modules on a real S3 server: what holds on a folder holds there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from backends import BackendUnavailable, Head, HeadConflict, open_store
from tests.backends.rig import Rig
from tests.backends.s3.real import Real, counting
from tests.backends.stores import Faulty
from tests.backends.trees import Node, build, snapshot, trees, workspace
from tests.s3_servers import Server

pytestmark = pytest.mark.usefixtures("s3_credentials")
# The fixtures only give a server and its credentials, which are the same for every example.
FEW = settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(first=trees, second=trees)
@FEW
def test_random_trees_and_edits(
    seaweedfs_server: Server, new_prefix: Callable[[], str], first: Node, second: Node
) -> None:
    """Any tree, and any that comes after it, is brought back equal; nothing unneeded is left; erasure leaves nothing."""
    with workspace() as path:
        rig = Rig(path, open_store(seaweedfs_server.uri(new_prefix())))
        for number, tree in enumerate((first, second)):
            source = build(path / f"source{number}", tree)
            rig.save(source)
            assert snapshot(rig.load(f"copy{number}")) == snapshot(source)
            assert rig.orphans() <= {"_tenant-1/", "_tenant-1/blobs/"}
        assert rig.module.erase().remaining == 0
        assert list(rig.store.remains("")) == []


def test_big_file(tmp_path: Path, s3_uri: str) -> None:
    """A file of many chunks comes back equal."""
    rig = Rig(tmp_path, open_store(s3_uri))
    source = tmp_path / "source"
    source.mkdir()
    (source / "big").write_bytes(bytes(range(256)) * (40 << 12))
    rig.save(source)
    assert snapshot(rig.load("copy")) == snapshot(source)


def test_modules_on_versioned_buckets(real: Real, tmp_path: Path) -> None:
    """Where a bucket keeps versions, dehydrations work as ever and an erasure takes all of them."""
    real.versioning("Enabled")
    rig = Rig(tmp_path, real.store)
    source = tmp_path / "source"
    source.mkdir()
    for number in range(4):
        (source / "file").write_bytes(b"%d" % number * 100_000)
        rig.save(source)
    assert snapshot(rig.load("copy")) == snapshot(source)
    assert len(real.versions("p/_tenant-1/head")) > 1
    erased = rig.module.erase()
    assert erased.versions > 0
    assert real.versions("p/") == []


def test_racing_claims(tmp_path: Path, s3_uri: str) -> None:
    """Of many owners that claim one head at once, exactly one gets it."""
    rigs = [Rig(tmp_path, open_store(s3_uri), owner=f"racer{number}") for number in range(6)]
    start = Rig(tmp_path, rigs[0].store, owner="first").module.claim(None, "store")
    for rig in rigs:
        rig.store.check()  # a client's first request takes a while
    barrier = threading.Barrier(6)

    def claim(rig: Rig) -> Head | None:
        barrier.wait()
        try:
            return rig.module.claim(start, "store")
        except HeadConflict:
            return None

    with ThreadPoolExecutor(6) as pool:
        won = [head for head in pool.map(claim, rigs) if head is not None]
    assert [head.epoch for head in won] == [start.epoch + 1]
    assert rigs[0].module.read_head() == won[0]


def test_fenced_off(tmp_path: Path, s3_uri: str) -> None:
    """An owner whose module was taken over can't commit, nor leave anything behind."""
    one, two = (Rig(tmp_path, open_store(s3_uri), owner=owner) for owner in ("one", "two"))
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_bytes(b"of one")
    head = one.claimed()
    two.claimed()
    with pytest.raises(HeadConflict):
        one.module.dehydrate(head, source, index=one.index)
    assert two.module.read_head() == two.claimed()
    assert two.orphans() == set()


@pytest.mark.parametrize("how", ["before", "after"])
def test_failures_between_requests(tmp_path: Path, s3_uri: str, how: str) -> None:
    """A dehydration that fails at some call is made good by the next one."""
    rig = Rig(tmp_path, open_store(s3_uri))
    source = tmp_path / "source"
    source.mkdir()
    for number in range(2, 12, 3):
        (source / "file").write_bytes(b"%d" % number * 1000)
        head = rig.claimed()
        try:
            rig.using(Faulty(rig.store, number, how)).module.dehydrate(head, source, index=rig.index)
        except BackendUnavailable:
            rig.save(source)
        assert snapshot(rig.load(f"copy{number}")) == snapshot(source)
        assert rig.orphans() == set()


def test_requests_of_a_hydration(tmp_path: Path, s3_uri: str) -> None:
    """Many small files are read back with a few requests, none of which only looks."""
    rig = Rig(tmp_path, open_store(s3_uri))
    source = tmp_path / "source"
    source.mkdir()
    for number in range(500):
        (source / str(number)).write_bytes(b"%d" % number * 100)
    rig.save(source)
    head = rig.claimed()
    requests = counting(rig.store)
    rig.load("copy", head)
    assert set(requests) == {"GetObject"}
    assert requests.total() <= 6
