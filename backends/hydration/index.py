"""The stat cache beside a module's directory: which contents its files had when hydration last saw them.

It saves hashing, nothing else: a file whose size, mtime, ctime and inode are as recorded has the recorded content. It
is never trusted for more. Missing, damaged, of another manifest or another device, it is ignored.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path

import msgspec
from blake3 import blake3

from backends.hydration.manifest import TIME_LIMIT
from backends.hydration.scan import Found

FORMAT = 1
RACY_NS = 2_000_000_000
"""A file that changed within this many ns of the scan is hashed anyway."""

_DIGEST = 32

Contents = tuple[tuple[bytes, int], ...]
"""A file's content as (hash, length) of each chunk; an empty hash is a hole."""


class _File(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    path: bytes
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    chunks: Contents


class _Stored(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    format: int
    manifest: str | None
    device: int
    files: tuple[_File, ...]


class Index:
    """Looks up what a found file must contain."""

    def __init__(self, device: int, files: dict[bytes, _File], now_ns: int) -> None:
        self._device = device
        self._files = files
        self._now = now_ns

    def contents(self, item: Found) -> Contents | None:
        """The chunks of a file if it is proven unchanged, else None."""
        known = self._files.get(item.path)
        # A ctime in the future is a clock set back: nothing is proven by it.
        if known is None or item.device != self._device or item.ctime_ns > self._now - RACY_NS:
            return None
        if (known.size, known.mtime_ns, known.ctime_ns, known.inode) != item[3:7]:
            return None
        return known.chunks if sum(length for _, length in known.chunks) == item.size else None


def load(path: Path, manifest: str | None) -> Index:
    """Read an index; whatever is wrong with it, the answer is an empty one.

    Args:
        path: The index file.
        manifest: The manifest that the directory grew from; an index of another one is foreign.
    """
    files: dict[bytes, _File] = {}
    device = -1
    with contextlib.suppress(OSError, msgspec.MsgspecError, RecursionError):
        data = path.read_bytes()
        if blake3(data[_DIGEST:]).digest() == data[:_DIGEST]:
            stored = msgspec.msgpack.decode(memoryview(data)[_DIGEST:], type=_Stored)
            if stored.format == FORMAT and stored.manifest == manifest:
                device = stored.device
                files = {file.path: file for file in stored.files}
    return Index(device, files, time.time_ns())


def save(path: Path, manifest: str | None, files: list[tuple[Found, Contents]]) -> None:
    """Write an index whole or not at all. Not fsynced: a damaged one is noticed and ignored.

    Args:
        path: The index file; its directory is created if missing.
        manifest: The manifest that the directory is now equal to.
        files: Each file's status and content.

    Raises:
        OSError: It could not be written.
    """
    device = files[0][0].device if files else -1
    stored = _Stored(
        FORMAT,
        manifest,
        device,
        tuple(
            _File(item.path, item.size, item.mtime_ns, item.ctime_ns, item.inode, chunks)
            for item, chunks in files
            if item.device == device and max(abs(item.mtime_ns), abs(item.ctime_ns)) <= TIME_LIMIT
        ),
    )
    data = msgspec.msgpack.encode(stored)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(blake3(data).digest())
            file.write(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
