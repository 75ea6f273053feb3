"""Reading a source file in chunks, noticing when it is no longer the file that the scan found.

A file's status is looked at after each read: every change gives it another ctime, so a status that is still the
scan's says that what was read is what was there all along.
"""

from __future__ import annotations

import errno
import os
from typing import Protocol

from backends.errors import SourceChanged
from backends.hydration.manifest import CHUNK_SIZE
from backends.hydration.scan import Found, same_file

_ZEROS = bytes(CHUNK_SIZE)


class Opener(Protocol):
    """Opens files of a tree."""

    def open(self, path: bytes, flags: int, mode: int = 0o600) -> int:
        """See `DirTree.open`."""
        ...


def read_at(source: Opener, item: Found, offset: int, length: int) -> bytes:
    """One range of a file, in bytes.

    Raises:
        SourceChanged: The file is not, or did not stay, the one that the scan found.
        OSError: It could not be read.
    """
    fd = _open(source, item)
    try:
        data = os.pread(fd, length, offset)
        while 0 < len(data) < length:
            more = os.pread(fd, length - len(data), offset + len(data))
            if not more:
                break
            data += more
        check_same(fd, item)
    finally:
        os.close(fd)
    if len(data) < length:
        raise SourceChanged(f"{os.fsdecode(item.path)!r} became shorter while it was sent")
    return data


def read_into(source: Opener, item: Found, offset: int, buffer: memoryview) -> bool:
    """Fill a buffer from a file, without a copy.

    Args:
        source: The tree.
        item: The file as the scan found it.
        offset: The first byte.
        buffer: As long as what is to be read.

    Returns:
        False where the range is a hole; the buffer is as it was then.

    Raises:
        SourceChanged: The file is not, or did not stay, the one that the scan found.
        OSError: It could not be read.
    """
    fd = _open(source, item)
    try:
        hole = _is_hole(fd, offset, len(buffer))
        done = 0
        while not hole and done < len(buffer):
            count = os.preadv(fd, [buffer[done:]], offset + done)
            if not count:
                break
            done += count
        check_same(fd, item)
    finally:
        os.close(fd)
    if not hole and done < len(buffer):
        raise SourceChanged(f"{os.fsdecode(item.path)!r} became shorter while it was sent")
    return not hole


def is_zero(data: bytes | bytearray, length: int) -> bool:
    """Whether the first `length` bytes (at least one, at most a chunk) are all zero."""
    return not data[0] and data.startswith(_ZEROS if length == CHUNK_SIZE else _ZEROS[:length])


def _open(source: Opener, item: Found) -> int:
    try:
        return source.open(item.path, os.O_RDONLY)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
            raise SourceChanged(f"{os.fsdecode(item.path)!r} was replaced while it was sent") from error
        raise


def check_same(fd: int, item: Found) -> None:
    """Refuse an open file that is not, unchanged, the one that the scan found.

    Raises:
        SourceChanged: It is not.
    """
    if not same_file(item, os.fstat(fd)):
        raise SourceChanged(f"{os.fsdecode(item.path)!r} changed while it was sent")


def _is_hole(fd: int, offset: int, length: int) -> bool:
    try:
        return os.lseek(fd, offset, os.SEEK_DATA) >= offset + length
    except OSError as error:
        # ENXIO: no data up to the end. EINVAL: a file system that can't tell; then the bytes are looked at.
        return error.errno == errno.ENXIO
