"""A log that is erased while it is rotated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hub.instance import log_file
from hub.instance.log_file import LogFile, copy_bytes


def test_a_log_that_is_erased_while_it_is_rotated_leaves_no_older_generation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An obliteration between the copy's two ends deletes the log; the copy must not bring its lines back."""
    log = tmp_path / "m"
    log.write_text("a tenant's words")

    copy = copy_bytes

    def copy_while_erased(source: Any, target: Any, count: int) -> None:
        log.unlink(missing_ok=True)
        copy(source, target, count)

    monkeypatch.setattr(log_file, "copy_bytes", copy_while_erased)
    with pytest.raises(FileNotFoundError):
        LogFile(log).rotate(1)
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_is_erased_and_begun_anew_while_it_is_rotated_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a slow disk a module may be obliterated and provisioned meanwhile: the new log gets nothing of the old one."""
    log = LogFile(tmp_path / "m")
    log.path.write_text("a tenant's words")
    log.identify()
    copy = copy_bytes

    def copy_while_replaced(source: Any, target: Any, count: int) -> None:
        if log.path.read_text() != "another":
            for path in (log.path, *tmp_path.glob("m.at*")):
                path.unlink()
            log.path.write_text("another")
            log.identify()
        copy(source, target, count)

    monkeypatch.setattr(log_file, "copy_bytes", copy_while_replaced)
    assert not log.rotate(1)
    assert not log.older.exists()
    chunk = log.read(0, 100)
    assert (chunk.text, chunk.offset, chunk.size) == ("another", 0, 7)
    assert not (tmp_path / "m.1.new").exists()
