"""A log that is erased while it is rotated."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from hub.instance.log_file import LogFile


def test_a_log_that_is_erased_while_it_is_rotated_leaves_no_older_generation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An obliteration between the copy's two ends deletes the log; the copy must not bring its lines back."""
    log = tmp_path / "m"
    log.write_text("a tenant's words")

    copy = shutil.copyfileobj

    def copy_while_erased(source: Any, target: Any) -> None:
        log.unlink(missing_ok=True)
        copy(source, target)

    monkeypatch.setattr(shutil, "copyfileobj", copy_while_erased)
    with pytest.raises(FileNotFoundError):
        LogFile(log).rotate(1)
    assert list(tmp_path.iterdir()) == []
