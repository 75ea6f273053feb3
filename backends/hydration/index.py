"""The stat cache beside a module's directory: the tree as hydration last saw it, and what it contained.

It saves hashing and requests, nothing else: a file whose size, mtime, ctime, inode and device are as recorded has the
recorded content, and a tree of which every name is as recorded is the manifest's. It is never trusted for more.
Missing, damaged or of another manifest, it is ignored.

The record of the names is compared as it is stored, encoded: a tree of which nothing has changed is never decoded.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import msgspec
from blake3 import blake3

from backends.hydration.manifest import CHUNK_SIZE, HOLE, TIME_LIMIT, Entry, Manifest
from backends.hydration.scan import Found, Scan

FORMAT = 2
RACY_NS = 2_000_000_000
"""A file that changed within this many ns of the scan is hashed anyway."""
HASH = 32
"""Bytes of a chunk's hash."""
HOLE_HASH = bytes(HASH)
"""Stands for the hash of a chunk of zeros that is stored nowhere."""

Contents = bytes
"""A file's content: the hashes of its chunks, one after the other. Their lengths follow from the file's."""

_Name = tuple[bytes, str, int, int, int, int, int, int, bytes]
"""A `Found` as it is decoded: plain tuples are made several times faster."""

_encode = msgspec.msgpack.Encoder().encode


class Local(NamedTuple):
    """Where a content is in a directory: the file, the offset of the chunk, and its length in bytes."""

    item: Found
    offset: int
    length: int


class _Stored(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    format: int
    manifest: str
    settled_ns: int  # what has a ctime from here on proves nothing
    files: int
    size: int
    blobs: dict[str, int]
    found: msgspec.Raw
    contents: msgspec.Raw  # of the files among `found`, in their order


class Index:
    """What is known of a directory.

    Args:
        stored: The record; None for nothing.
        now_ns: The time before the scan that it will be compared with.
    """

    def __init__(self, stored: _Stored | None = None, now_ns: int = 0) -> None:
        self._stored = stored
        # A ctime in the future is a clock set back: nothing is proven by it.
        self._settled = min(stored.settled_ns, now_ns - RACY_NS) if stored is not None else 0

    @property
    def manifest(self) -> str | None:
        """The manifest that the directory was equal to; None where nothing is known."""
        return self._stored.manifest if self._stored is not None else None

    @property
    def blobs(self) -> Mapping[str, int]:
        """Size in bytes of the manifest and of each blob that it needs, by digest."""
        return self._stored.blobs if self._stored is not None else {}

    @property
    def files(self) -> int:
        """Files in the manifest."""
        return self._stored.files if self._stored is not None else 0

    @property
    def size(self) -> int:
        """Their bytes."""
        return self._stored.size if self._stored is not None else 0

    def proves(self, scanned: Scan) -> bool:
        """Whether a directory is, name for name, what was recorded, and none of it too young to tell."""
        if self._stored is None or scanned.newest_ns >= self._settled:
            return False
        with contextlib.suppress(OverflowError):  # a time that the record can't hold
            return _encode(scanned.found) == bytes(self._stored.found)
        return False

    def contents(self, item: Found) -> Contents | None:
        """The hashes of a file's chunks if it is proven unchanged, else None."""
        known = self._files.get(item.path)
        if known is None or item.ctime_ns >= self._settled or known[0] != item[3:8]:
            return None
        return known[1] if len(known[1]) == HASH * chunk_count(item.size) else None

    def local(self, found: Iterable[Found]) -> dict[bytes, Local]:
        """Where each content is in a directory that was proven to be as recorded.

        Args:
            found: The directory's names.
        """
        places: dict[bytes, Local] = {}
        for item in found:
            if item.kind == "f":
                for number, content in enumerate(hashes(self.contents(item) or b"")):
                    if content != HOLE_HASH:
                        offset = number * CHUNK_SIZE
                        places[content] = Local(item, offset, min(CHUNK_SIZE, item.size - offset))
        return places

    @cached_property
    def _files(self) -> dict[bytes, tuple[tuple[int, ...], Contents]]:
        with contextlib.suppress(msgspec.MsgspecError):
            if self._stored is not None:
                names = msgspec.msgpack.decode(self._stored.found, type=list[_Name])
                contents = msgspec.msgpack.decode(self._stored.contents, type=list[bytes])
                files = [name for name in names if name[1] == "f"]
                if len(files) == len(contents):
                    return {name[0]: (name[3:8], known) for name, known in zip(files, contents, strict=True)}
        return {}


def load(path: Path) -> Index:
    """Read an index; whatever is wrong with it, the answer is an empty one.

    Args:
        path: The index file.
    """
    with contextlib.suppress(OSError, msgspec.MsgspecError, RecursionError):
        data = path.read_bytes()
        body = memoryview(data)[HASH:]
        if blake3(body).digest() == data[:HASH]:
            stored = msgspec.msgpack.decode(body, type=_Stored)
            if stored.format == FORMAT:
                return Index(stored, time.time_ns())
    return Index()


def save(
    path: Path,
    name: str,
    manifest: Manifest,
    found: list[Found],
    contents: Mapping[bytes, Contents],
    *,
    settled_ns: int = TIME_LIMIT,
) -> None:
    """Write an index whole or not at all. Not fsynced: a damaged one is noticed and ignored.

    Args:
        path: The index file; its directory is created if missing.
        name: The manifest's blob id.
        manifest: The manifest that the directory is now equal to.
        found: The directory's names and their status.
        contents: The files' contents, by path; a file without is hashed the next time.
        settled_ns: What changed from this time on (ns since 1970) is not vouched for.

    Raises:
        OSError: It could not be written.
    """
    known = [item for item in found if max(abs(item.mtime_ns), abs(item.ctime_ns)) <= TIME_LIMIT]
    files = [item.path for item in known if item.kind == "f"]
    data = _encode(
        _Stored(
            FORMAT,
            name,
            settled_ns,
            sum(entry.kind == "f" for entry in manifest.entries),
            manifest.total_bytes,
            {name: len(manifest.encode()), **{ref.digest.hex(): ref.size for ref in manifest.blobs}},
            msgspec.Raw(_encode(known)),
            msgspec.Raw(_encode([contents.get(file, b"") for file in files])),
        )
    )
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


def chunk_count(size: int) -> int:
    """How many chunks a file of so many bytes has."""
    return -(-size // CHUNK_SIZE)


def hashes(contents: Contents) -> Iterator[bytes]:
    """The hash of each chunk."""
    if len(contents) == HASH:
        return iter((contents,))
    return (contents[start : start + HASH] for start in range(0, len(contents), HASH))


def contents_of(entry: Entry) -> Contents:
    """A manifest's file as the index records it; empty for one that is cut as modhub never cuts."""
    if len(entry.chunks) != chunk_count(entry.size) or any(chunk.length != CHUNK_SIZE for chunk in entry.chunks[:-1]):
        return b""
    return b"".join(HOLE_HASH if chunk.blob == HOLE else chunk.content for chunk in entry.chunks)
