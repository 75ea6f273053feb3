"""Where the bytes of a module are in the store: how many are needed, and what keeps the others. Pure but for `measure`."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass

from backends.errors import CorruptData
from backends.hydration.head import SALT_SIZE, Head
from backends.hydration.inspection.reading import settled, unmoved
from backends.hydration.location import Location
from backends.hydration.manifest import HOLE, Manifest


@dataclass(frozen=True, slots=True)
class Usage:
    """What a module takes in its store. `live` to `orphans` add up to `stored`.

    Attributes:
        files: Files in the committed manifest, each once however many names it has.
        data: Their bytes; what is stored differs by holes, and by content that occurs more than once.
        objects: Objects below the module's prefix.
        stored: Their bytes.
        live: Bytes that the committed manifest needs, head and manifest included.
        previous: Bytes that only the earlier manifest needs that is kept, itself included.
        dead: Bytes in needed packs that no manifest needs, until the packs are rewritten.
        orphans: Bytes of objects that nothing needs; the next dehydration deletes them.
        orphan_objects: How many those are.
        missing: Blobs that a manifest needs and the listing does not have in their size: damage.
        unreadable: Manifests that can't be read: damage. What they need counts as orphans.
    """

    files: int = 0
    data: int = 0
    objects: int = 0
    stored: int = 0
    live: int = 0
    previous: int = 0
    dead: int = 0
    orphans: int = 0
    orphan_objects: int = 0
    missing: int = 0
    unreadable: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*map(operator.add, astuple(self), astuple(other)))


def measure(where: Location) -> Usage:
    """Account for a module's objects, by its head, its manifests and one listing.

    Raises:
        HeadConflict: The head kept moving.
        BackendsError: The store failed.
    """

    def read(head: Head | None) -> Usage:
        manifests: list[tuple[str, Manifest | None]] = []
        for digest in () if head is None else (head.manifest, head.previous):
            if head is not None and digest is not None:
                try:
                    manifests.append((digest, where.read_manifest(digest)))
                except CorruptData:
                    unmoved(where, head)
                    manifests.append((digest, None))
        sizes = {info.key.removeprefix(where.prefix): info.size for info in where.store.list(where.prefix)}
        if head is not None:
            unmoved(where, head)
        committed = manifests[:1] if head is not None and head.manifest is not None else []
        return account(sizes, committed, manifests[len(committed) :])

    return settled(where, read)


def account(
    sizes: Mapping[str, int],
    committed: Iterable[tuple[str, Manifest | None]],
    kept: Iterable[tuple[str, Manifest | None]] = (),
) -> Usage:
    """Account for objects.

    Args:
        sizes: Size in bytes of each object by its key below the module's prefix.
        committed: The committed manifest, if any, with its digest; None for one that can't be read.
        kept: The earlier one, likewise.

    Returns:
        The account.
    """
    current, earlier = _Needs(), _Needs()
    for digest, manifest in committed:
        current.add(digest, manifest)
    for digest, manifest in kept:
        earlier.add(digest, manifest)
    live = previous = dead = orphans = orphan_objects = missing = 0
    for key, size in sizes.items():
        name = key.removeprefix("blobs/")
        if key == "head" or name in current.whole:
            live += size
        elif name in earlier.whole:
            previous += size
        elif name in current.ranges or name in earlier.ranges:
            mine, theirs = current.ranges.get(name, set()), earlier.ranges.get(name, set())
            needed = min(covered(mine), size)
            both = max(needed, min(covered(mine | theirs), size))
            spare = min(size - both, SALT_SIZE)  # which belongs to no chunk, and is no waste
            live += needed + (spare if mine else 0)
            previous += both - needed + (0 if mine else spare)
            dead += size - both - spare
        else:
            orphans += size
            orphan_objects += 1
    for name, size in {**earlier.sizes, **current.sizes}.items():
        missing += sizes.get("blobs/" + name) != size
    return Usage(
        files=current.files,
        data=current.data,
        objects=len(sizes),
        stored=sum(sizes.values()),
        live=live,
        previous=previous,
        dead=dead,
        orphans=orphans,
        orphan_objects=orphan_objects,
        missing=missing,
        unreadable=current.unreadable + earlier.unreadable,
    )


def covered(ranges: Iterable[tuple[int, int]]) -> int:
    """How many bytes some ranges cover together.

    Args:
        ranges: Offset and length in bytes of each; they may overlap.
    """
    total = end = 0
    for offset, length in sorted(ranges):
        total += max(0, offset + length - max(offset, end))
        end = max(end, offset + length)
    return total


class _Needs:
    """What a manifest needs: whole objects, and ranges of blobs."""

    def __init__(self) -> None:
        self.whole: set[str] = set()
        self.ranges: dict[str, set[tuple[int, int]]] = {}
        self.sizes: dict[str, int] = {}
        self.files = self.data = self.unreadable = 0

    def add(self, digest: str, manifest: Manifest | None) -> None:
        self.whole.add(digest)
        if manifest is None:
            self.unreadable += 1
            return
        names = [ref.digest.hex() for ref in manifest.blobs]
        self.sizes |= {ref.digest.hex(): ref.size for ref in manifest.blobs}
        self.ranges |= {name: set() for name in names}
        self.data += manifest.total_bytes
        for entry in manifest.entries:
            self.files += entry.kind == "f"
            for chunk in entry.chunks:
                if chunk.blob != HOLE:
                    self.ranges[names[chunk.blob]].add((chunk.offset, chunk.length))
