"""Directory to backend: send what is missing, write the manifest, prove that all is there, move the head.

The order is the safety: blobs, then a second look at the source, then the manifest, then one listing with sizes, then
the conditional write of the head, and only then the deletion of what nothing needs. Until the head moves, everything
sent is garbage; after it moved, nothing that fails can undo the commit, so nothing that fails is reported as its failure.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

from backends.errors import BackendsError, CorruptData, HeadConflict, PreconditionFailed, TransferCancelled
from backends.hydration import index as stat_index
from backends.hydration.head import Head
from backends.hydration.location import Location
from backends.hydration.manifest import HOLE, Manifest
from backends.hydration.pack import Place
from backends.hydration.pool import Pool
from backends.hydration.progress import Meter
from backends.hydration.send import Sender, Taken

_BATCH = 500  # keys deleted between two looks at the caller's token
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Stats:
    """What a dehydration did.

    Attributes:
        files: Files in the manifest, each once however many names it has.
        bytes: Their bytes.
        files_hashed: Files that were read; the index vouched for the others.
        bytes_hashed: Bytes that were read for it.
        blobs_sent: Objects written, the manifest among them.
        bytes_sent: Bytes written.
        skipped: Sockets and fifos passed over.
        blobs_deleted: Objects that no manifest needed any more.
        collect_error: What stopped the deletion after the commit; the next dehydration deletes the rest.
    """

    files: int
    bytes: int
    files_hashed: int
    bytes_hashed: int
    blobs_sent: int
    bytes_sent: int
    skipped: int
    blobs_deleted: int = 0
    collect_error: BackendsError | None = None


@dataclass(frozen=True, slots=True)
class Dehydrated:
    """A committed dehydration: the module's new head, and what was done."""

    head: Head
    stats: Stats


@dataclass(frozen=True, slots=True)
class _Before:
    """What the store holds at the beginning: blobs, known contents, and what the kept manifest needs."""

    sizes: dict[bytes, int]
    known: dict[bytes, Place]
    kept: frozenset[str]
    keep_all: bool


