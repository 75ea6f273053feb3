"""Erasure on buckets that keep versions: every version, every delete marker and every open upload goes."""

from __future__ import annotations

import pytest

from backends import BackendUnavailable, Guard, PreconditionFailed, Purged, RemoteModule
from backends.s3 import purge
from backends.s3.bucket import Bucket
from backends.s3.listings import Entry
from tests.backends.s3.real import Real, counting


@pytest.mark.parametrize("status", ["Enabled", "Suspended", "Suspended after"])
def test_everything_goes(real: Real, status: str) -> None:
    """Versions with ids and without, markers and uploads show in what remains, and are purged and expunged."""
    store = real.store
    store.put("m/a", b"before versioning")
    real.versioning("Enabled" if status == "Suspended after" else status)
    for content in (b"1", b"22"):
        store.put("m/a", content)
        store.put("m/b", content)
        store.put("m/head", content)
    if status == "Suspended after":
        real.versioning("Suspended")
    store.delete("m/b")
    store.delete_many(["m/c", "m/a"])
    store.put("m/a", b"333")
    etag = store.put("m/head", b"4444")
    store.put("n/a", b"neighbour")
    store.put("m-1/a", b"neighbour")
    real.leave_upload("p/m/blobs/x")
    real.leave_upload("p/n/x")
    kinds = {item.kind for item in store.remains("m/")}
    assert {"blob", "upload", "marker"} <= kinds
    assert ("version" in kinds) == (status != "Suspended")
    gone = store.purge("m/", keep="m/head", guard=Guard.unchanged("m/head", etag))
    assert gone.blobs >= 1
    assert gone.versions >= 3
    assert real.versions() == [("p/m/head", "version")]
    assert store.get("m/head") == (b"4444", etag)
    assert real.uploads() == ["p/n/x"]
    assert store.expunge("m/head", if_match=etag) == Purged(blobs=1, bytes=4)
    assert list(store.remains("m/")) == []
    assert real.versions() == []
    assert {key for key, _ in real.versions("p/")} == {"p/n/a", "p/m-1/a"}


@pytest.mark.parametrize("versioned", [False, True])
def test_a_large_object_goes_by_the_etag_of_its_writer(real: Real, versioned: bool) -> None:
    """There are servers whose listing of versions gives large objects another etag than everything else does."""
    if versioned:
        real.versioning("Enabled")
    store = real.store
    data = bytes(4 * 1024 * 1024 + 16)
    old = store.put("m/a", data)
    etag = store.put("m/a", data + b"1")
    with pytest.raises(PreconditionFailed):
        store.expunge("m/a", if_match=old)
    assert store.get("m/a")[1] == etag
    assert store.expunge("m/a", if_match=etag).blobs == 1
    assert list(store.remains("m/")) == []


def test_more_versions_than_a_page(real: Real) -> None:
    """More than a thousand versions of one object, and of the head that stays, go in batches."""
    real.versioning("Enabled")
    store = real.store
    real.many(1050, lambda _: store.put("m/head", b"x"))
    real.many(40, lambda n: store.delete(f"m/{n % 4}"))
    etag = store.put("m/head", b"last")
    assert len(list(store.remains("m/"))) == 1051 + 40
    requests = counting(store)
    assert store.purge("m/", keep="m/head", guard=Guard.unchanged("m/head", etag)) == Purged(versions=1090, bytes=1050)
    assert requests["DeleteObjects"] == 2
    assert real.versions() == [("p/m/head", "version")]


def test_expunge_takes_all_versions_of_its_key_alone(real: Real) -> None:
    """Older versions and markers of the key go with it; keys that begin with it do not, and a wrong etag changes nothing."""
    real.versioning("Enabled")
    store = real.store
    store.put("m/head", b"1")
    store.delete("m/head")
    etag = store.put("m/head", b"22")
    store.put("m/head2", b"1")
    with pytest.raises(PreconditionFailed):
        store.expunge("m/head", if_match='"0"')
    assert len(real.versions()) == 4
    assert store.expunge("m/head", if_match=etag) == Purged(blobs=1, versions=2, bytes=3)
    assert real.versions() == [("p/m/head2", "version")]
    with pytest.raises(PreconditionFailed):
        store.expunge("m/head", if_match=etag)


def test_a_crash_midway(real: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    """An erasure that dies between two deletions is completed by the next one."""
    real.versioning("Enabled")
    store = real.store
    module = RemoteModule(store, "m", owner="one")
    module.claim(None, kind="store")
    real.many(30, lambda n: store.put(f"m/blobs/{n % 20}", b"x"))
    whole = purge.remove
    calls: list[int] = []

    def dying(bucket: Bucket, entries: list[Entry], guard: Guard | None) -> None:
        calls.append(len(entries))
        whole(bucket, entries[: len(entries) // 2], guard)
        raise BackendUnavailable("killed")

    monkeypatch.setattr(purge, "remove", dying)
    for _ in range(2):
        with pytest.raises(BackendUnavailable):
            module.erase()
    assert len(calls) == 2
    assert calls[1] < calls[0]
    monkeypatch.setattr(purge, "remove", whole)
    assert module.erase().remaining == 0
    assert real.versions() == []
    assert module.read_head() is None


def test_a_broken_guard_ends_a_purge(real: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that changes between a listing and the deletion of what it found saves all of it."""
    store = real.store
    guard = Guard.unchanged("m/head", store.put("m/head", b"1"))
    store.put("m/blobs/a", b"x")
    whole = purge.remove

    def late(bucket: Bucket, entries: list[Entry], guard: Guard | None) -> None:
        store.put("m/head", b"2")
        whole(bucket, entries, guard)

    monkeypatch.setattr(purge, "remove", late)
    with pytest.raises(PreconditionFailed):
        store.purge("m/", keep="m/head", guard=guard)
    assert {info.key for info in store.list("m/")} == {"m/head", "m/blobs/a"}


def test_requests_of_an_erasure(real: Real) -> None:
    """A module of thousands of objects is erased with three requests a thousand and a few besides."""
    store = real.store
    module = RemoteModule(store, "m", owner="one")
    module.claim(None, kind="store")
    real.many(2500, lambda n: store.put(f"m/blobs/{n:05}", b""))
    requests = counting(store)
    assert module.erase().blobs == 2501
    # Listing before, listing, guard, deletion: 4 * 20 + 20 for 20,000 objects is the budget of 100.
    assert requests.total() <= 4 * 3 + 16


def test_listings_are_lazy(real: Real) -> None:
    """Nothing is asked for before it is wanted, and no page ahead."""
    store = real.store
    store.put("m/a", b"1")
    requests = counting(store)
    listing, remains = store.list("m/"), store.remains("m/")
    assert requests.total() == 0
    next(listing)
    next(remains)
    assert requests == {"ListObjectsV2": 1, "ListObjectVersions": 1}


def test_odd_keys_are_purged(real: Real) -> None:
    """What others left below a module's prefix goes too, whatever it is called; it is not listed as an object of ours."""
    store = real.store
    etag = store.put("m/head", b"1")
    odd = ["p/m/", "p/m/.hidden", "p/m/a b+%2F&<", "p/m/\u00e4\u2028"]
    for key in odd:
        real.client.put_object(Bucket=real.bucket, Key=key, Body=b"x")
    assert [info.key for info in store.list("m/")][:1]
    assert "m/.hidden" not in {info.key for info in store.list("m/")}
    assert len(list(store.remains("m/"))) == 5
    assert store.purge("m/", keep="m/head", guard=Guard.unchanged("m/head", etag)).blobs == 4
    assert [item.name for item in store.remains("m/")] == ["m/head"]
