"""Reading a module's head and manifests while their owner may be at work on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from backends.errors import CorruptData, HeadConflict
from backends.hydration.head import Head
from backends.hydration.inspection.tree import Snapshot
from backends.hydration.location import Location

T = TypeVar("T")

_ATTEMPTS = 8


class Moved(Exception):
    """The head is no longer the one that something was read by."""


def take(where: Location, *, previous: bool = False) -> Snapshot | None:
    """Read what a head points to.

    Args:
        where: The module's place.
        previous: The earlier manifest that is kept, instead of the committed one.

    Returns:
        The snapshot, or None where there is no head, or none that points to such a manifest.

    Raises:
        CorruptData: Head or manifest is missing or damaged.
        HeadConflict: The head kept moving.
        BackendsError: The store failed.
    """

    def read(head: Head | None) -> Snapshot | None:
        digest = None if head is None else head.previous if previous else head.manifest
        if head is None or digest is None:
            return None
        try:
            return Snapshot(head, digest, where.read_manifest(digest))
        except CorruptData:
            unmoved(where, head)
            raise

    return settled(where, read)


def settled(where: Location, read: Callable[[Head | None], T]) -> T:
    """Do something by a module's head; again, by the new one, where the head moves meanwhile.

    Args:
        where: The module's place.
        read: Called with the head. Raises `Moved` where it finds the head changed.

    Raises:
        HeadConflict: The head kept moving.
    """
    for _ in range(_ATTEMPTS):
        try:
            return read(where.read_head())
        except Moved:
            continue
    raise HeadConflict(f"{where.prefix} kept changing while it was read", current=where.peek_head())


def unmoved(where: Location, head: Head) -> None:
    """Make sure that what is missing is damage, and not what a commit has just collected.

    A commit moves the head before it deletes anything, so a head that has not moved vouches for its blobs.

    Raises:
        Moved: The head is another one by now.
        BackendsError: The store failed.
    """
    current = where.read_head()
    if current is None or current.term != head.term:
        raise Moved
