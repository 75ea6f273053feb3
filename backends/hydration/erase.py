"""Erasure: the head becomes a tombstone first and goes last, and a listing proves that nothing is left.

From the tombstone on, no guard of any owner holds, so what the purge removes stays removed. Where a store can't check a
guard together with a write, one that was under way then may still arrive: its sender, whose next guard fails, takes it
back. A crash at any point leaves either the tombstone, which only another erasure can get past, or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from backends.blobstore import Purged
from backends.errors import BlobNotFound, CorruptData, EraseIncomplete, PreconditionFailed
from backends.hydration.head import FORMAT, LIMIT, Head
from backends.hydration.location import Location
from backends.hydration.progress import Meter

_ROUNDS = 8  # each ends with an empty listing or with something a writer has just put there


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure removed.

    Attributes:
        blobs: Objects, the head among them.
        versions: Further versions, delete markers and unfinished uploads.
        bytes: Bytes of all of them.
        remaining: What the listing afterwards found: always 0, or the erasure would have failed.
    """

    blobs: int = 0
    versions: int = 0
    bytes: int = 0
    remaining: int = 0


def erase(where: Location, owner: str, meter: Meter) -> Erased:
    """Remove everything that the store holds of a module, and prove it.

    Args:
        where: The module's place.
        owner: Stands in the tombstone, if one has to be written.
        meter: Progress and cancellation. Once the tombstone stands, cancelling only postpones the rest.

    Returns:
        What was removed; all zeros, and nothing written, where nothing was.

    Raises:
        EraseIncomplete: Something kept appearing.
        BackendsError: The store failed, or the token was set; to be repeated.
    """
    total = Purged()
    for _ in range(_ROUNDS):
        meter.check()
        # The first remnant is enough: a listing of all of them would cost as many requests as their removal.
        if next(iter(where.store.remains(where.prefix)), None) is None:
            return Erased(total.blobs, total.versions, total.bytes)
        meter.phase("erase")
        try:
            tombstone, created = _entomb(where, owner)
            meter.check()
            gone = where.store.purge(where.prefix, keep=where.head_key, guard=where.guard(tombstone))
            total += gone
            meter.add(bytes_=gone.bytes, files=gone.blobs + gone.versions)
            last = where.store.expunge(where.head_key, if_match=tombstone.etag)
        except PreconditionFailed:
            continue  # another erasure is at it
        total += Purged(last.blobs - created, last.versions, 0 if created else last.bytes)
    raise EraseIncomplete(f"something keeps writing below {where.prefix}")


def _entomb(where: Location, owner: str) -> tuple[Head, bool]:
    """Make the head a tombstone. Returns it, and whether there was no head before."""
    etag: str | None = None
    head = Head(FORMAT, owner, 1, "unknown", None, None, tombstone=True, etag="")
    try:
        data, etag = where.store.get(where.head_key, limit=LIMIT)
        found = Head.from_json(data, etag)
        if found.tombstone:
            return found, False
        # Owner and epoch are raised with it, so that logs tell who erased and when in the order of things.
        head = Head(FORMAT, owner, found.epoch + 1, found.kind, None, None, tombstone=True, etag="")
    except BlobNotFound:
        pass
    except CorruptData:
        if etag is None:
            # Not even readable as an object of this size and type: there is nothing to make the condition on.
            where.store.delete(where.head_key)
    return where.write_head(head, over=etag), etag is None
