"""What a transfer tells of itself while it runs."""

from __future__ import annotations

import os
from itertools import groupby, pairwise
from pathlib import Path

import pytest

from backends import Progress
from backends.hydration import index as stat_index
from tests.backends.rig import Rig

MIB = 1 << 20


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    (path / "big").write_bytes(os.urandom(9 * MIB))
    for number in range(20):
        (path / f"{number}").write_bytes(b"%d" % number * 100)
    (path / "empty").touch()
    with (path / "sparse").open("wb") as file:
        file.truncate(5 * MIB)
    return path


def _last(seen: list[Progress]) -> dict[str, Progress]:
    """The last report of each phase, after seeing that counts only rise within one."""
    for _, group in groupby(seen, key=lambda progress: progress.phase):
        for before, after in pairwise(group):
            assert after.bytes_done >= before.bytes_done
            assert after.files_done >= before.files_done
    return {progress.phase: progress for progress in seen}


def test_dehydration_tells_its_phases(tmp_path: Path, source: Path) -> None:
    """A dehydration reports its phases in order, and each byte and file that it reads, sent or not."""
    rig, seen = Rig(tmp_path), list[Progress]()
    rig.module.dehydrate(rig.claimed(), source, index=rig.index, progress=seen.append)
    last = _last(seen)
    assert [*last] == ["scan", "upload", "verify", "commit", "collect"]
    total = sum(path.stat().st_size for path in source.iterdir())
    upload = last["upload"]
    assert upload.bytes_done == upload.bytes_total == total
    assert upload.files_done == upload.files_total == 23


def test_an_unchanged_dehydration_tells_its_scan(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing has changed there is a scan, which counts every name, and nothing to upload."""
    monkeypatch.setattr(stat_index, "RACY_NS", 0)
    rig, seen = Rig(tmp_path), list[Progress]()
    head = rig.save(source).head
    rig.module.dehydrate(head, source, index=rig.index, progress=seen.append)
    last = _last(seen)
    assert [*last] == ["scan", "collect"]
    assert last["scan"].files_done == 23


@pytest.mark.parametrize("over", [True, False])
def test_hydration_tells_its_phases(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, over: bool) -> None:
    """A hydration reports each byte and file that it places, fetched, copied or a hole."""
    monkeypatch.setattr(stat_index, "RACY_NS", 0)
    rig, seen = Rig(tmp_path), list[Progress]()
    rig.save(source)
    copy = rig.load("copy")
    kept = rig.index.read_bytes()
    (source / "1").write_bytes(b"changed")
    head = rig.save(source).head
    rig.index.write_bytes(kept)
    target = copy if over else tmp_path / "other"
    rig.module.hydrate(head, target, scratch=rig.scratch, index=rig.index, over_clean=over, progress=seen.append)
    last = _last(seen)
    assert [*last] == ["download", "finish"]
    download = last["download"]
    assert download.bytes_done == download.bytes_total == sum(path.stat().st_size for path in source.iterdir())
    assert download.files_done == download.files_total == 23


def test_erasure_tells_what_it_removed(tmp_path: Path, source: Path) -> None:
    """An erasure reports the objects and bytes that it removed; how many there are it does not know before."""
    rig, seen = Rig(tmp_path), list[Progress]()
    rig.save(source)
    rig.module.erase(progress=seen.append)
    last = _last(seen)["erase"]
    assert (last.files_done, last.files_total) == (5, 0)
    assert last.bytes_done > 9 * MIB
