"""What a store holds before a dehydration: which contents need not be sent, and which blobs have to stay."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from backends.errors import CorruptData
from backends.hydration.location import Location
from backends.hydration.manifest import HOLE, Manifest
from backends.hydration.pack import Place

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Survey:
    """What is there.

    Attributes:
        manifest: The committed manifest, where there is a readable one.
        sizes: Sizes in bytes of the blobs, by digest.
        known: Places of the contents that the manifests have, as far as the blobs are there.
        kept: Names of what the manifest that is to be kept needs, itself included; None where that can't be told.
    """

    manifest: Manifest | None
    sizes: dict[bytes, int]
    known: dict[bytes, Place]
    kept: frozenset[str] | None


def survey(where: Location, committed: str | None, kept: str | None, stored: Mapping[str, int]) -> Survey:
    """Read what is known of a module's blobs.

    Bad data of the past must not keep today's from its way home: what an unreadable manifest has is sent anew. But what
    a manifest needs that can't be read is unknown, so while it is to be kept nothing may be deleted.

    Args:
        where: The module's place.
        committed: Blob id of the head's manifest.
        kept: Blob id of the manifest to keep beside the next one.
        stored: The listing.

    Raises:
        BackendsError: The store failed.
    """
    sizes = {bytes.fromhex(name): size for name, size in stored.items() if _DIGEST.fullmatch(name)}
    known: dict[bytes, Place] = {}
    read: dict[str, Manifest] = {}
    # The committed one last: where both have a content, its place counts, so what has not changed is not moved.
    for digest in dict.fromkeys(digest for digest in (kept, committed) if digest is not None):
        try:
            manifest = where.read_manifest(digest)
        except CorruptData:
            continue
        read[digest] = manifest
        there = [sizes.get(ref.digest) == ref.size for ref in manifest.blobs]
        for entry in manifest.entries:
            for chunk in entry.chunks:
                if chunk.blob != HOLE and there[chunk.blob]:
                    known[chunk.content] = Place(manifest.blobs[chunk.blob].digest, chunk.offset, chunk.length)
    needed: frozenset[str] | None = frozenset()
    if kept is not None:
        needed = frozenset({kept, *(ref.digest.hex() for ref in read[kept].blobs)}) if kept in read else None
    return Survey(read.get(committed or ""), sizes, known, needed)
