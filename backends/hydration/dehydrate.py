"""Directory to backend: send what is missing, write the manifest, prove that all is there, move the head.

The order is the safety: blobs, then a second look at the source, then the manifest, then one listing with sizes, then
the conditional write of the head, and only then the deletion of what nothing needs. Until the head moves, everything
sent is garbage; after it moved, nothing that fails can undo the commit, so nothing that fails is reported as its failure.

Where one look at the source finds what the stat cache records for the committed manifest, and one listing finds that
manifest's blobs, everything is home already and nothing is written. No second look is needed then: each name was, when
it was looked at, as it had been recorded, so by its ctime it was so all along, and therefore all of them were at the
moment when the look began.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backends.errors import BackendsError, CorruptData, HeadConflict, PreconditionFailed, TransferCancelled
from backends.hydration import index as stat_index
from backends.hydration.head import Head
from backends.hydration.location import Location
from backends.hydration.manifest import Manifest
from backends.hydration.pool import TransferPool
from backends.hydration.progress import Meter
from backends.hydration.send import Sender, Taken, look
from backends.hydration.survey import survey

_BATCH = 500  # keys deleted between two looks at the caller's token


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
        release_error: What stopped the lease from being given back where nothing else had to be written; it runs out.
    """

    files: int
    bytes: int
    files_hashed: int = 0
    bytes_hashed: int = 0
    blobs_sent: int = 0
    bytes_sent: int = 0
    skipped: int = 0
    blobs_deleted: int = 0
    collect_error: BackendsError | None = None
    release_error: BackendsError | None = None


@dataclass(frozen=True, slots=True)
class Dehydrated:
    """A committed dehydration: the module's head, which is the one it had where nothing changed, and what was done."""

    head: Head
    stats: Stats


