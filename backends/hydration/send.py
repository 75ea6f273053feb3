"""Reading a source and sending what the store lacks of it, without committing anything."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3

from backends.directory import DIRECTORY, DirTree
from backends.errors import SourceChanged, local_errors
from backends.hydration.chunk import read_at
from backends.hydration.head import Head
from backends.hydration.index import HOLE_HASH, Contents, Index, hashes
from backends.hydration.location import Location
from backends.hydration.manifest import (
    CHUNK_SIZE,
    FORMAT,
    HOLE,
    TIME_LIMIT,
    BlobRef,
    Chunk,
    Entry,
    Manifest,
)
from backends.hydration.pack import Packer, Place, worth_rewriting
from backends.hydration.pool import Lane, TransferPool
from backends.hydration.progress import Meter
from backends.hydration.reading import Reading
from backends.hydration.scan import Found, Scan, scan, settle

_ATTEMPTS = 3  # how often a source that changes while it is read is read anew


@dataclass(slots=True)
class Taken:
    """One look at the source, and the reading that followed it.

    Attributes:
        scan: Its names.
        began_ns: When the scan began, in ns since the epoch.
        contents: Each file's contents, by path.
    """

    scan: Scan
    began_ns: int
    contents: dict[bytes, Contents] = field(default_factory=dict[bytes, Contents])


def look(source: Path, meter: Meter) -> Taken:
    """See what a source holds, without reading any of it; again where it changes meanwhile.

    Args:
        source: The directory.
        meter: Progress and cancellation.

    Raises:
        SourceChanged, UnsupportedFile, LocalDiskError, TransferCancelled: As `scan` says.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return _look(source, meter)
        except SourceChanged:
            continue
    return _look(source, meter)


def _look(source: Path, meter: Meter) -> Taken:
    meter.phase("scan")
    with local_errors(f"reading {source}"), DirTree(os.open(source, DIRECTORY)) as tree:
        began = time.time_ns()
        scanned = scan(tree, meter)
    settle(scanned.newest_ns)
    return Taken(scanned, began)


