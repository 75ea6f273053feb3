"""A look at a tree that others change meanwhile: a change is noticed as such, and looked at again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backends import SourceChanged
from backends.directory import DirTree
from backends.hydration import scan, send
from backends.hydration.progress import Meter
from tests.backends.rig import Rig
from tests.backends.trees import snapshot


def _after_listing(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], *, times: int) -> None:
    """Do something after each of the first listings of the root."""
    left = times

    class Listed(Meter):
        def add(self, *, bytes_: int = 0, files: int = 0) -> None:
            nonlocal left
            super().add(bytes_=bytes_, files=files)
            if left > 0:  # the first to be listed is the root
                left -= 1
                act()

    original = scan.scan

    def look(tree: DirTree, _meter: Meter) -> scan.Scan:
        return original(tree, Listed(None, None))

    monkeypatch.setattr(send, "scan", look)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    (path / "sub").mkdir(parents=True)
    (path / "link").symlink_to("sub")
    return path


@pytest.mark.parametrize("name", ["sub", "link"])
@pytest.mark.parametrize("becomes", ["nothing", "file", "link", "directory"])
def test_what_is_replaced_once_is_looked_at_again(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, name: str, becomes: str
) -> None:
    """A directory or link that becomes something else while its parent is listed is sent as what it has become."""
    path = source / name
    acts: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "file": lambda: path.write_bytes(b"1"),
        "link": lambda: path.symlink_to("/elsewhere"),
        "directory": path.mkdir,
    }

    def act() -> None:
        path.rename(tmp_path / "aside")
        acts[becomes]()

    _after_listing(monkeypatch, act, times=1)
    rig = Rig(tmp_path)
    rig.save(source)
    assert snapshot(rig.load("copy")) == snapshot(source)


def test_what_keeps_being_replaced(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that is another thing at each second look is a typed error of the source, not of the disk."""
    path = source / "sub"

    def act() -> None:
        if path.is_dir():
            path.rmdir()
            path.write_bytes(b"1")

    original = Meter.phase

    def begin(self: Meter, name: str, *, bytes_total: int = 0, files_total: int = 0) -> None:
        original(self, name, bytes_total=bytes_total, files_total=files_total)
        if name == "scan" and path.is_file():
            path.unlink()
            path.mkdir()

    monkeypatch.setattr(Meter, "phase", begin)
    _after_listing(monkeypatch, act, times=100)
    with pytest.raises(SourceChanged):
        Rig(tmp_path).save(source)
