"""Whose a module is: taking it, holding it for longer, and giving it back, each by one conditional write of its head."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

from backends.errors import HeadConflict, LeaseHeld, PreconditionFailed, Tombstoned
from backends.hydration.head import FORMAT, Head, first_epoch
from backends.hydration.lease import LeaseObserver
from backends.hydration.location import Location


@dataclass(frozen=True, slots=True)
class Ownership:
    """One owner's side of it. `RemoteModule` tells what its methods do and raise.

    Attributes:
        where: The module's place.
        owner: Who this is.
        observer: What this process has seen of others' leases.
    """

    where: Location
    owner: str
    observer: LeaseObserver

    def claim(self, head: Head | None, kind: str, lease_ms: int) -> Head:
        """Take the module, over the head that was read."""
        if head is None:
            fresh = Head(FORMAT, self.owner, first_epoch(), kind, None, None, tombstone=False, etag="")
            return self._write(replace(fresh, lease_ms=lease_ms), over=None)
        if head.tombstone:
            raise Tombstoned(f"{self.where.prefix} is being erased")
        if head.owner != self.owner and (remaining := self.observer.remaining_s(self.where.place, head)) > 0:
            raise LeaseHeld(f"{self.where.prefix} is held by {head.owner}", owner=head.owner, remaining_s=remaining)
        kind = head.kind if head.manifest is not None else kind
        mine = replace(head, owner=self.owner, epoch=head.epoch + 1, kind=kind, lease_ms=lease_ms)
        try:
            return self._write(mine, over=head.etag)
        except HeadConflict as error:
            renewed = error.current
            if renewed is None or renewed.owner != self.owner or renewed.term != head.term:
                raise
            # Nothing but its lease has changed, by a renewal of this owner's own that came late.
            return self.claim(renewed, kind, lease_ms)

    def renew(self, claim: str, lease_ms: int) -> Head:
        """Hold the module for longer."""
        return self._set_lease(self._still(claim, self.where.read_head()), claim, lease_ms)

    def release(self, head: Head) -> bool:
        """Give the lease back, and the whole claim if it never held data."""
        try:
            current = self._still(head.claim, head)
            if _holds_nothing(head):
                with suppress(PreconditionFailed):
                    self.where.store.expunge(self.where.head_key, if_match=head.etag)
                    return True
                current = self._still(head.claim, self.where.read_head())  # it was renewed, or committed to
                if _holds_nothing(current):
                    self.where.store.expunge(self.where.head_key, if_match=current.etag)
                    return True
            if current.lease_ms:
                self._set_lease(current, head.claim, 0)
        except (HeadConflict, PreconditionFailed):
            return False
        return True

    def _still(self, claim: str, head: Head | None) -> Head:
        if head is None or head.tombstone or head.owner != self.owner or head.claim != claim:
            raise HeadConflict(f"{self.where.prefix} is not held by {claim} any more", current=head)
        return head

    def _set_lease(self, head: Head, claim: str, lease_ms: int) -> Head:
        try:
            # Its own commit may come between, and then it is that one's head that is renewed.
            return self.where.change_head(
                head, lambda current: replace(self._still(claim, current), lease_ms=lease_ms), renewing=True
            )
        except PreconditionFailed as error:
            current = self.where.peek_head()
            raise HeadConflict(f"{self.where.prefix} was changed while it was renewed", current=current) from error

    def _write(self, head: Head, *, over: str | None) -> Head:
        try:
            return self.where.write_head(head, over=over)
        except PreconditionFailed as error:
            current = self.where.peek_head()
            by = "" if current is None else f" by {current.claim}"
            raise HeadConflict(f"{self.where.prefix} was taken meanwhile{by}", current=current) from error


def _holds_nothing(head: Head) -> bool:
    return head.manifest is None and head.previous is None
