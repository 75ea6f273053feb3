"""Reading everything that a module's manifests need, and telling what is not as it should be.

Blobs are read and hashed a few at a time and forgotten, so memory is bounded by the manifests and some blobs, whatever
the size of the module.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from blake3 import blake3

from backends.errors import BlobNotFound, CorruptData
from backends.hydration.head import Head
from backends.hydration.inspection.in_order import in_order
from backends.hydration.inspection.needs import Need, Range, hard_links, holds, names_of, needs
from backends.hydration.inspection.reading import settled, unmoved
from backends.hydration.location import Location
from backends.hydration.manifest import Manifest
from backends.hydration.progress import Meter

_Problem = tuple["Flaw", str, list[Range]]
"""In which way a blob is damaged, in words, and which of the ranges that are needed are lost."""


class Flaw(enum.StrEnum):
    """What can be wrong with an object. An orphan is no damage."""

    MISSING = "missing"
    CORRUPT = "corrupt"
    ORPHAN = "orphan"


@dataclass(frozen=True, slots=True)
class Finding:
    """An object that is not as it should be.

    Attributes:
        flaw: In which way.
        key: The object's key in the store.
        message: What was found.
        size: Bytes that an orphan holds, and that another has or should have; 0 where unknown.
        files: Files of the committed data whose content is lost by it, under all of their names.
        previous_files: The same of the earlier manifest that is kept.
    """

    flaw: Flaw
    key: str
    message: str
    size: int = 0
    files: tuple[bytes, ...] = ()
    previous_files: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Verified:
    """What a verification did and found.

    Attributes:
        head: The head that it went by; None where there is none, or none that can be read.
        blobs: Objects that are needed: head, manifests, packs and chunks.
        bytes: Their bytes, as far as they are known.
        damaged: How many of them are missing or corrupt.
        lost: Files of the committed data that can't be restored, counted by name; None where that is all of them, as
            head or manifest can't be read.
        lost_previous: The same of the earlier manifest.
        orphans: Objects that nothing needs.
        orphan_bytes: Their bytes.
    """

    head: Head | None = None
    blobs: int = 0
    bytes: int = 0
    damaged: int = 0
    lost: int | None = 0
    lost_previous: int | None = 0
    orphans: int = 0
    orphan_bytes: int = 0


class Verification:
    """One verification of one module.

    Args:
        where: The module's place.
        found: Told of each finding, once, on the caller's thread.
        meter: Progress: phase "verify", in bytes and blobs.
        threads: How many blobs are read at the same time; each holds at most one in memory.
        cancelled: The caller's token.
    """

    def __init__(
        self,
        where: Location,
        found: Callable[[Finding], None],
        *,
        meter: Meter,
        threads: int,
        cancelled: threading.Event | None,
    ) -> None:
        self._where, self._found, self._meter = where, found, meter
        self._threads, self._cancelled = threads, cancelled
        # Where the head moves meanwhile all begins anew; what was read and good is not read again.
        self._good: dict[bytes, set[Range]] = {}
        self._told: set[str] = set()
        self._damaged = 0

    def run(self) -> Verified:
        """Do it.

        Raises:
            HeadConflict: The head kept moving.
            TransferCancelled: The token was set.
            BackendsError: The store failed. Damage is none of it: it is found.
        """
        try:
            return settled(self._where, self._run)
        except CorruptData as error:
            if error.blob != self._where.head_key:
                raise
            # Without a head nothing tells which objects are needed, so none is called an orphan.
            self._tell(Finding(Flaw.CORRUPT, self._where.head_key, str(error)))
            return Verified(blobs=1, damaged=self._damaged, lost=None, lost_previous=None)

    def _run(self, head: Head | None) -> Verified:
        result = Verified(head, blobs=head is not None)
        self._meter.phase("list")
        names: list[str] = []
        manifests: list[Manifest] = []
        previous: list[bool] = []
        needed: set[str] = {"head"}
        for digest in () if head is None or head.tombstone else (head.manifest, head.previous):
            if head is not None and digest is not None and digest not in names:
                names.append(digest)
                needed.add("blobs/" + digest)
                result.blobs += 1
                manifest = self._manifest(head, digest)
                if manifest is not None:
                    manifests.append(manifest)
                    previous.append(digest != head.manifest)
        wanted = needs(manifests)
        needed |= {"blobs/" + digest.hex() for digest in wanted}
        result.blobs += len(wanted)
        if head is not None and not head.tombstone:
            self._check_blobs(head, wanted, manifests, previous, result)
        # What a manifest needs that can't be read is unknown, and an erasure does not ask.
        everything_known = len(manifests) == len(names) and not (head is not None and head.tombstone)
        special = {"head", *(f"blobs/{digest}" for digest in names)}
        orphans: list[Finding] = []
        for info in self._where.store.list(self._where.prefix):
            self._meter.check()
            name = info.key.removeprefix(self._where.prefix)
            if name in special:
                result.bytes += info.size
            elif name not in needed and everything_known:
                result.orphans += 1
                result.orphan_bytes += info.size
                orphans.append(Finding(Flaw.ORPHAN, info.key, "nothing needs it", info.size))
        if head is not None:
            unmoved(self._where, head)
        for orphan in orphans:
            self._tell(orphan)
        result.damaged = self._damaged
        return result

    def _manifest(self, head: Head, digest: str) -> Manifest | None:
        try:
            return self._where.read_manifest(digest)
        except CorruptData as error:
            missing = isinstance(error.__cause__, BlobNotFound)
            which = "previous" if digest == head.previous and digest != head.manifest else "committed"
            message = f"the {which} manifest, without which no file of it can be restored: {error}"
            flaw = Flaw.MISSING if missing else Flaw.CORRUPT
            self._report(Finding(flaw, self._where.blobs + digest, message), head)
            return None

    def _check_blobs(
        self,
        head: Head,
        wanted: Mapping[bytes, Need],
        manifests: Sequence[Manifest],
        previous: Sequence[bool],
        result: Verified,
    ) -> None:
        total = sum(max(need.sizes) for need in wanted.values())
        self._meter.phase("verify", bytes_total=total, files_total=len(wanted))
        lost: list[set[int]] = [set() for _ in manifests]
        links = [hard_links(manifest) for manifest in manifests]
        checked = in_order(self._check, wanted.items(), threads=self._threads, cancelled=self._cancelled)
        with closing(checked):
            for (digest, need), problem in zip(wanted.items(), checked, strict=True):
                result.bytes += max(need.sizes)
                if problem is None:
                    continue
                flaw, message, pieces = problem
                hit: list[set[int]] = [set() for _ in manifests]
                for piece in pieces:
                    for number, index in need.uses[piece]:
                        hit[number].add(index)
                        lost[number].add(index)
                files = [names_of(*each) for each in zip(manifests, hit, links, strict=True)]
                named = dict(zip(previous, files, strict=True))
                key = self._where.blobs + digest.hex()
                finding = Finding(flaw, key, message, max(need.sizes), named.get(False, ()), named.get(True, ()))
                self._report(finding, head)
        counts = [len(names_of(*each)) for each in zip(manifests, lost, links, strict=True)]
        by_age = dict(zip(previous, counts, strict=True))
        result.lost = by_age.get(False, None if head.manifest else 0)
        result.lost_previous = by_age.get(True, None if head.previous not in {None, head.manifest} else 0)

    def _check(self, item: tuple[bytes, Need]) -> _Problem | None:
        """Read one blob. Returns what is wrong with it, if anything."""
        digest, need = item
        good = self._good.get(digest)
        if good is not None and good.issuperset(need.uses) and len(need.sizes) == 1:
            self._meter.add(bytes_=max(need.sizes), files=1)
            return None
        try:
            data = self._where.read_blob(digest.hex())
        except CorruptData as error:
            missing = isinstance(error.__cause__, BlobNotFound)
            problem: _Problem | None = (Flaw.MISSING if missing else Flaw.CORRUPT, str(error), list(need.uses))
        else:
            problem = self._judge(digest, need, data)
        self._meter.add(bytes_=max(need.sizes), files=1)
        return problem

    def _judge(self, digest: bytes, need: Need, data: bytes) -> _Problem | None:
        lost: list[Range] = []
        for piece in need.uses:
            self._meter.check()  # a hostile manifest can name a great many ranges of one blob
            if not holds(data, piece):
                lost.append(piece)
        if need.sizes != {len(data)}:
            stated = " and ".join(map(str, sorted(need.sizes)))
            return Flaw.CORRUPT, f"it is {len(data)} bytes long instead of {stated}", lost
        if blake3(data).digest() != digest:
            return Flaw.CORRUPT, "its content does not match its name", lost
        if lost:
            return Flaw.CORRUPT, "it does not hold what the manifest says", lost
        self._good[digest] = set(need.uses)
        return None

    def _report(self, finding: Finding, head: Head) -> None:
        """Tell of damage, once the head vouches for it."""
        unmoved(self._where, head)
        self._tell(finding)

    def _tell(self, finding: Finding) -> None:
        if finding.key not in self._told:
            self._told.add(finding.key)
            self._damaged += finding.flaw is not Flaw.ORPHAN
            self._found(finding)
