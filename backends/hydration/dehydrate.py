"""Directory to backend: send what is missing, write the manifest, prove that all is there, move the head.

The order is the safety: blobs, then manifest, then one listing with sizes, then a second look at the source, then the
conditional write of the head, and only then the deletion of what nothing needs. Until the head moves, everything sent
is garbage; after it moved, nothing that fails can undo the commit, so nothing that fails is reported as its failure.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from blake3 import blake3

from backends.directory import DIRECTORY, DirTree
from backends.errors import (
    BackendsError,
    CorruptData,
    HeadConflict,
    PreconditionFailed,
    SourceChanged,
    TransferCancelled,
    local_errors,
)
from backends.hydration import index as stat_index
from backends.hydration.chunk import read_at, read_chunks
from backends.hydration.head import Head
from backends.hydration.location import Location
from backends.hydration.manifest import FORMAT, HOLE, BlobRef, Chunk, Entry, Manifest
from backends.hydration.pack import Packer, Place, worth_rewriting
from backends.hydration.pool import Pool
from backends.hydration.progress import Meter
from backends.hydration.scan import Found, scan, settle

_ATTEMPTS = 3  # how often a source that changes while it is read is read anew
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


@dataclass(slots=True)
class _Taken:
    """One reading of the source."""

    found: list[Found]
    skipped: int
    began_ns: int
    contents: dict[bytes, stat_index.Contents] = field(default_factory=dict[bytes, stat_index.Contents])


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
        self._sent_blobs = self._sent_bytes = self._hashed_files = self._hashed_bytes = 0
        self._keep_all = False

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
            needed_before = self._load_before()
            with Pool(self._workers) as self._pool:
                taken, manifest, digest = self._take()
            self._meter.phase("commit")
            self._meter.check()
            head = self._where.write_head(
                replace(self._head, manifest=digest, previous=self._kept), over=self._head.etag
            )
        except PreconditionFailed as error:
            raise self._conflict() from error
        self._save_index(taken, digest)
        stats = Stats(
            files=len(taken.contents),
            bytes=manifest.total_bytes,
            files_hashed=self._hashed_files,
            bytes_hashed=self._hashed_bytes,
            blobs_sent=self._sent_blobs,
            bytes_sent=self._sent_bytes,
            skipped=taken.skipped,
        )
        needed = needed_before | {digest} | {ref.digest.hex() for ref in manifest.blobs}
        deleted, failure = self._collect(head, needed)
        return Dehydrated(head, replace(stats, blobs_deleted=deleted, collect_error=failure))

    def _check_fence(self) -> None:
        self._meter.check()
        current = self._where.read_head()
        if current is None or current.etag != self._head.etag:
            raise HeadConflict(f"{self._where.head_key} is no longer the head that the data grew from", current=current)

    def _conflict(self) -> HeadConflict:
        try:
            current = self._where.read_head()
        except BackendsError:
            current = None
        return HeadConflict(f"{self._where.head_key} was changed while the data was sent", current=current)

    def _load_before(self) -> set[str]:
        """Learn what is stored, and which blobs the manifest to be kept needs."""
        stored = self._where.list_blobs()
        sizes = {bytes.fromhex(name): size for name, size in stored.items() if len(name) == 64 and _is_hex(name)}
        known: dict[bytes, Place] = {}
        kept: set[str] = set()
        for digest in {self._head.manifest, self._kept} - {None}:
            assert digest is not None
            try:
                manifest = self._where.read_manifest(digest)
            except CorruptData:
                # Bad data of the past must not keep today's from its way home: everything is sent anew. But what a
                # manifest needs that can't be read is unknown, so while it is to be kept nothing is deleted.
                self._keep_all = self._keep_all or digest == self._kept
                continue
            if digest == self._kept:
                kept = {digest} | {ref.digest.hex() for ref in manifest.blobs}
            for entry in manifest.entries:
                for chunk in entry.chunks:
                    if chunk.blob != HOLE:
                        ref = manifest.blobs[chunk.blob]
                        if sizes.get(ref.digest) == ref.size:
                            known[chunk.content] = Place(ref.digest, chunk.offset, chunk.length)
        self._packer = Packer(self._send, known, sizes)
        return kept

    def _take(self) -> tuple[_Taken, Manifest, str]:
        index = stat_index.load(self._index_path, self._head.manifest)
        for attempt in range(_ATTEMPTS):
            try:
                with local_errors(f"reading {self._source}"):
                    root = os.open(self._source, DIRECTORY)
                    with DirTree(root) as tree:
                        taken = self._read(tree, index)
                        manifest, digest = self._send_manifest(taken)
                        self._verify(manifest, digest)
                        if scan(tree, self._meter).found != taken.found:
                            raise SourceChanged(f"{self._source} changed while it was sent")
                        return taken, manifest, digest
            except SourceChanged:
                if attempt + 1 == _ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def _read(self, tree: DirTree, index: stat_index.Index) -> _Taken:
        self._meter.phase("scan")
        began = time.time_ns()
        scanned = scan(tree, self._meter)
        settle(scanned.found)
        taken = _Taken(scanned.found, scanned.skipped, began)
        unread: list[Found] = []
        for item in scanned.found:
            if item.kind == "f":
                contents = index.contents(item)
                if contents is not None and all(not content or self._packer.has(content) for content, _ in contents):
                    taken.contents[item.path] = contents
                else:
                    unread.append(item)
        self._meter.phase("upload", bytes_total=sum(item.size for item in unread), files_total=len(unread))
        for item in unread:
            taken.contents[item.path] = tuple(self._read_file(tree, item))
            self._meter.add(files=1)
            self._hashed_files += 1
            self._hashed_bytes += item.size
        self._packer.flush()
        self._rewrite(tree, taken)
        self._pool.drain()
        return taken

    def _read_file(self, tree: DirTree, item: Found) -> Iterator[tuple[bytes, int]]:
        for data, length in read_chunks(tree, item):
            self._meter.check()
            content = b"" if data is None else blake3(data).digest()
            if data is not None:
                self._packer.add(content, data)
            self._meter.add(bytes_=length)
            yield content, length

    def _rewrite(self, tree: DirTree, taken: _Taken) -> None:
        """Move live contents out of packs that are mostly dead, or small and many."""
        live: dict[bytes, int] = {}
        for content in {content for contents in taken.contents.values() for content, _ in contents if content}:
            place = self._packer.places[content]
            live[place.blob] = live.get(place.blob, 0) + place.length
        packs = worth_rewriting(live, self._packer.sizes)
        if not packs:
            return
        for item in taken.found:
            offset = 0
            for content, length in taken.contents.get(item.path, ()):
                place = self._packer.places.get(content)
                if place is not None and place.blob in packs:
                    self._meter.check()
                    data = read_at(tree, item, offset, length)
                    if blake3(data).digest() != content:
                        raise SourceChanged(f"{os.fsdecode(item.path)!r} changed while it was sent")
                    del self._packer.places[content]
                    self._packer.add(content, data)
                offset += length
        self._packer.flush()

    def _send(self, digest: bytes, data: bytes | bytearray) -> None:
        self._sent_blobs += 1
        self._sent_bytes += len(data)
        self._pool.submit(self._put, digest, data)

    def _put(self, digest: bytes, data: bytes | bytearray) -> None:
        self._meter.check()
        self._where.store.put(self._where.blobs + digest.hex(), data, guard=self._where.guard(self._head))

    def _send_manifest(self, taken: _Taken) -> tuple[Manifest, str]:
        manifest = _build(taken, self._packer)
        data = manifest.encode()
        digest = blake3(data).digest()
        if digest not in self._packer.sizes:
            self._packer.sizes[digest] = len(data)
            self._send(digest, data)
            self._pool.drain()
        return manifest, digest.hex()

    def _verify(self, manifest: Manifest, digest: str) -> None:
        """Read the manifest back through the gate that hydration uses, and see every blob in one listing."""
        self._meter.phase("verify")
        self._meter.check()
        if self._where.read_manifest(digest) != manifest:
            raise CorruptData("the manifest reads back differently", blob=self._where.blobs + digest)
        self._stored = self._where.list_blobs()
        for ref in manifest.blobs:
            if self._stored.get(ref.digest.hex()) != ref.size:
                key = self._where.blobs + ref.digest.hex()
                raise CorruptData(
                    f"the blob {key} is missing or has another size after it was sent",
                    blob=key,
                    hint="The backend lost an acknowledged write; dehydrate again, and check the backend.",
                )

    def _save_index(self, taken: _Taken, digest: str) -> None:
        settled = taken.began_ns - stat_index.RACY_NS
        files = [
            (item, taken.contents[item.path]) for item in taken.found if item.kind == "f" and item.ctime_ns < settled
        ]
        try:
            stat_index.save(self._index_path, digest, files)
        except OSError:
            # The commit stands; without an index, or with the old one (of another manifest), the next run hashes.
            return

    def _collect(self, head: Head, needed: set[str]) -> tuple[int, BackendsError | None]:
        if self._keep_all:
            return 0, None
        garbage = [self._where.blobs + name for name in self._stored if name not in needed]
        self._meter.phase("collect", files_total=len(garbage))
        deleted = 0
        try:
            for start in range(0, len(garbage), _BATCH):
                self._meter.check()
                deleted += self._where.store.delete_many(garbage[start : start + _BATCH], guard=self._where.guard(head))
        except TransferCancelled:
            pass  # after the commit, to be cancelled means to return sooner
        except BackendsError as error:
            return deleted, error
        return deleted, None


def _build(taken: _Taken, packer: Packer) -> Manifest:
    order: dict[bytes, int] = {}
    entries: list[Entry] = []
    for item in taken.found:
        if item.kind == "h":
            entries.append(Entry(item.path, "h", target=item.target))
            continue
        chunks: list[Chunk] = []
        for content, length in taken.contents.get(item.path, ()):
            if content:
                place = packer.places[content]
                chunks.append(Chunk(content, order.setdefault(place.blob, len(order)), place.offset, length))
            else:
                chunks.append(Chunk(b"", HOLE, 0, length))
        entries.append(Entry(item.path, item.kind, item.mode, item.mtime_ns, item.size, item.target, tuple(chunks)))
    blobs = tuple(BlobRef(blob, packer.sizes[blob]) for blob in order)
    return Manifest(FORMAT, blobs, tuple(entries))


def _is_hex(name: str) -> bool:
    return all(character in "0123456789abcdef" for character in name)
