"""A log goes on over rotations: whoever follows it reads every byte that was kept, once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.instance import log_file, output
from hub.instance.log_file import Chunk, LogFile, copy_bytes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "m"


def append(path: Path, text: str | bytes) -> LogFile:
    descriptor = output.open_log(path)
    os.write(descriptor, text if isinstance(text, bytes) else text.encode())
    os.close(descriptor)
    return LogFile(path)


def everything(log: LogFile, offset: int | None = 0, max_bytes: int = 1000) -> str:
    """Read on until nothing comes, as one does who follows the log."""
    text = ""
    while True:
        chunk = log.read(offset, max_bytes)
        text += chunk.text
        offset = chunk.next_offset
        if not chunk.text:
            return text


@pytest.mark.parametrize(("length", "rotated"), [(9, False), (10, True), (11, True)])
def test_a_log_is_rotated_at_its_length(length: int, rotated: bool, path: Path) -> None:
    """From the given length on the log begins anew, and one older generation stands beside it."""
    log = append(path, b"x" * length)
    assert log.rotate(10) is rotated
    assert path.read_bytes() == (b"" if rotated else b"x" * length)
    assert log.older.exists() is rotated


def test_what_is_not_there_is_not_rotated_and_empty(path: Path) -> None:
    """A module that never ran has an empty log, and looking at it makes no file."""
    log = LogFile(path)
    assert not log.rotate(1)
    assert log.read(None, 100) == Chunk("", 0, 0, 0, "")
    assert not path.parent.exists()


def test_one_older_generation_is_kept(path: Path) -> None:
    """A second rotation replaces the older generation: a log takes twice its bound at the most."""
    for generation in (b"1", b"2", b"3"):
        append(path, generation * 10).rotate(10)
    assert LogFile(path).older.read_bytes() == b"3" * 10
    assert sorted(path.name for path in path.parent.iterdir()) == ["m", "m.1", "m.at"]


def test_a_running_writer_goes_on_after_a_rotation(path: Path) -> None:
    """A process keeps its descriptor and writes at the new end, leaving no hole of zero bytes."""
    descriptor = output.open_log(path)
    os.write(descriptor, b"before....")
    LogFile(path).rotate(10)
    os.write(descriptor, b"after")
    os.close(descriptor)
    assert path.read_bytes() == b"after"


def test_what_is_written_during_the_copy_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that comes while the log is copied is copied too, and counted."""
    log = append(path, "before\n")
    copy, late = copy_bytes, ["late\n"]

    def copy_meanwhile(source: Any, target: Any, count: int) -> None:
        copy(source, target, count)
        if late:
            append(path, late.pop())

    monkeypatch.setattr(log_file, "copy_bytes", copy_meanwhile)
    log.rotate(1)
    append(path, "after\n")
    assert everything(log) == "before\nlate\nafter\n"


def test_a_log_that_grew_far_beyond_its_bound_keeps_its_end(path: Path) -> None:
    """The older generation is bounded too; offsets go on, so a follower learns how much is gone."""
    log = append(path, "first\n")
    log.rotate(1)
    append(path, "x" * 10_000 + "end\n")
    assert log.rotate(10)
    assert log.older.stat().st_size == 80
    append(path, "after\n")
    chunk = log.read(6, 1000)
    assert (chunk.text, chunk.offset) == ("x" * 76 + "end\nafter\n", 6 + 10_004 - 80)


