"""A log that is erased while it is rotated."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hub.instance import output


def test_a_log_that_is_erased_while_it_is_rotated_leaves_no_older_generation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An obliteration between the copy's two ends deletes the log; the copy must not bring its lines back."""
    log = tmp_path / "m"
    log.write_text("a tenant's words")

    def copy_while_erased(source: Path, target: Path) -> None:
        content = source.read_bytes()
        source.unlink()
        target.write_bytes(content)

    monkeypatch.setattr(shutil, "copyfile", copy_while_erased)
    with pytest.raises(FileNotFoundError):
        output.rotate(log, 1)
    assert list(tmp_path.iterdir()) == []
