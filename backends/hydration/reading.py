"""Reading and hashing files, and handing to the packer what is new of them.

Small chunks are read by one thread in the order of the tree, since packs are filled in that order. Large ones are each
read, hashed and sent by a thread of the lane: on as many cores as it has threads, and while other requests are under
way. In memory are a chunk for each of its calls, or a pack, and the pack that is being filled.
"""

from __future__ import annotations

import contextlib
import os

from blake3 import blake3

from backends.directory import Cursor, DirTree
from backends.errors import local_errors
from backends.hydration.chunk import is_zero, read_at, read_into
from backends.hydration.head import SALT_SIZE
from backends.hydration.index import HASH, HOLE_HASH, Contents, chunk_count
from backends.hydration.manifest import CHUNK_SIZE, PACKED_BELOW
from backends.hydration.pack import Packer
from backends.hydration.pool import Lane
from backends.hydration.progress import Meter
from backends.hydration.scan import Found


class Reading:
    """One reading of some files of a tree.

    Args:
        tree: The source.
        lane: Runs what is done with large chunks, and the requests.
        packer: Takes what is new.
        meter: Progress and cancellation.
    """

    def __init__(self, tree: DirTree, lane: Lane, packer: Packer, meter: Meter) -> None:
        self._tree, self._lane, self._packer, self._meter = tree, lane, packer, meter
        self._spare: list[bytearray] = []

    def run(self, files: list[Found]) -> dict[bytes, Contents]:
        """Read, and return when all that is new was acknowledged.

        Args:
            files: What to read, in the order of the tree.

        Returns:
            The contents, by path.

        Raises:
            SourceChanged: A file is not, or did not stay, the one that the scan found.
            BackendsError: The local disk or the store failed, or the token was set.
        """
        self._meter.phase("upload", bytes_total=sum(item.size for item in files), files_total=len(files))
        contents: dict[bytes, Contents] = {}
        large: dict[bytes, bytearray] = {}
        with Cursor(self._tree) as cursor:
            for item in files:
                self._meter.check()
                if item.size >= PACKED_BELOW:
                    large[item.path] = self._large(cursor, item)
                    self._meter.add(files=1)
                else:
                    contents[item.path] = self._small(cursor, item, 0, item.size) if item.size else b""
                    self._meter.add(bytes_=item.size, files=1)
        self._packer.flush()
        self._lane.drain()
        for path, found in large.items():
            contents[path] = bytes(found)
        return contents

    def _small(self, cursor: Cursor, item: Found, offset: int, length: int) -> bytes:
        data = read_at(cursor, item, offset, length)
        if is_zero(data, length):
            return HOLE_HASH
        content = blake3(data).digest()
        self._packer.add(content, data)
        return content

    def _large(self, cursor: Cursor, item: Found) -> bytearray:
        """A file of at least one large chunk. Its hashes are complete when the lane is drained."""
        found = bytearray(HASH * chunk_count(item.size))
        for offset in range(0, item.size, CHUNK_SIZE):
            length = min(CHUNK_SIZE, item.size - offset)
            if length >= PACKED_BELOW:
                self._lane.submit(self._chunk, item, offset, length, found)
            else:
                _enter(found, offset, self._small(cursor, item, offset, length))
                self._meter.add(bytes_=length)
        return found

    def _chunk(self, item: Found, offset: int, length: int, found: bytearray) -> None:
        """Read, hash and, if it is new, send one large chunk; on a thread of the lane."""
        self._meter.check()
        buffer = self._buffer(length)
        with local_errors(f"reading {os.fsdecode(item.path)!r}"), memoryview(buffer)[:length] as view:
            data = read_into(self._tree, item, offset, view) and not is_zero(buffer, length)
            hasher = blake3(view) if data else blake3()
        content = hasher.digest() if data else HOLE_HASH
        if data and self._packer.take(content):
            self._packer.send_chunk(content, hasher, buffer)
        elif length == CHUNK_SIZE:
            # Used again only where it was not sent: a store might hold on to what it was given.
            self._spare.append(buffer)
        _enter(found, offset, content)
        self._meter.add(bytes_=length)

    def _buffer(self, length: int) -> bytearray:
        if length == CHUNK_SIZE:
            with contextlib.suppress(IndexError):  # another thread was faster
                return self._spare.pop()
        return bytearray(length + SALT_SIZE)


def _enter(found: bytearray, offset: int, content: bytes) -> None:
    start = offset // CHUNK_SIZE * HASH
    found[start : start + HASH] = content
