"""One module's log as a stream of bytes that goes on over rotations, and over restarts of the hub.

log     what is written now, by the module's processes themselves
log.1   what was before that, one generation
log.at  which log this is, and how many bytes were before the first one of `log`

Offsets count the bytes that were kept since the log was begun. A rotation moves bytes from `log` to `log.1` and notes it in
`log.at`, before and after: whenever the hub dies, the next one finds out how far it had come.
"""

from __future__ import annotations

import codecs
import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

_COMPARED = 64 * 1024
_CONTINUATION = range(0x80, 0xC0)
_LONGEST_CHARACTER = 4


class _Position(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stands beside a log: which one it is, where its file begins, and the bytes that a rotation is moving."""

    log_id: str = ""
    begins: int = 0
    moving: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a log; offsets count bytes since the log was begun."""

    text: str
    offset: int
    next_offset: int
    size: int
    log_id: str


class LogFile:
    """The files of one log. All methods block; at one time only one of them may run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._older = path.with_name(path.name + ".1")
        self._copy = path.with_name(path.name + ".1.new")
        self._beside = path.with_name(path.name + ".at")

    def paths(self) -> tuple[Path, ...]:
        """Return all files that a log may have."""
        return (self.path, self._older, self._copy, self._beside, self._beside_new)

    @property
    def _beside_new(self) -> Path:
        return self._beside.with_name(self._beside.name + ".new")

    def begin(self) -> None:
        """Give a log its identity, if it has none.

        Raises:
            OSError: the disk refused.
        """
        if not self._beside.exists():
            self._write(_Position(secrets.token_hex(4)))

    def rotate(self, max_bytes: int) -> bool:
        """Keep the log within bounds: one generation is kept beside it.

        Args:
            max_bytes: its length from which on it is rotated.

        Returns:
            Whether it was.

        Raises:
            OSError: the disk refused, or the log was erased meanwhile.
        """
        if _size(self.path) < max_bytes:
            return False
        try:
            position = self._settled()
            moving = self._copy_all()
            self._write(msgspec.structs.replace(position, moving=moving))
            self._copy.replace(self._older)
            # What is written between the last look and the truncation is lost; O_APPEND goes on at the new end.
            os.truncate(self.path, 0)
            self._write(msgspec.structs.replace(position, begins=position.begins + moving))
        finally:
            if not os.path.lexists(self.path):  # erased meanwhile: nothing of it may stay
                for path in self.paths():
                    path.unlink(missing_ok=True)
        return True

    def read(self, offset: int | None, max_bytes: int, log_id: str = "") -> Chunk:
        """Read a part of the log.

        Args:
            offset: where to begin; `None` = so that the end is read. Where those bytes are gone, it begins at the first
                that are there; where the log is another one, or shorter than that, likewise.
            max_bytes: bytes at the most; a single character that is longer is read all the same.
            log_id: which log the offset is of; empty = this one.

        Returns:
            What was read; it ends with a whole character.

        Raises:
            OSError: the disk refused.
        """
        position = self._settled()
        begins, older = position.begins, _size(self._older)
        size = begins + _size(self.path)
        first = max(0, begins - older)
        another = bool(log_id) and log_id != position.log_id
        from_tail = offset is None
        if offset is None:
            start = max(first, size - max_bytes)
        elif another or offset > size:
            start = first
        else:
            start = max(first, offset)
        data = self._bytes(start, max(max_bytes, _LONGEST_CHARACTER), begins, older)
        data, start = _from_character(data, start) if from_tail or start == first else (data, start)
        text, used = _decode(data, max_bytes, at_end=start + len(data) >= size)
        return Chunk(text, start, start + used, max(size, start + used), position.log_id)

    def _bytes(self, start: int, count: int, begins: int, older: int) -> bytes:
        data = b""
        if start < begins:
            data = _read(self._older, start - (begins - older), count)
        if len(data) < count and start + len(data) >= begins:
            data += _read(self.path, start + len(data) - begins, count - len(data))
        return data

    def _copy_all(self) -> int:
        """Copy the log as it grows, until there is nothing more to copy; returns the bytes."""
        with self.path.open("rb") as log, self._copy.open("wb") as copy:
            while True:
                before = copy.tell()
                shutil.copyfileobj(log, copy)
                if copy.tell() == before:
                    return before

    def _settled(self) -> _Position:
        """Return where the log's file begins; a rotation that was interrupted is undone, or noted as done."""
        try:
            position = msgspec.json.decode(self._beside.read_bytes(), type=_Position)
        except (FileNotFoundError, msgspec.DecodeError):
            return _Position()
        if not position.moving:
            return position
        if self._copy.exists() or self._still_there(position.moving):
            position = msgspec.structs.replace(position, moving=0)
        else:
            position = msgspec.structs.replace(position, begins=position.begins + position.moving, moving=0)
        self._copy.unlink(missing_ok=True)
        self._write(position)
        return position

    def _still_there(self, moving: int) -> bool:
        """Tell whether what was copied was not taken away: then it stands in both files. Takes the copy away."""
        if _size(self.path) < moving or _size(self._older) != moving:
            return False
        with self.path.open("rb") as log, self._older.open("rb") as copy:
            for _ in range(0, moving, _COMPARED):
                if log.read(_COMPARED)[:moving] != copy.read(_COMPARED):
                    return False
        self._older.unlink(missing_ok=True)
        return True

    def _write(self, position: _Position) -> None:
        self._beside_new.write_bytes(msgspec.json.encode(position))
        self._beside_new.replace(self._beside)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _read(path: Path, offset: int, count: int) -> bytes:
    with suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(offset)
        return file.read(count)
    return b""


def _from_character(data: bytes, start: int) -> tuple[bytes, int]:
    """Leave out the rest of a character whose beginning is not there."""
    rest = 0
    while rest < min(_LONGEST_CHARACTER - 1, len(data)) and data[rest] in _CONTINUATION:
        rest += 1
    return data[rest:], start + rest


def _decode(data: bytes, max_bytes: int, *, at_end: bool) -> tuple[str, int]:
    """Decode as many whole characters as fit, one at least; returns the text and the bytes that it takes.

    The beginning of a character at the end of the log is left for the next time: the rest of it may be on its way.
    """
    del at_end
    for count in range(min(max_bytes, len(data)), min(max_bytes + _LONGEST_CHARACTER, len(data) + 1)):
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(data[:count])
        used = count - len(decoder.getstate()[0])
        if used:
            return text, used
    return "", 0