def test_a_rotation_ends_while_the_server_writes_faster_than_is_copied(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that floods its log fills no disk: the copy does not run after it, and the log begins anew."""
    log = append(path, b"x" * 100)

    def copy_slowly(source: Any, target: Any, count: int) -> None:
        append(path, b"y" * 1000)
        copy_bytes(source, target, count)

    monkeypatch.setattr(log_file, "copy_bytes", copy_slowly)
    assert log.rotate(10)
    assert path.read_bytes() == b""
    assert log.older.stat().st_size <= 8 * 80


def test_a_follower_reads_each_byte_once_over_rotations(path: Path) -> None:
    """Offsets go on where the older generation ends; a chunk may lie in both."""
    log = append(path, "one\n")
    first = log.read(None, 100)
    assert (first.text, first.offset, first.next_offset, first.size) == ("one\n", 0, 4, 4)
    append(path, "two\n")
    log.rotate(1)
    append(path, "three\n")
    then = log.read(first.next_offset, 100)
    assert (then.text, then.offset, then.next_offset, then.size) == ("two\nthree\n", 4, 14, 14)
    assert log.read(then.next_offset, 100).text == ""
    assert {first.log_id, then.log_id} == {first.log_id}
    assert len(first.log_id) == 8


def test_a_follower_learns_that_a_part_is_gone(path: Path) -> None:
    """Who was away for two rotations goes on at the first byte that is kept, and sees by the offset that some are not."""
    log = append(path, "a" * 10)
    log.rotate(10)
    append(path, "b" * 10)
    log.rotate(10)
    append(path, "c")
    chunk = log.read(3, 100)
    assert (chunk.text, chunk.offset, chunk.next_offset) == ("b" * 10 + "c", 10, 21)


def test_the_end_is_read_without_an_offset(path: Path) -> None:
    """The last bytes, from the older generation too, and how to go on."""
    log = append(path, "0123456789")
    log.rotate(10)
    append(path, "abc")
    chunk = log.read(None, 5)
    assert (chunk.text, chunk.offset, chunk.next_offset, chunk.size) == ("89abc", 8, 13, 13)


def test_another_log_is_read_from_its_beginning(path: Path) -> None:
    """An erased log's offset means nothing in the next one, also where that is longer already; its id tells."""
    old = append(path, "old").read(None, 100)
    for file in path.parent.iterdir():
        file.unlink()
    log = append(path, "new and longer")
    assert log.read(old.next_offset, 100, old.log_id).text == "new and longer"
    assert log.read(100, 100).offset == 0, "nor does one past the end, whoever does not give an id"


@pytest.mark.parametrize("max_bytes", [1, 2, 3, 4, 5, 7, 1000])
def test_no_character_is_torn(max_bytes: int, path: Path) -> None:
    """However small the chunks, and wherever the rotation cut, they put together are the text."""
    text = "aé€𐍈" * 3
    data = text.encode()
    log = append(path, data[:8])
    log.rotate(1)
    append(path, data[8:])
    assert everything(log, max_bytes=max_bytes) == text


def test_half_a_character_waits_for_its_rest(path: Path) -> None:
    """What a process has half written is not shown as broken; the next chunk has it whole."""
    log = append(path, "a€".encode()[:-1])
    chunk = log.read(0, 100)
    assert (chunk.text, chunk.next_offset) == ("a", 1)
    append(path, "€".encode()[-1:])
    assert log.read(chunk.next_offset, 100).text == "€"


def test_a_tail_begins_with_a_whole_character(path: Path) -> None:
    """The end is counted in bytes, and a character that it would cut is left out."""
    chunk = append(path, "€€").read(None, 4)
    assert (chunk.text, chunk.offset) == ("€", 3)


def test_what_is_no_text_is_shown_all_the_same(path: Path) -> None:
    """Bytes that are no UTF-8 are replaced, and nobody who follows stands still before them."""
    log = append(path, b"caf\xe9 \xff\x80\x80\x80\n")
    assert everything(log, max_bytes=2) == "caf\ufffd \ufffd\ufffd\ufffd\ufffd\n"


class Killed(BaseException):
    """The hub dies here."""


def kill_before(call: str) -> Callable[..., Any]:
    def die(*args: Any, **kwargs: Any) -> Any:
        raise Killed(call, args, kwargs)

    return die


RENAMES_BEFORE = {"the copy": 0, "the first note": 1, "the rename": 2, "the truncation": 2}


def die_in_rotation(log: LogFile, last: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotate a log until that was the last that was done."""
    renames, rename = RENAMES_BEFORE[last], Path.replace

    def rename_some(self: Path, target: Path) -> Path:
        nonlocal renames
        if renames == 0:
            raise Killed
        renames -= 1
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", rename_some)
        if last == "the rename":
            patched.setattr(os, "truncate", kill_before("truncate"))
        with pytest.raises(Killed):
            log.rotate(1)


@pytest.mark.parametrize("last", RENAMES_BEFORE)
def test_a_hub_that_dies_while_it_rotates_leaves_the_log_whole(
    last: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it did last, the next hub reads every byte once more, and a follower goes on where it was."""
    log = append(path, "first\n")
    log.rotate(1)
    append(path, "second\n")
    die_in_rotation(log, last, monkeypatch)
    append(path, "third\n")
    # The older generation was given up at the rename.
    kept = "second\nthird\n" if last in {"the rename", "the truncation"} else "first\nsecond\nthird\n"
    assert everything(LogFile(path)) == kept
    assert everything(LogFile(path), 6) == "second\nthird\n"
    assert everything(LogFile(path), 13) == "third\n"
    log.rotate(1)
    append(path, "fourth\n")
    assert everything(LogFile(path), 13) == "third\nfourth\n"
    assert log.older.exists()
    assert sorted(file.name for file in path.parent.iterdir()) == ["m", "m.1", "m.at"]


@pytest.mark.parametrize("last", RENAMES_BEFORE)
def test_a_hub_that_dies_while_it_cuts_a_flood_keeps_the_offsets(
    last: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was to be skipped is there as long as the log is whole, and counted as soon as it is not."""
    log = append(path, "first\n")
    log.rotate(1)
    append(path, "-" * 100 + "second\n")
    die_in_rotation(log, last, monkeypatch)
    append(path, "third\n")
    left = 1 if last == "the truncation" else 100
    chunk = LogFile(path).read(6, 1000)
    assert (chunk.text, chunk.offset) == ("-" * left + "second\nthird\n", 106 - left)
    assert chunk.next_offset == chunk.size == 119


def test_a_log_whose_position_a_power_cut_took_gets_another_identity(path: Path) -> None:
    """With the next start of its server: else whoever follows it could never tell it from another one."""
    append(path, "one\n")
    path.with_name("m.at").write_bytes(b"")
    log = append(path, "two\n")
    chunk = log.read(0, 100)
    assert chunk.text == "one\ntwo\n"
    assert chunk.log_id != ""


def test_a_log_of_before_its_position_was_kept_gets_one(path: Path) -> None:
    """A log of an earlier version is read with its older generation, and has an id from the next start on."""
    path.parent.mkdir()
    path.write_text("now\n")
    path.with_name("m.1").write_text("before\n")
    assert everything(LogFile(path)) == "before\nnow\n"
    assert everything(append(path, "then\n")) == "before\nnow\nthen\n"


@given(st.lists(st.one_of(st.text(max_size=9), st.just(None)), max_size=30), st.integers(1, 20))
def test_whoever_keeps_up_reads_everything(steps: list[str | None], max_bytes: int) -> None:
    """Any series of writes and rotations, read after each: the chunks put together are what was written."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "m"
        offset, seen = 0, ""
        for step in steps:
            if step is None:
                LogFile(path).rotate(1)
            else:
                append(path, step)
            while (chunk := LogFile(path).read(offset, max_bytes)).text:
                assert chunk.offset == offset
                offset, seen = chunk.next_offset, seen + chunk.text
        assert seen == "".join(filter(None, steps))