class Sender:
    """Sends the contents of one source; every write is guarded by the head that the source grew from.

    Args:
        where: The module's place.
        head: The head.
        known: Places of contents that are stored already.
        sizes: Sizes in bytes of the blobs that are stored already, by digest.
        pool: Threads for reading, hashing and requests.
        workers: How many of them at most.
        meter: Progress and cancellation.
    """

    def __init__(
        self,
        where: Location,
        head: Head,
        *,
        known: dict[bytes, Place],
        sizes: dict[bytes, int],
        pool: TransferPool,
        workers: int,
        meter: Meter,
    ) -> None:
        self.blobs_sent = self.bytes_sent = self.files_hashed = self.bytes_hashed = 0
        self._where, self._guard, self._salt = where, where.guard(head), head.salt
        self._places, self._sizes = known, sizes
        self._pool, self._workers, self._meter = pool, workers, meter
        self._lock = threading.Lock()
        self._tried: set[str] = set()

    def take(self, source: Path, index: Index, taken: Taken) -> tuple[Taken, Manifest]:
        """Read a source until a reading is consistent, and send what is missing of it.

        Consistent: a second look at the whole tree, after everything was sent, finds what the first one found. The
        manifest is thus the state of one moment, not of many.

        Args:
            source: The directory.
            index: What is known of its files.
            taken: The first look at it.

        Returns:
            The reading, and the manifest of it; all of its blobs were acknowledged.

        Raises:
            SourceChanged: It would not hold still.
            LocalDiskError: It could not be read.
            BackendsError: The store failed, or the token was set.
        """
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._take(source, index, taken)
            except SourceChanged:
                taken = look(source, self._meter)  # what was sent is not sent again
        return self._take(source, index, taken)

    def send_manifest(self, manifest: Manifest) -> str:
        """Write the manifest's blob; acknowledged on return. Returns its digest in hex."""
        data = manifest.encode()
        digest = blake3(data).digest()
        # Always written, even where the listing has it: it is what the head will point to.
        self._put(digest, data)
        return digest.hex()

    def _take(self, source: Path, index: Index, taken: Taken) -> tuple[Taken, Manifest]:
        with (
            local_errors(f"reading {source}"),
            DirTree(os.open(source, DIRECTORY)) as tree,
            self._pool.lane(self._workers, self._meter.cancelled) as lane,
        ):
            packer = Packer(lane, self._put, self._places, self._sizes, self._salt)
            unread = self._unread(taken, index, packer)
            taken.contents.update(Reading(tree, lane, packer, self._meter).run(unread))
            self.files_hashed += len(unread)
            self.bytes_hashed += sum(item.size for item in unread)
            self._rewrite(tree, lane, packer, taken)
            if scan(tree, self._meter.quiet()).found != taken.scan.found:
                raise SourceChanged(f"{source} changed while it was sent")
            return taken, _build(taken, packer, self._salt)

    def _unread(self, taken: Taken, index: Index, packer: Packer) -> list[Found]:
        """The files whose content the index does not vouch for; those of the others are entered."""
        unread: list[Found] = []
        for item in taken.scan.found:
            if item.kind == "f":
                contents = index.contents(item)
                if contents is not None and all(packer.has(hash_) or hash_ == HOLE_HASH for hash_ in hashes(contents)):
                    taken.contents[item.path] = contents
                else:
                    unread.append(item)
        return unread

    def _rewrite(self, tree: DirTree, lane: Lane, packer: Packer, taken: Taken) -> None:
        """Move live contents out of packs that are mostly dead, or small and many."""
        live: dict[bytes, int] = {}
        used = {hash_ for contents in taken.contents.values() for hash_ in hashes(contents)} - {HOLE_HASH}
        for place in map(packer.places.__getitem__, used):
            live[place.blob] = live.get(place.blob, 0) + place.length
        packs = worth_rewriting(live, packer.sizes)
        moving = {content for content in used if packer.places[content].blob in packs}
        for item in taken.scan.found if moving else ():
            for number, content in enumerate(hashes(taken.contents.get(item.path, b""))):
                if content in moving:
                    self._meter.check()
                    offset = number * CHUNK_SIZE
                    data = read_at(tree, item, offset, min(CHUNK_SIZE, item.size - offset))
                    if blake3(data).digest() != content:
                        raise SourceChanged(f"{os.fsdecode(item.path)!r} changed while it was sent")
                    moving.discard(content)
                    packer.move(content, data)
        packer.flush()
        lane.drain()

    def withdraw(self) -> None:
        """Remove for good what was sent and is still there, since nothing of an erased module may stay.

        Nobody else has these names. To be called when nothing is under way any more.

        Raises:
            BackendsError: The store failed.
        """
        store = self._where.store
        for info in [info for info in store.list(self._where.blobs) if info.key in self._tried]:
            if info.etag is not None:  # stores that do without check a guard together with the write
                store.expunge(info.key, if_match=info.etag)

    def _put(self, digest: bytes, data: bytes | bytearray) -> None:
        self._meter.check()
        key = self._where.blobs + digest.hex()
        with self._lock:
            self._tried.add(key)
        self._where.store.put(key, data, guard=self._guard)
        with self._lock:
            self.blobs_sent += 1
            self.bytes_sent += len(data)


def _build(taken: Taken, packer: Packer, salt: bytes) -> Manifest:
    order: dict[bytes, int] = {}
    entries: list[Entry] = []
    for item in taken.scan.found:
        if item.kind == "h":
            entries.append(Entry(item.path, "h", target=item.target))
            continue
        chunks: list[Chunk] = []
        for number, content in enumerate(hashes(taken.contents.get(item.path, b""))):
            length = min(CHUNK_SIZE, item.size - number * CHUNK_SIZE)
            if content == HOLE_HASH:
                chunks.append(Chunk(b"", HOLE, 0, length))
            else:
                place = packer.places[content]
                chunks.append(Chunk(content, order.setdefault(place.blob, len(order)), place.offset, length))
        time_ns = max(-TIME_LIMIT, min(item.mtime_ns, TIME_LIMIT))
        entries.append(Entry(item.path, item.kind, item.mode, time_ns, item.size, item.target, tuple(chunks)))
    blobs = tuple(BlobRef(blob, packer.sizes[blob]) for blob in order)
    return Manifest(FORMAT, salt, blobs, tuple(entries))
