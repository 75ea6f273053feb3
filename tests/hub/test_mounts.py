"""What kind of file system a path is on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hub.mounts import file_system


def test_a_file_system_is_told_by_its_device() -> None:
    """The kernel's own mounts are what they are, whatever path leads there."""
    assert file_system(Path("/proc/self")) == "proc"
    assert file_system(Path("/sys")) == "sysfs"


def test_a_device_that_is_not_mounted_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As a subvolume's is not, which has a device of its own."""
    seen = os.stat_result((0o40700, 1, 0xFFF00FFF, 1, 0, 0, 0, 0, 0, 0))

    def stat(_path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        return seen

    monkeypatch.setattr(Path, "stat", stat)
    assert file_system(tmp_path) is None
