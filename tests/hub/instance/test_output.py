"""The output log: bounded, and read from where a run began."""

import os
from pathlib import Path

import pytest

from hub.instance import output
from hub.instance.log_file import LogFile


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "m"


def append(log: Path, data: bytes) -> None:
    descriptor = output.open_log(log)
    os.write(descriptor, data)
    os.close(descriptor)


def test_a_log_is_made_private_and_appended_to(log: Path) -> None:
    """Folder and file are their user's alone; a second run writes behind the first."""
    append(log, b"one\n")
    append(log, b"two\n")
    assert log.read_bytes() == b"one\ntwo\n"
    assert (log.stat().st_mode & 0o777, log.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_logs_descriptor_is_not_inherited(log: Path) -> None:
    """Only the child it is meant for gets it."""
    descriptor = output.open_log(log)
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


def test_a_missing_log_is_empty(log: Path) -> None:
    """A module that never ran has no output, and that is no error."""
    assert output.size(log) == 0
    assert output.read_from(log, 5) == b""
    assert output.tail(log, lines=3) == ""


def test_a_run_reads_its_own_output_only(log: Path) -> None:
    """What an earlier run wrote before the offset is left out."""
    append(log, b"old\n")
    offset = output.size(log)
    append(log, b"new\n")
    assert output.read_from(log, offset) == b"new\n"
    assert output.tail(log, lines=10, offset=offset) == "new"


def test_after_a_rotation_the_whole_new_log_is_read(log: Path) -> None:
    """An offset beyond the end means that the log began anew."""
    append(log, b"x" * 100)
    offset = output.size(log)
    LogFile(log).rotate(100)
    append(log, b"new\n")
    assert output.read_from(log, offset) == b"new\n"
    assert output.tail(log, lines=10, offset=offset) == "new"


def test_the_tail_is_bounded(log: Path) -> None:
    """The last lines are told, however long the log; a single endless line is cut."""
    append(log, b"".join(b"line %d\n" % number for number in range(10_000)))
    assert output.tail(log, lines=2) == "line 9998\nline 9999"
    append(log, b"y" * 1_000_000)
    assert len(output.tail(log, lines=20)) <= 16 * 1024


def test_output_that_is_no_text_is_shown_all_the_same(log: Path) -> None:
    """Undecodable bytes are replaced, never an error on top of the one that is being told."""
    append(log, b"caf\xe9\n")
    assert output.tail(log, lines=1) == "caf\ufffd"
