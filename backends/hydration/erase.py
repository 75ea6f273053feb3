"""Erasure: the head becomes a tombstone first and goes last, and a listing proves that nothing is left.

From the tombstone on, no guard of any owner holds, so what the purge removes stays removed. Where a store can't check a
guard together with a write, one that was under way then may still arrive: its sender, whose next guard fails, takes it
back; and for a sender that does not live to do so, the prefix is listed again when its lease has run out. A crash at any
point leaves either the tombstone, which only another erasure can get past, or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from backends.blobstore import Purged
from backends.errors import BlobNotFound, CorruptData, EraseIncomplete, PreconditionFailed
from backends.hydration.head import FORMAT, LIMIT, Head, first_epoch
from backends.hydration.lease import LeaseObserver, lease_ms
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
        remaining: What the listing afterwards found: always 0, or the erasure would have failed. Except of stragglers
            of a module that was made anew, of which nothing is said.
        held_s: Seconds from now on that the lease of another owner, which the tombstone overrode, may still have run.
            Until then a write that was under way may arrive. 0.0 = there was no such lease.
    """

    blobs: int = 0
    versions: int = 0
    bytes: int = 0
    remaining: int = 0
    held_s: float = 0.0


class Erasure:
    """One erasure.

    Args:
        where: The module's place.
        owner: Stands in the tombstone, if one has to be written.
        observer: What this process has seen of others' leases.
        meter: Progress and cancellation. Once the tombstone stands, cancelling only postpones the rest.
    """

    def __init__(self, where: Location, owner: str, observer: LeaseObserver, meter: Meter) -> None:
        self._where, self._owner, self._observer, self._meter = where, owner, observer, meter
        self._overrode: Head | None = None  # the tombstone that stands for another owner's lease

    def run(self, *, stragglers: bool = False) -> Erased:
        """Remove everything that the store holds of a module, and prove it.

        Args:
            stragglers: Only what arrived after an erasure: where the module was made anew, nothing is touched.

        Returns:
            What was removed; all zeros, and nothing written, where nothing was.

        Raises:
            EraseIncomplete: Something kept appearing.
            BackendsError: The store failed, or the token was set; to be repeated.
        """
        where, total = self._where, Purged()
        for _ in range(_ROUNDS):
            self._meter.check()
            # The first remnant is enough: a listing of all of them would cost as many requests as their removal.
            if next(iter(where.store.remains(where.prefix)), None) is None:
                break
            self._meter.phase("erase")
            try:
                found = self._entomb(stragglers=stragglers)
                if found is None:
                    break
                tombstone, created = found
                if tombstone.lease_ms:
                    # Looked at now, so that the time runs from here, and not from the look at the end.
                    self._observer.remaining_s(where.place, tombstone)
                    self._overrode = tombstone
                self._meter.check()
                gone = where.store.purge(where.prefix, keep=where.head_key, guard=where.guard(tombstone))
                total += gone
                self._meter.add(bytes_=gone.bytes, files=gone.blobs + gone.versions)
                last = where.store.expunge(where.head_key, if_match=tombstone.etag)
            except PreconditionFailed:
                continue  # somebody was faster: another erasure, or a claim
            total += Purged(last.blobs - created, last.versions, 0 if created else last.bytes)
        else:
            raise EraseIncomplete(f"something keeps writing below {where.prefix}")
        held = self._observer.remaining_s(where.place, self._overrode) if self._overrode is not None else 0.0
        return Erased(total.blobs, total.versions, total.bytes, held_s=held)

    def _entomb(self, *, stragglers: bool) -> tuple[Head, bool] | None:
        """Make the head a tombstone. Returns it, and whether there was no head before; None of a module made anew."""
        where = self._where
        etag: str | None = None
        head = Head(FORMAT, self._owner, first_epoch(), "unknown", None, None, tombstone=True, etag="")
        try:
            data, etag = where.store.get(where.head_key, limit=LIMIT)
            found = Head.from_json(data, etag)
            if found.tombstone:
                return found, False
            if stragglers:
                return None
            # Owner and epoch are raised with it, so that logs tell who erased and when in the order of things. And for
            # how long the owner before it may believe in its lease: whoever has to finish this erasure must know.
            lease = lease_ms(self._observer.remaining_s(where.place, found)) if found.owner != self._owner else 0
            head = Head(
                FORMAT, self._owner, found.epoch + 1, found.kind, None, None, tombstone=True, etag="", lease_ms=lease
            )
        except BlobNotFound:
            pass
        except CorruptData:
            if stragglers:
                return None
            if etag is None:
                # Not even readable as an object of this size and type: there is nothing to make the condition on.
                where.store.delete(where.head_key)
        return where.write_head(head, over=etag), etag is None
