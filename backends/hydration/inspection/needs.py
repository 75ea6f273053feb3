"""What manifests need of each blob, whether a blob has it, and whose loss it is if not. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from blake3 import blake3

from backends.hydration.manifest import HOLE, Manifest

Range = tuple[int, int, bytes]
"""Offset and length in bytes of a chunk in its blob, and its hash."""


@dataclass(slots=True)
class Need:
    """What manifests need of one blob: its sizes in bytes as they state them, ranges, and for whom (file numbers)."""

    sizes: set[int] = field(default_factory=set[int])
    uses: dict[Range, list[tuple[int, int]]] = field(default_factory=dict[Range, list[tuple[int, int]]])


def needs(manifests: Sequence[Manifest]) -> dict[bytes, Need]:
    """What manifests need, by digest of the blob.

    Args:
        manifests: The manifests. A use is the number of a manifest here, and of a file among its entries.
    """
    found: dict[bytes, Need] = {}
    for number, manifest in enumerate(manifests):
        refs = [found.setdefault(ref.digest, Need()) for ref in manifest.blobs]
        for ref, need in zip(manifest.blobs, refs, strict=True):
            need.sizes.add(ref.size)
        for index, entry in enumerate(manifest.entries):
            for chunk in entry.chunks:
                if chunk.blob != HOLE:
                    piece = (chunk.offset, chunk.length, chunk.content)
                    refs[chunk.blob].uses.setdefault(piece, []).append((number, index))
    return found


def holds(data: bytes, piece: Range) -> bool:
    """Whether a blob's content has a chunk where it should be. What lies beyond the end is not there."""
    offset, length, content = piece
    return offset + length <= len(data) and blake3(memoryview(data)[offset : offset + length]).digest() == content


def hard_links(manifest: Manifest) -> dict[bytes, list[bytes]]:
    """The further names of each file that has any, by its first name."""
    found: dict[bytes, list[bytes]] = {}
    for entry in manifest.entries:
        if entry.kind == "h":
            found.setdefault(entry.target, []).append(entry.path)
    return found


def names_of(manifest: Manifest, files: set[int], links: Mapping[bytes, Sequence[bytes]]) -> tuple[bytes, ...]:
    """All names of some files.

    Args:
        manifest: The manifest.
        files: The files, by their numbers among its entries.
        links: The manifest's hard links.
    """
    paths = [manifest.entries[index].path for index in sorted(files)]
    return tuple(name for path in paths for name in (path, *links.get(path, ())))
