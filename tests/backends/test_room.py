"""Whoever brings data here may judge how much it is before any of it is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backends import LocalDiskFull
from tests.backends.rig import Rig

BLOCK = 4096


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """A module with a file of 100 KiB and a bit, a small one in a folder, and a large one that is all hole."""
    source = tmp_path / "source"
    (source / "folder").mkdir(parents=True)
    (source / "file").write_bytes(os.urandom(25 * BLOCK + 1))
    (source / "folder" / "small").write_bytes(b"small")
    with (source / "hole").open("wb") as file:
        file.truncate(1024 * 1024 * 1024)
    rig = Rig(tmp_path)
    rig.save(source)
    return rig


def hydrate(rig: Rig, name: str, room: int) -> list[int]:
    told: list[int] = []

    def admit(needed: int) -> None:
        told.append(needed)
        assert rig.scraps() == []
        if needed > room:
            raise LocalDiskFull("no room")

    head = rig.claimed()
    rig.module.hydrate(head, rig.path / name, scratch=rig.scratch, index=rig.index, admit=admit)
    return told


def test_what_is_told_is_what_the_disk_will_lose(rig: Rig) -> None:
    """Whole blocks of what is no hole, once; about what the finished tree then takes."""
    (needed,) = hydrate(rig, "copy", room=1024 * 1024)
    assert needed == (26 + 1 + 2) * BLOCK
    taken = sum(path.stat().st_blocks * 512 for path in (rig.path / "copy").rglob("*") if path.is_file())
    assert taken <= needed


def test_what_is_refused_leaves_nothing(rig: Rig) -> None:
    """The judge's own error comes out, nothing is written, and with more room it succeeds."""
    with pytest.raises(LocalDiskFull, match="no room"):
        hydrate(rig, "copy", room=BLOCK)
    assert rig.scraps() == []
    assert not (rig.path / "copy").exists()
    hydrate(rig, "copy", room=1024 * 1024)


def test_where_nothing_is_committed_nobody_is_asked(tmp_path: Path) -> None:
    """An empty directory needs no room."""
    assert hydrate(Rig(tmp_path), "copy", room=0) == []
