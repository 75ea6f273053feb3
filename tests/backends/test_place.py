"""A finished tree takes its place whole or not at all: at whatever step it fails or is killed, nothing is mixed or lost."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backends import BackendsError, LocalDiskError
from backends.directory import DirTree
from backends.hydration import index as stat_index
from backends.hydration import place
from tests.backends.rig import Rig
from tests.backends.trees import Snapshot, snapshot


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A module with two files, of which `copy` is a clean copy."""
    monkeypatch.setattr(stat_index, "RACY_NS", 0)
    source = tmp_path / "source"
    source.mkdir(mode=0o750)
    (source / "file").write_bytes(b"old")
    (source / "other").write_bytes(b"other")
    rig = Rig(tmp_path)
    rig.save(source)
    rig.load("copy")
    return rig


def _over(rig: Rig) -> None:
    head = rig.module.read_head()
    assert head is not None
    rig.module.hydrate(head, rig.path / "copy", scratch=rig.scratch, index=rig.index, over_clean=True)


def _change(rig: Rig) -> Snapshot:
    """Commit another tree from elsewhere; what it is."""
    other = Rig(rig.path, owner="two")
    other.index = rig.path / "other-index"
    away = other.load("away")
    (away / "file").write_bytes(b"new")
    (away / "added").write_bytes(b"added")
    other.save(away)
    return snapshot(away)


@pytest.mark.parametrize("act", ["content", "name", "mode"])
def test_the_first_change_is_not_taken_for_what_was_hydrated(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    """What is changed right after the tree appears is no part of its stat cache, and is sent home."""
    original = place.place
    acts: dict[str, Callable[[Path], object]] = {
        "content": lambda path: (path / "file").write_bytes(b"mine"),
        "name": lambda path: (path / "mine").touch(),
        "mode": lambda path: path.chmod(0o711),
    }

    def placed(tree: DirTree, scratch: int, name: bytes, destination: Path, mode: int | None) -> None:
        original(tree, scratch, name, destination, mode)
        acts[act](destination)

    with monkeypatch.context() as patched:
        patched.setattr(place, "place", placed)
        changed = rig.load("changed")
    after = snapshot(changed)
    rig.save(changed)
    assert snapshot(rig.load("back")) == after


def _failing_sync(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    original = os.fsync

    def fsync(fd: int) -> None:
        if os.path.samestat(os.fstat(fd), folder.stat()):
            raise OSError(5, "injected")
        original(fd)

    monkeypatch.setattr(os, "fsync", fsync)


def test_what_is_not_durable_does_not_stay(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hydration whose rename can't be made durable fails, and leaves nothing at the destination or in scratch."""
    with monkeypatch.context() as patched:
        _failing_sync(patched, rig.path)
        with pytest.raises(LocalDiskError):
            rig.load("new")
    assert not (rig.path / "new").exists()
    assert rig.scraps() == []


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("step", ["swap", "sync"])
def test_a_copy_comes_back(rig: Rig, monkeypatch: pytest.MonkeyPatch, step: str, exchange: bool) -> None:
    """Where the exchange, or what follows it, fails, the copy is where it was and scratch is empty."""
    before = snapshot(rig.path / "copy")
    _change(rig)

    class Libc:
        def renameat2(self, *_args: object) -> int:
            return -1

    with monkeypatch.context() as patched:
        if not exchange:
            patched.setattr(place, "_libc", Libc())
            patched.setattr("ctypes.get_errno", lambda: 22)
        if step == "sync":
            _failing_sync(patched, rig.path)
        else:
            if exchange:
                patched.setattr(place, "_libc", Libc())
                patched.setattr("ctypes.get_errno", lambda: 5)
            original = os.rename

            def rename(source: object, target: object, **fds: int) -> None:
                if target == rig.path / "copy" and not (isinstance(source, bytes) and source.endswith(b"-swapped")):
                    raise OSError(5, "injected")
                original(source, target, **fds)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

            patched.setattr(os, "rename", rename)
        with pytest.raises(LocalDiskError):
            _over(rig)
    assert snapshot(rig.path / "copy") == before
    assert rig.scraps() == []


def _killed_at(step: int, work: Callable[[], object]) -> bool:
    """Do work in a child that is killed before its n-th call of the system. Returns whether it was."""
    child = os.fork()
    if child == 0:
        left = step

        def count(event: str, _arguments: tuple[object, ...]) -> None:
            nonlocal left
            if event.startswith(("os.", "open", "shutil.", "ctypes.")):
                left -= 1
                if left == -1:  # no later: to kill is such a call too
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            work()
        except BaseException:  # the child must never go on as the tests
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in {0, -signal.SIGKILL}
    return status != 0


def test_killed_at_any_step(rig: Rig) -> None:
    """Killed at any call of the system, a hydration over a clean copy leaves the whole old tree or the whole new one."""
    copy = rig.path / "copy"
    old, new = snapshot(copy), _change(rig)
    found: list[bool] = []
    step = 0
    while _killed_at(step, lambda: _over(rig)):
        now = snapshot(copy)
        assert now in (old, new)
        found.append(now == new)
        if now == new:  # its stat cache is the old one's: nothing vouches for it, so nothing may replace it
            with pytest.raises(BackendsError):
                _over(rig)
            break
        step += 1
    assert found.count(False) > 20
    assert found[-1]
