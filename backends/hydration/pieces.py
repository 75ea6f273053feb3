"""What has to be fetched or copied for a hydration, and in which requests. Pure decisions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from backends.hydration.manifest import CHUNK_SIZE, Chunk, Entry

_GAP = 64 * 1024  # bytes that are rather read along than left out by another request
_RANGES = 8  # more requests than this cost more than the whole blob


class Piece(NamedTuple):
    """A file, one of its chunks, and the chunk's offset in the file."""

    entry: Entry
    chunk: Chunk
    offset: int


@dataclass(slots=True)
class Range:
    """A range of a blob, in bytes, and the pieces that lie in it."""

    offset: int
    length: int
    pieces: list[Piece]


def ranges(size: int, pieces: Iterable[Piece]) -> list[Range] | None:
    """The ranges of a blob that pieces need; None where it is better read whole.

    Args:
        size: The blob's size in bytes.
        pieces: What is needed of it.
    """
    found: list[Range] = []
    for piece in sorted(pieces, key=lambda piece: piece.chunk.offset):
        start, end = piece.chunk.offset, piece.chunk.offset + piece.chunk.length
        last = found[-1] if found else None
        if last is not None and start <= last.offset + last.length + _GAP:
            last.length = max(last.length, end - last.offset)
            last.pieces.append(piece)
        else:
            found.append(Range(start, piece.chunk.length, [piece]))
    few = len(found) <= _RANGES and 2 * sum(part.length for part in found) < size
    return found if few else None


def batches(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Neighbouring pieces together, as many as make a chunk's bytes: enough work for one call of a thread."""
    batch: list[Piece] = []
    size = 0
    for piece in pieces:
        if batch and size + piece.chunk.length > CHUNK_SIZE:
            yield batch
            batch, size = [], 0
        batch.append(piece)
        size += piece.chunk.length
    if batch:
        yield batch
