"""One module's log as a stream of bytes that goes on over rotations, and over restarts of the hub.

log     what is written now, by the module's processes themselves
log.1   what was before that, one generation
log.at  which log this is, and how many bytes were kept before the first one of `log`

Offsets count the bytes that were kept since the log was begun. A rotation takes bytes from `log` to `log.1`; it is noted in
`log.at` before and after, so that the next hub finds out how far one came that was killed.
To punch a hole where the old bytes were was weighed: then a file's own offsets would do. But its length would grow for ever,
against the limits of the servers and the tools of those who read it.
"""

from __future__ import annotations

import codecs
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

_BLOCK = 64 * 1024
_LOOKS = 8
_KEPT = 8  # of a log that grew far beyond its bound since the last look, so many times the bound is kept
_CONTINUATION = range(0x80, 0xC0)
_LONGEST_CHARACTER = 4


class _Position(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stands beside a log: which one it is, where its file begins, and the bytes that a rotation takes away.

    Of those, `skipped` come first and are kept nowhere, and `moving` are in the older generation.
    """

    log_id: str = ""
    begins: int = 0
    moving: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a log.

    Attributes:
        text: the output, what is no UTF-8 in it replaced.
        offset: where it begins: bytes since the log was begun.
        next_offset: where what follows begins.
        size: where the log ends.
        log_id: which log it is.
    """

    text: str
    offset: int
    next_offset: int
    size: int
    log_id: str


class LogFile:
    """The files of one log. All methods block; rotate and read it one at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.older = path.with_name(f"{path.name}.1")
        self._copy = path.with_name(f"{path.name}.1.new")
        self._beside = path.with_name(f"{path.name}.at")
        self._beside_new = path.with_name(f"{path.name}.at.new")

    def paths(self) -> tuple[Path, ...]:
        """Return every file that a log may have."""
        return (self.path, self.older, self._copy, self._beside, self._beside_new)

    def identify(self) -> None:
        """Give a log that exists its identity, if it has none, or a power cut took it.

        Raises:
            OSError: the disk refused.
        """
        if self._noted() is None:  # and no more: it may be rotated just now
            self._write(_Position(secrets.token_hex(4), _size(self.older)))

    def rotate(self, max_bytes: int) -> bool:
        """Keep the log within bounds: one generation is kept beside it, its end alone where it grew far beyond them.

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
            skipped, moving = self._copy_end(_KEPT * max_bytes)
            if self._settled().log_id != position.log_id:
                # Erased and begun anew meanwhile: what was copied is an obliterated module's.
                self._copy.unlink(missing_ok=True)
                return False
            self._write(msgspec.structs.replace(position, moving=moving, skipped=skipped))
            self._copy.replace(self.older)
            # What is written between the last look and the truncation is lost; the writer's O_APPEND goes on at the new end.
            os.truncate(self.path, 0)
            self._write(msgspec.structs.replace(position, begins=position.begins + skipped + moving))
        finally:
            self._stay_erased()
        return True

    def read(self, offset: int | None, max_bytes: int, log_id: str = "") -> Chunk:
        """Read a part of the log.

        Args:
            offset: where to begin; `None` = so that the end is read. Where what is there is gone, it begins with the
                first byte that is kept; where this is another log, or one that has lost its end, likewise.
            max_bytes: bytes at the most; a single character that is longer is read all the same.
            log_id: which log the offset is of; empty = this one.

        Returns:
            What was read; it ends with a whole character.

        Raises:
            OSError: the disk refused.
        """
        position = self._settled()
        older = _size(self.older)
        first = max(0, position.begins - older)
        size = position.begins + _size(self.path)
        another = bool(log_id) and log_id != position.log_id
        if offset is None:
            start = max(first, size - max_bytes)
        elif another or offset > size:
            start = first
        else:
            start = max(first, offset)
        data = self._bytes(start, max(max_bytes, _LONGEST_CHARACTER), position.begins)
        if start and start != offset:  # chosen here, and not by where a chunk ended
            rest = _rest_of_character(data)
            data, start = data[rest:], start + rest
        text, used = _decode(data, max_bytes)
        return Chunk(text, start, start + used, max(size, start + used), position.log_id)

    def _bytes(self, start: int, count: int, begins: int) -> bytes:
        data = b""
        if start < begins:
            data = _read(self.older, start - (begins - _size(self.older)), count)
        at = start + len(data) - begins
        return data + _read(self.path, at, count - len(data)) if at >= 0 and len(data) < count else data

    def _copy_end(self, most: int) -> tuple[int, int]:
        """Copy the end of the log, and what is written to it meanwhile.

        A server may write as fast as is copied: to its end, the copy would grow with the log until the disk is full.

        Args:
            most: bytes to copy at a look.

        Returns:
            The bytes before those that were copied, and these.
        """
        with self.path.open("rb") as log, self._copy.open("wb") as copy:
            skipped = log.seek(max(0, _length(log) - most))
            for _ in range(_LOOKS):  # who writes faster than is copied loses some of it
                rest = min(most, _length(log) - log.tell())
                if rest <= 0:
                    break
                copy_bytes(log, copy, rest)
            return skipped, copy.tell()

    def _settled(self) -> _Position:
        """Return where the log's file begins; a rotation that was interrupted is undone, or noted as done."""
        position = self._noted()
        if position is None:
            return _Position(begins=_size(self.older))
        if not position.moving:
            return position
        begins = position.begins
        if self._copy.exists():
            self._copy.unlink()
        elif self._still_holds_older(position):
            self.older.unlink()
        else:
            begins += position.skipped + position.moving
        position = msgspec.structs.replace(position, begins=begins, moving=0, skipped=0)
        self._write(position)
        return position

    def _noted(self) -> _Position | None:
        try:
            return msgspec.json.decode(self._beside.read_bytes(), type=_Position)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def _still_holds_older(self, position: _Position) -> bool:
        """Tell whether what was copied was not taken away: then the log has it, after what was skipped."""
        if _size(self.older) != position.moving or _size(self.path) < position.skipped + position.moving:
            return False
        with self.path.open("rb") as log, self.older.open("rb") as copy:
            log.seek(position.skipped)
            while block := copy.read(_BLOCK):
                if log.read(len(block)) != block:
                    return False
        return True

    def _write(self, position: _Position) -> None:
        self._beside_new.write_bytes(msgspec.json.encode(position))
        self._beside_new.replace(self._beside)
        self._stay_erased()

    def _stay_erased(self) -> None:
        """Leave nothing of a log that was erased meanwhile."""
        if not os.path.lexists(self.path):
            for path in self.paths():
                path.unlink(missing_ok=True)


def copy_bytes(source: BinaryIO, target: BinaryIO, count: int) -> None:
    """Copy so many bytes, or what is left of them."""
    while count and (block := source.read(min(count, _BLOCK))):
        count -= target.write(block)


def _length(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


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


def _rest_of_character(data: bytes) -> int:
    """Return how many bytes belong to a character whose beginning is not there."""
    rest = 0
    while rest < min(_LONGEST_CHARACTER - 1, len(data)) and data[rest] in _CONTINUATION:
        rest += 1
    return rest


def _decode(data: bytes, max_bytes: int) -> tuple[str, int]:
    """Decode as many whole characters as fit, one at least; returns the text and the bytes that it takes.

    The beginning of a character at the end of the log is left for the next time: the rest of it is on its way.
    """
    for count in range(min(max_bytes, len(data)), len(data) + 1):
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(data[:count])
        used = count - len(decoder.getstate()[0])
        if used:
            return text, used
    return "", 0