class Dehydration:
    """One run, from the check of the fence to the collection of garbage.

    Args:
        where: The module's place.
        head: The head that the source grew from; the commit happens over this one, or a renewal of it, only.
        source: The directory; it is read only.
        index: The stat cache to use and to renew.
        keep_previous: Keep the last clean manifest and its blobs beside the new one.
        release: Give the lease back.
        meter: Progress and cancellation.
        pool: Threads for reading, hashing and requests.
        workers: How many of them at most.
    """

    def __init__(
        self,
        where: Location,
        head: Head,
        source: Path,
        *,
        index: Path,
        keep_previous: bool,
        release: bool,
        meter: Meter,
        pool: TransferPool,
        workers: int,
    ) -> None:
        self._where, self._head, self._source, self._index_path = where, head, source, index
        self._keep_previous, self._release = keep_previous, release
        self._meter = meter
        self._pool, self._workers = pool, workers
        self._sender: Sender | None = None

    def run(self) -> Dehydrated:
        """Do it.

        Raises:
            HeadConflict: The head has moved; nothing was committed.
            SourceChanged: The source would not hold still.
            BackendsError: Anything else; the previous head is intact.
        """
        try:
            self._check_fence()
            index = stat_index.load(self._index_path)
            if index.manifest != self._head.manifest:
                index = stat_index.Index()
            taken, stored = self._look()
            if index.proves(taken.scan) and index.blobs.items() <= stored.items():
                return self._keep(Stats(index.files, index.size, skipped=taken.scan.skipped), {*index.blobs}, stored)
            return self._send(index, taken, stored)
        except PreconditionFailed as error:
            self._withdraw()
            raise self._conflict() from error
        except CorruptData:
            # What is missing may be what a new owner has collected: then the fence is the news, not the damage.
            try:
                self._check_fence()
            except HeadConflict:
                self._withdraw()
                raise
            raise

    def _look(self) -> tuple[Taken, dict[str, int]]:
        """See what is in the source, and meanwhile what is in the store. Neither reads any content."""
        stored: dict[str, int] = {}

        def list_blobs() -> None:
            self._where.store.sweep_unfinished(self._where.prefix)
            stored.update(self._where.list_blobs())

        with self._pool.lane(1, self._meter.cancelled) as lane:
            lane.submit(list_blobs)
            taken = look(self._source, self._meter)
            lane.drain()
        return taken, stored

    def _send(self, index: stat_index.Index, taken: Taken, stored: dict[str, int]) -> Dehydrated:
        """Send what is new and commit the manifest, unless it says what the committed one says."""
        # A second dehydration after a crash keeps the older one: it is the last that is known to be clean.
        kept = (self._head.previous or self._head.manifest) if self._keep_previous else None
        before = survey(self._where, self._head.manifest, kept, stored)
        self._sender = sender = Sender(
            self._where,
            self._head,
            known=before.known,
            sizes=before.sizes,
            pool=self._pool,
            workers=self._workers,
            meter=self._meter,
        )
        taken, manifest = sender.take(self._source, index, taken)
        old = before.manifest
        if old is not None and self._head.manifest is not None and manifest.describes_same(old):
            # Everything that it needs was in the listing: what was not would have been sent, under another name.
            self._save_index(taken, self._head.manifest, old)
            needed = {self._head.manifest, *_names(old)}
            if sender.blobs_sent:  # by a reading that was found inconsistent
                stored = self._where.list_blobs()
            return self._keep(_stats(old, taken, sender), needed, stored)
        digest = sender.send_manifest(manifest)
        stored = self._verify(manifest, digest)
        head = self._commit(manifest=digest, previous=kept)
        self._save_index(taken, digest, manifest)
        needed = {digest, *_names(manifest)}
        garbage = () if before.kept is None else sorted(stored.keys() - needed - before.kept)
        return self._collected(head, _stats(manifest, taken, sender), garbage)

    def _keep(self, stats: Stats, needed: set[str], stored: dict[str, int]) -> Dehydrated:
        """Leave the committed manifest as it is, and the head too unless something else has to change.

        There is nothing to keep beside an unchanged manifest, but an older one may be there: it stays or goes.
        """
        previous = self._head.previous if self._keep_previous else None
        kept = survey(self._where, None, previous, stored).kept
        garbage = () if kept is None else sorted(stored.keys() - needed - kept)
        head = self._head
        if garbage or previous != head.previous:
            # Garbage may have been written in this very term, by an attempt that was interrupted. Only deletes in a
            # later term may name it: one that arrives late must not strike what the next attempt sends.
            head = self._commit(manifest=head.manifest, previous=previous)
        elif self._release and head.lease_ms:
            try:
                head = self._replace(head.manifest, previous, renewing=True)
            except BackendsError as error:  # all is at home: a lease that stays behind is no failure of this
                stats = replace(stats, release_error=error)
        return self._collected(head, stats, garbage)

    def _check_fence(self) -> None:
        self._meter.check()
        current = self._where.read_head()
        if current is None or current.term != self._head.term:
            raise HeadConflict(f"{self._where.head_key} is no longer the head that the data grew from", current=current)
        self._head = current  # it may have been renewed since

    def _conflict(self) -> HeadConflict:
        current = self._where.peek_head()
        return HeadConflict(f"{self._where.head_key} was changed while the data was sent", current=current)

    def _withdraw(self) -> None:
        """Where the module was erased, take back what arrived after that.

        A store that checks a guard only before a write takes one that was under way then. Where another owner holds the
        module, it is garbage, which that owner collects.
        """
        if self._sender is None:
            return
        with contextlib.suppress(BackendsError):  # the conflict is what is to be told; another erasure finds the rest
            # Read here, and not taken from the conflict: what can't be read is not erased, and this owner's own blobs
            # may be another's by a commit of which the acknowledgement was lost.
            current = self._where.read_head()
            if current is None or current.tombstone:
                self._sender.withdraw()

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

    def _commit(self, *, manifest: str | None, previous: str | None) -> Head:
        self._meter.phase("commit")
        self._meter.check()
        return self._replace(manifest, previous, renewing=False)

    def _replace(self, manifest: str | None, previous: str | None, *, renewing: bool) -> Head:
        """Move the head, over a renewal that came meanwhile too: then what that says of the lease stays said."""

        def change(current: Head) -> Head:
            if current.term != self._head.term:
                raise PreconditionFailed(f"{self._where.head_key} has changed")
            lease = 0 if self._release else current.lease_ms
            return replace(current, manifest=manifest, previous=previous, lease_ms=lease)

        return self._where.change_head(self._head, change, renewing=renewing)

    def _save_index(self, taken: Taken, name: str, manifest: Manifest) -> None:
        # The commit stands without an index; the old one is of another manifest, so the next run hashes everything.
        with contextlib.suppress(OSError):
            stat_index.save(
                self._index_path,
                name,
                manifest,
                taken.scan.found,
                taken.contents,
                settled_ns=taken.began_ns - stat_index.RACY_NS,
            )

    def _collected(self, head: Head, stats: Stats, garbage: Sequence[str]) -> Dehydrated:
        self._meter.phase("collect", files_total=len(garbage))
        guard = self._where.guard(head)
        deleted, failure = 0, None
        try:
            for start in range(0, len(garbage), _BATCH):
                self._meter.check()
                batch = [self._where.blobs + name for name in garbage[start : start + _BATCH]]
                deleted += self._where.store.delete_many(batch, guard=guard)
                self._meter.add(files=len(batch))
        except TransferCancelled:
            pass  # after the commit, to be cancelled means to return sooner
        except BackendsError as error:
            failure = error
        return Dehydrated(head, replace(stats, blobs_deleted=deleted, collect_error=failure))


def _names(manifest: Manifest) -> set[str]:
    return {ref.digest.hex() for ref in manifest.blobs}


def _stats(manifest: Manifest, taken: Taken, sender: Sender) -> Stats:
    return Stats(
        len(taken.contents),
        manifest.total_bytes,
        files_hashed=sender.files_hashed,
        bytes_hashed=sender.bytes_hashed,
        blobs_sent=sender.blobs_sent,
        bytes_sent=sender.bytes_sent,
        skipped=taken.scan.skipped,
    )
