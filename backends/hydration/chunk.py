"""Reading a source file in chunks of fixed size, and noticing when it changes meanwhile."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from backends.directory import DirTree
from backends.errors import SourceChanged
from backends.hydration.manifest import CHUNK_SIZE
from backends.hydration.scan import Found, same_file

_ZEROS = bytes(CHUNK_SIZE)


def read_chunks(tree: DirTree, item: Found) -> Iterator[tuple[bytes | None, int]]:
    """The content of a file, cut at multiples of the chunk size.

    Args:
        tree: The source.
        item: The file as the scan found it.

    Yields:
        Each chunk's bytes and length; None instead of bytes for a chunk of zeros (a hole is not even read).

    Raises:
        SourceChanged: The file is no longer, or did not stay, the one that the scan found.
        OSError: It could not be read.
    """
    fd = _open(tree, item)
    try:
        for offset in range(0, item.size, CHUNK_SIZE):
            length = min(CHUNK_SIZE, item.size - offset)
            if _is_hole(fd, offset, length):
                yield None, length
                continue
            data = _pread(fd, offset, length, item)
            yield (None if data == _ZEROS[:length] else data), length
        _check(fd, item)
    finally:
        os.close(fd)


def read_at(tree: DirTree, item: Found, offset: int, length: int) -> bytes:
    """One range of a file, in bytes.

    Raises:
        SourceChanged: The file is no longer the one that the scan found.
        OSError: It could not be read.
    """
    fd = _open(tree, item)
    try:
        return _pread(fd, offset, length, item)
    finally:
        os.close(fd)


def _open(tree: DirTree, item: Found) -> int:
    try:
        fd = tree.open(item.path, os.O_RDONLY)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
            raise SourceChanged(f"{os.fsdecode(item.path)!r} was replaced while it was sent") from error
        raise
    try:
        _check(fd, item)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check(fd: int, item: Found) -> None:
    if not same_file(item, os.fstat(fd)):
        raise SourceChanged(f"{os.fsdecode(item.path)!r} changed while it was sent")


def _pread(fd: int, offset: int, length: int, item: Found) -> bytes:
    data = os.pread(fd, length, offset)
    while len(data) < length:
        more = os.pread(fd, length - len(data), offset + len(data))
        if not more:
            raise SourceChanged(f"{os.fsdecode(item.path)!r} became shorter while it was sent")
        data += more
    return data


def _is_hole(fd: int, offset: int, length: int) -> bool:
    try:
        return os.lseek(fd, offset, os.SEEK_DATA) >= offset + length
    except OSError as error:
        # ENXIO: no data up to the end. EINVAL: a file system that can't tell; then the bytes are looked at.
        return error.errno == errno.ENXIO
