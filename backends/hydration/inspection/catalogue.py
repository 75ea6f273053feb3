"""What a store holds: which modules, how much of each, and prefixes that are no module's."""

from __future__ import annotations

import enum
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from backends.blobstore import BlobInfo, BlobStore
from backends.cancellation import check, watching
from backends.errors import CorruptData
from backends.hydration.head import Head
from backends.hydration.inspection.in_order import in_order
from backends.hydration.inspection.reading import settled, unmoved
from backends.hydration.location import Location
from backends.hydration.manifest import Manifest
from backends.identity import decode_module_id


@dataclass(slots=True)
class Bulk:
    """Objects, and their bytes."""

    objects: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class StoreContents:
    """One listing of a store.

    Attributes:
        modules: What is below each module's prefix, by module id, in the order of ids.
        others: What is below first components of keys that are no module's.
    """

    modules: dict[str, Bulk]
    others: dict[str, Bulk]


class Condition(enum.StrEnum):
    """What a module's head and manifest say of it."""

    COMMITTED = "committed"
    """There is data."""
    EMPTY = "empty"
    """Taken by an owner that has committed nothing yet."""
    ERASING = "erasing"
    """An erasure has begun; only another one can go on."""
    HEADLESS = "no head"
    """Objects without a head."""
    DAMAGED = "damaged"
    """The head or the manifest can't be read."""
    ABSENT = "absent"
    """Nothing is there."""


@dataclass(frozen=True, slots=True)
class ModuleSummary:
    """A module in a line.

    Attributes:
        module_id: Its id.
        condition: What state it is in.
        head: Its head, where that can be read.
        files: Files of the committed manifest, each once however many names it has; None where unknown.
        bytes: Their bytes; None where unknown.
        objects: Objects in the store.
        stored: Their bytes.
        problem: What is damaged.
    """

    module_id: str
    condition: Condition
    head: Head | None = None
    files: int | None = None
    bytes: int | None = None
    objects: int = 0
    stored: int = 0
    problem: str = ""


def list_modules(store: BlobStore, cancelled: threading.Event | None = None) -> StoreContents:
    """List a whole store. Memory grows with the number of modules, not of objects.

    Args:
        store: The store.
        cancelled: The caller's token.

    Raises:
        TransferCancelled: The token was set.
        BackendsError: The store failed.
    """

    def until_cancelled() -> Iterator[BlobInfo]:
        for info in store.list(""):
            check(cancelled)
            yield info

    with watching(cancelled):
        return sort_out(until_cancelled())


def sort_out(listing: Iterable[BlobInfo]) -> StoreContents:
    """Add up a listing by modules. Pure."""
    found: dict[str, Bulk] = {}
    for info in listing:
        bulk = found.setdefault(info.key.partition("/")[0], Bulk())
        bulk.objects += 1
        bulk.bytes += info.size
    modules: dict[str, Bulk] = {}
    others: dict[str, Bulk] = {}
    for name, bulk in found.items():
        module_id = decode_module_id(name)
        if module_id is None:
            others[name] = bulk
        else:
            modules[module_id] = bulk
    return StoreContents(dict(sorted(modules.items())), dict(sorted(others.items())))


def summarise_modules(
    store: BlobStore, modules: dict[str, Bulk], *, threads: int, cancelled: threading.Event | None = None
) -> Iterator[ModuleSummary]:
    """Read head and manifest of modules.

    Args:
        store: The store.
        modules: The modules, as listed.
        threads: How many are read at the same time.
        cancelled: The caller's token.

    Yields:
        A summary of each, in the order given.

    Raises:
        TransferCancelled: The token was set.
        BackendsError: The store failed. Damage is none of it: it is a module's condition.
    """

    def read(item: tuple[str, Bulk]) -> ModuleSummary:
        return summarise_module(store, *item)

    return in_order(read, modules.items(), threads=threads, cancelled=cancelled)


def summarise_module(store: BlobStore, module_id: str, bulk: Bulk) -> ModuleSummary:
    """Read head and manifest of one module.

    Args:
        store: The store.
        module_id: The module's id.
        bulk: What the listing has of it.

    Raises:
        InvalidName: Not a module id.
        HeadConflict: The head kept moving.
        BackendsError: The store failed.
    """
    where = Location.of(store, module_id)

    def read(head: Head | None) -> ModuleSummary:
        manifest: Manifest | None = None
        problem = ""
        if head is not None and head.manifest is not None and not head.tombstone:
            try:
                manifest = where.read_manifest(head.manifest)
            except CorruptData as error:
                unmoved(where, head)
                problem = str(error)
        return ModuleSummary(
            module_id,
            Condition.DAMAGED if problem else _condition(head, bulk),
            head,
            None if manifest is None else sum(entry.kind == "f" for entry in manifest.entries),
            None if manifest is None else manifest.total_bytes,
            bulk.objects,
            bulk.bytes,
            problem,
        )

    try:
        return settled(where, read)
    except CorruptData as error:
        return ModuleSummary(module_id, Condition.DAMAGED, objects=bulk.objects, stored=bulk.bytes, problem=str(error))


def _condition(head: Head | None, bulk: Bulk) -> Condition:
    if head is None:
        return Condition.HEADLESS if bulk.objects else Condition.ABSENT
    if head.tombstone:
        return Condition.ERASING
    return Condition.COMMITTED if head.manifest is not None else Condition.EMPTY
