"""One object as a file: written whole, read, identified."""

from __future__ import annotations

import os

from blake3 import blake3

from backends.blobstore import Data
from backends.errors import PreconditionFailed

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""How objects are opened: not through a link, and not waiting for a fifo's other end."""

# Objects up to this size (heads) are identified by content. Larger ones (blobs, which are immutable) by what a rewrite
# changes: a new file has another inode while the old one is there, and another time later.
_HASHED = 64 * 1024


def write(folder: int, name: bytes, data: Data) -> str:
    """Write and fsync a new file.

    Args:
        folder: Descriptor of its folder.
        name: Its name, which must be free.
        data: Its content.

    Returns:
        Its etag, which a rename does not change.

    Raises:
        OSError: It could not be written; it may exist in part.
    """
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fsync(fd)
        return etag_of(os.fstat(fd), data)
    finally:
        os.close(fd)


def read(fd: int, length: int) -> bytes:
    """Read on from where the file stands; fewer bytes only at its end."""
    parts: list[bytes] = []
    while length > 0 and (part := os.read(fd, length)):
        parts.append(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def etag_of(status: os.stat_result, data: Data) -> str:
    """The etag of a file by its status, and by its content where it is small; larger content is not looked at."""
    if status.st_size <= _HASHED:
        return "h" + blake3(data).hexdigest()
    return f"s{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ino:x}"


def match(folder: int, name: str, key: str, *, if_match: str | None, if_none_match: bool = False) -> None:
    """Check a write's conditions; to be called under the lock.

    Raises:
        PreconditionFailed: One does not hold.
        OSError: The file could not be read.
    """
    if if_match is None and not if_none_match:
        return
    try:
        fd = os.open(name, READ, dir_fd=folder)
    except FileNotFoundError:
        if if_match is not None:
            raise PreconditionFailed(f"{key} does not exist") from None
        return
    try:
        status = os.fstat(fd)
        etag = etag_of(status, read(fd, status.st_size) if status.st_size <= _HASHED else b"")
    finally:
        os.close(fd)
    if if_none_match:
        raise PreconditionFailed(f"{key} exists")
    if etag != if_match:
        raise PreconditionFailed(f"{key} has changed")