class Dehydration:
    """One run, from the check of the fence to the collection of garbage.

    Args:
        where: The module's place.
        head: The head that the source grew from; the commit happens over this one only.
        source: The directory; it is read only.
        index: The stat cache to use and to renew.
        keep_previous: Keep the last clean manifest and its blobs beside the new one.
        meter: Progress and cancellation.
        workers: Threads for requests.
    """

    def __init__(
        self, where: Location, head: Head, source: Path, *, index: Path, keep_previous: bool, meter: Meter, workers: int
    ) -> None:
        self._where, self._head, self._source, self._index_path = where, head, source, index
        # A second dehydration after a crash keeps the older one: it is the last that is known to be clean.
        self._kept = (head.previous or head.manifest) if keep_previous else None
        self._meter = meter
        self._workers = workers

    def run(self) -> Dehydrated:
        """Do it.

        Raises:
            HeadConflict: The head has moved; nothing was committed.
            SourceChanged: The source would not hold still.
            BackendsError: Anything else; the previous head is intact.
        """
        try:
            self._check_fence()
            self._where.store.sweep_unfinished(self._where.prefix)
            before = self._look()
            with Pool(self._workers) as pool:
                sender = Sender(
                    self._where, self._head, known=before.known, sizes=before.sizes, pool=pool, meter=self._meter
                )
                index = stat_index.load(self._index_path, self._head.manifest)
                taken, manifest = sender.take(self._source, index)
                digest = sender.send_manifest(manifest)
            stored = self._verify(manifest, digest)
            self._meter.phase("commit")
            self._meter.check()
            head = self._where.write_head(
                replace(self._head, manifest=digest, previous=self._kept), over=self._head.etag
            )
        except PreconditionFailed as error:
            raise self._conflict() from error
        except CorruptData:
            # What is missing may be what a new owner has collected: then the fence is the news, not the damage.
            self._check_fence()
            raise
        self._save_index(taken, digest)
        needed = before.kept | {digest} | {ref.digest.hex() for ref in manifest.blobs}
        garbage = [] if before.keep_all else [name for name in stored if name not in needed]
        deleted, failure = self._collect(head, garbage)
        stats = Stats(
            files=len(taken.contents),
            bytes=manifest.total_bytes,
            files_hashed=sender.files_hashed,
            bytes_hashed=sender.bytes_hashed,
            blobs_sent=sender.blobs_sent,
            bytes_sent=sender.bytes_sent,
            skipped=taken.skipped,
            blobs_deleted=deleted,
            collect_error=failure,
        )
        return Dehydrated(head, stats)

    def _check_fence(self) -> None:
        self._meter.check()
        current = self._where.read_head()
        if current is None or current.etag != self._head.etag:
            raise HeadConflict(f"{self._where.head_key} is no longer the head that the data grew from", current=current)

    def _conflict(self) -> HeadConflict:
        current = self._where.peek_head()
        return HeadConflict(f"{self._where.head_key} was changed while the data was sent", current=current)

    def _look(self) -> _Before:
        """Learn what is stored, and which blobs the manifest to be kept needs."""
        stored = self._where.list_blobs()
        sizes = {bytes.fromhex(name): size for name, size in stored.items() if _DIGEST.fullmatch(name)}
        known: dict[bytes, Place] = {}
        kept: set[str] = set()
        keep_all = False
        for digest in {digest for digest in (self._head.manifest, self._kept) if digest is not None}:
            try:
                manifest = self._where.read_manifest(digest)
            except CorruptData:
                # Bad data of the past must not keep today's from its way home: everything is sent anew. But what a
                # manifest needs that can't be read is unknown, so while it is to be kept nothing is deleted.
                keep_all = keep_all or digest == self._kept
                continue
            if digest == self._kept:
                kept = {digest} | {ref.digest.hex() for ref in manifest.blobs}
            for entry in manifest.entries:
                for chunk in entry.chunks:
                    if chunk.blob != HOLE:
                        ref = manifest.blobs[chunk.blob]
                        if sizes.get(ref.digest) == ref.size:
                            known[chunk.content] = Place(ref.digest, chunk.offset, chunk.length)
        return _Before(sizes, known, frozenset(kept), keep_all)

    def _verify(self, manifest: Manifest, digest: str) -> dict[str, int]:
        """Read the manifest back through the gate that hydration uses, and see every blob in one listing."""
        self._meter.phase("verify")
        self._meter.check()
        if self._where.read_manifest(digest) != manifest:
            raise CorruptData("the manifest reads back differently", blob=self._where.blobs + digest)
        stored = self._where.list_blobs()
        for ref in manifest.blobs:
            if stored.get(ref.digest.hex()) != ref.size:
                key = self._where.blobs + ref.digest.hex()
                raise CorruptData(
                    f"the blob {key} is missing or has another size after it was sent",
                    blob=key,
                    hint="The backend lost an acknowledged write; dehydrate again, and check the backend.",
                )
        return stored

    def _save_index(self, taken: Taken, digest: str) -> None:
        settled = taken.began_ns - stat_index.RACY_NS
        files = [
            (item, taken.contents[item.path]) for item in taken.found if item.kind == "f" and item.ctime_ns < settled
        ]
        # The commit stands without an index; the old one is of another manifest, so the next run hashes everything.
        with contextlib.suppress(OSError):
            stat_index.save(self._index_path, digest, files)

    def _collect(self, head: Head, garbage: list[str]) -> tuple[int, BackendsError | None]:
        self._meter.phase("collect", files_total=len(garbage))
        guard = self._where.guard(head)
        deleted = 0
        try:
            for start in range(0, len(garbage), _BATCH):
                self._meter.check()
                batch = [self._where.blobs + name for name in garbage[start : start + _BATCH]]
                deleted += self._where.store.delete_many(batch, guard=guard)
                self._meter.add(files=len(batch))
        except TransferCancelled:
            pass  # after the commit, to be cancelled means to return sooner
        except BackendsError as error:
            return deleted, error
        return deleted, None
