"""A guard is checked before a write, so a write of a fenced-off owner may still arrive: nothing of it stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backends import HeadConflict
from tests.backends.rig import Rig
from tests.backends.s3.real import Real, hooked
from tests.backends.trees import snapshot


def _before_blob(rig: Rig, number: int, act: Callable[[], object]) -> None:
    """Do something when the n-th blob is about to be sent, after its guard was checked."""
    left = number

    def before(request: object, **_: object) -> None:
        nonlocal left
        if "/blobs/" in str(getattr(request, "url", "")):
            left -= 1
            if left == 0:
                act()

    hooked(rig.store, "before-send.s3.PutObject", before)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    (path / "file").write_bytes(b"content")
    return path


@pytest.mark.parametrize("versioned", [False, True])
@pytest.mark.parametrize("number", [1, 2], ids=["a pack", "the manifest"])
def test_nothing_arrives_after_an_erasure(
    tmp_path: Path, source: Path, real: Real, *, number: int, versioned: bool
) -> None:
    """What was under way while the module was erased is taken back by its sender, to the last version."""
    if versioned:
        _ = real.store
        real.versioning("Enabled")
    rig = Rig(tmp_path, real.store)
    other = Rig(tmp_path, real.another(), owner="two")
    head = rig.claimed()
    _before_blob(rig, number, other.module.erase)
    with pytest.raises(HeadConflict):
        rig.module.dehydrate(head, source, index=rig.index)
    assert list(other.store.remains("_tenant-1/")) == []


def test_what_another_owner_has_is_left(tmp_path: Path, source: Path, real: Real) -> None:
    """Of a module that another owner took, nothing is taken back."""
    rig, other = Rig(tmp_path, real.store), Rig(tmp_path, real.another(), owner="two")
    head = rig.claimed()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "file").write_bytes(b"content")
    _before_blob(rig, 1, lambda: other.save(tmp_path / "theirs"))
    with pytest.raises(HeadConflict):
        rig.module.dehydrate(head, source, index=rig.index)
    assert snapshot(other.load("copy")) == snapshot(tmp_path / "theirs")
