"""Leases on a real server: guards are checked there by a request of their own, and what is late may arrive."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from backends import HeadConflict, LeaseHeld, LeaseObserver, open_store
from tests.backends.rig import Rig
from tests.backends.s3.real import Real, counting, hooked
from tests.backends.trees import snapshot
from tests.s3_servers import Server


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    (path / "file").write_bytes(b"content")
    return path


def _at_request(rig: Rig, number: int, act: Callable[[], object]) -> list[str]:
    """Do something when the n-th request is about to be sent, whatever was checked before it. Gives all requests."""
    sent: list[str] = []

    def before(event_name: str, **_: object) -> None:
        sent.append(event_name)
        if len(sent) == number + 1:
            act()

    hooked(rig.store, "before-send.s3", before)
    return sent


def test_a_renewal_at_any_request_disturbs_no_dehydration(
    tmp_path: Path, source: Path, s3_credentials: None, seaweedfs_server: Server, new_prefix: Callable[[], str]
) -> None:
    """Renewed while any request is on its way, between a guard and its write too, a dehydration commits."""
    uri = seaweedfs_server.uri(new_prefix())
    other = Rig(tmp_path, open_store(uri))
    other.save(source)
    for number in itertools.count():
        rig = Rig(tmp_path, open_store(uri))
        held = rig.module.claim(rig.module.read_head(), "store", lease_s=30)
        (source / "new").write_bytes(b"%d" % number)
        sent = _at_request(rig, number, lambda: other.module.renew(held.claim, lease_s=77))  # noqa: B023
        done = rig.module.dehydrate(held, source, index=rig.index)
        assert done.stats.collect_error is None
        head = other.module.read_head()
        assert head is not None
        assert (head.claim, head.manifest, head.term) == (held.claim, done.head.manifest, done.head.term)
        assert head.lease_ms == (77_000 if number < len(sent) else 30_000)
        assert snapshot(other.load(f"copy{number}", head)) == snapshot(source)
        assert other.orphans() <= {"_tenant-1/", "_tenant-1/blobs/"}
        if number >= len(sent):
            assert number > 10
            return


def test_requests_of_leases(tmp_path: Path, source: Path, s3_uri: str) -> None:
    """A claim is one request beside the read, a renewal two, and giving back costs a commit none."""
    rig = Rig(tmp_path, open_store(s3_uri))
    rig.store.check()
    requests = counting(rig.store)
    held = rig.module.claim(rig.module.read_head(), "store", lease_s=30)
    assert requests == {"GetObject": 1, "PutObject": 1}
    requests.clear()
    rig.module.renew(held.claim, lease_s=30)
    assert requests == {"GetObject": 1, "PutObject": 1}
    counts: list[dict[str, int]] = []
    rig.save(source)
    for release in (False, True):
        (source / "new").write_bytes(b"%d" % release)
        requests.clear()
        rig.module.dehydrate(rig.claimed(), source, index=rig.index, release=release)
        counts.append(dict(requests))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("versioned", [False, True])
def test_a_late_write_of_a_holder_that_died_is_found(
    tmp_path: Path, source: Path, real: Real, *, versioned: bool
) -> None:
    """It arrives after the erasure of a module that was held, and nobody lives to take it back: looked for again, it goes."""
    if versioned:
        _ = real.store
        real.versioning("Enabled")
    rig = Rig(tmp_path, real.store)
    other = Rig(tmp_path, real.another(), owner="two")
    held = rig.module.claim(None, "store", lease_s=30)
    erased: list[float] = []

    def erase(request: object, **_: object) -> None:
        if "/blobs/" in str(getattr(request, "url", "")) and not erased:
            erased.append(other.module.erase().held_s)

    def die(**_: object) -> None:
        raise KeyboardInterrupt

    hooked(rig.store, "before-send.s3.PutObject", erase)
    hooked(rig.store, "after-call.s3.PutObject", die)
    with pytest.raises(KeyboardInterrupt):
        rig.module.dehydrate(held, source, index=rig.index)
    assert 0 < erased[0] <= 30
    assert [item.name for item in other.store.remains("_tenant-1/")] != []
    gone = other.module.erase_stragglers()
    assert gone.blobs > 0
    assert list(other.store.remains("_tenant-1/")) == []
    assert other.module.claim(None, "store", lease_s=30).owner == "two"


def test_a_stale_holder_is_fenced_off(tmp_path: Path, source: Path, real: Real) -> None:
    """Taken over, erased, made anew: whoever held the module before can neither commit nor renew."""
    now = [0.0]
    rig = Rig(tmp_path, real.store)
    other = Rig(tmp_path, real.another(), owner="two", observer=LeaseObserver(lambda: now[0]))
    held = rig.module.claim(None, "store", lease_s=30)

    def refused() -> None:
        before = other.module.read_head()
        with pytest.raises(HeadConflict):
            rig.module.renew(held.claim, lease_s=30)
        with pytest.raises(HeadConflict):
            rig.module.dehydrate(held, source, index=rig.index)
        assert other.module.read_head() == before

    with pytest.raises(LeaseHeld):
        other.module.claim(held, "store")
    now[0] = 30.0
    other.module.claim(held, "store", lease_s=30)
    refused()
    other.module.erase()
    refused()
    for owner in (other, rig):
        new = owner.module.claim(None, "store", lease_s=30)
        assert new.claim != held.claim
        refused()
        owner.module.erase()
    assert list(real.store.remains("_tenant-1/")) == []
