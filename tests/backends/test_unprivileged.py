"""As an ordinary user, whom modes bind: what is read-only goes home, comes back, and is cleaned up after a failure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends import BackendDenied, LocalDiskError, RemoteModule, open_store
from backends.hydration import place as place_module
from tests.backends.rig import Rig
from tests.backends.trees import Node, build, snapshot, workspace

NOBODY = 65534
_inner = Node("d", 0o500, children={b"g": Node("f", 0o400, data=b"y" * 5_000_000)})
READ_ONLY = Node("d", 0o555, children={b"ro": Node("d", 0o555, children={b"f": Node("f", 0o444), b"in": _inner})})


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of an ordinary user, who is the user of this process for the test's time."""
    with workspace() as path:
        if os.geteuid() != 0:
            yield path
            return
        os.chown(path, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield path
        finally:
            os.seteuid(0)


def test_read_only_trees(place: Path) -> None:
    """Directories and files without write permission round-trip, many blobs or few, the root included."""
    rig = Rig(place)
    source = build(place / "source", READ_ONLY)
    before = snapshot(source)
    rig.save(source)
    assert snapshot(rig.load("copy")) == before
    rig.save(place / "copy")
    assert snapshot(rig.load("again")) == before


def test_read_only_trees_are_cleaned_up(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hydration that fails at its very end removes its read-only directories."""
    rig = Rig(place)
    rig.save(build(place / "source", READ_ONLY))

    def fail(*_args: object, **_options: object) -> None:
        raise OSError(5, "injected")

    monkeypatch.setattr(place_module, "place", fail)
    with pytest.raises(LocalDiskError, match="injected"):
        rig.load("copy")
    assert rig.scraps() == []
    assert not (place / "copy").exists()


def test_unreadable_source_is_a_local_error(place: Path) -> None:
    """A file that may not be read fails the dehydration typed, and its mode is left alone."""
    rig = Rig(place)
    source = build(place / "source", Node("d", children={b"f": Node("f", 0o000, data=b"1")}))
    before = rig.claimed()
    with pytest.raises(LocalDiskError):
        rig.save(source)
    assert (source / "f").stat().st_mode & 0o777 == 0
    assert rig.claimed() == before


def test_read_only_backend_is_denied(place: Path) -> None:
    """A folder without write permission is denied at the check and at the first write; reading goes on."""
    rig = Rig(place)
    head = rig.claimed()
    (place / "store").chmod(0o500)
    with pytest.raises(BackendDenied):
        rig.store.check()
    with pytest.raises(BackendDenied):
        RemoteModule(rig.store, "new", owner="a").claim(None, "k")
    assert rig.module.read_head() == head


def test_invisible_backend_is_denied(place: Path) -> None:
    """Opening a store below a folder that may not be entered is no error; using it is a typed one."""
    (place / "closed").mkdir(0o000)
    store = open_store((place / "closed" / "store").as_uri())
    for act in (store.check, lambda: store.get("m/head"), lambda: store.put("m/head", b"1")):
        with pytest.raises(BackendDenied):
            act()


def test_unreachable_backend_is_denied(place: Path) -> None:
    """A folder that may not be entered is denied, and is not taken for an empty one."""
    rig = Rig(place)
    rig.claimed()
    (place / "store").chmod(0)
    with pytest.raises(BackendDenied):
        rig.module.read_head()
    with pytest.raises(BackendDenied):
        Rig(place).module.erase()
