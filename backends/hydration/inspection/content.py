"""The content of one file, by as few bytes as it takes: ranges of blobs, each verified by the hash of its chunk."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import NamedTuple

from blake3 import blake3

from backends.errors import CorruptData, HeadConflict
from backends.hydration.inspection.in_order import in_order
from backends.hydration.inspection.reading import Moved, unmoved
from backends.hydration.inspection.tree import Snapshot
from backends.hydration.location import Location
from backends.hydration.manifest import HOLE, Chunk


class Piece(NamedTuple):
    """A run of a file: its length in bytes, and the bytes; None for zeros that are stored nowhere (a hole)."""

    length: int
    data: bytes | None


def read_content(
    where: Location, snapshot: Snapshot, path: bytes, *, threads: int, cancelled: threading.Event | None = None
) -> Iterator[Piece]:
    """A file's content in order. No byte is given out that was not verified.

    Args:
        where: The module's place.
        snapshot: What names the content.
        path: The file, by any of its names.
        threads: How many pieces are fetched at the same time, and how many wait at most.
        cancelled: The caller's token.

    Yields:
        Each piece, at most 16 MiB of data; a hole is one piece, however long.

    Raises:
        CorruptData: A blob is missing, too short, or not what the manifest says; it is named.
        HeadConflict: The head has moved meanwhile and took the file's blobs with it.
        TransferCancelled: The token was set.
        BackendsError: The store failed.
    """

    def fetch(chunk: Chunk) -> Piece:
        if chunk.blob == HOLE:
            return Piece(chunk.length, None)
        digest = snapshot.manifest.blobs[chunk.blob].digest.hex()
        data = where.read_range(digest, chunk.offset, chunk.length)
        if blake3(data).digest() != chunk.content:
            key = where.blobs + digest
            raise CorruptData(f"the blob {key} does not hold what the manifest says", blob=key)
        return Piece(chunk.length, data)

    try:
        yield from in_order(fetch, snapshot.content(path), threads=threads, cancelled=cancelled)
    except CorruptData as error:
        try:
            unmoved(where, snapshot.head)
        except Moved:
            raise HeadConflict(
                f"{where.prefix} was changed while the file was read", current=where.peek_head()
            ) from error
        raise
