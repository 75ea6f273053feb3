"""Reading a source and sending what the store lacks of it, without committing anything."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3

from backends.directory import DIRECTORY, DirTree
from backends.errors import SourceChanged, local_errors
from backends.hydration.chunk import read_at, read_chunks
from backends.hydration.head import Head
from backends.hydration.index import Contents, Index
from backends.hydration.location import Location
from backends.hydration.manifest import FORMAT, HOLE, TIME_LIMIT, BlobRef, Chunk, Entry, Manifest
from backends.hydration.pack import Packer, Place, worth_rewriting
from backends.hydration.pool import Pool
from backends.hydration.progress import Meter
from backends.hydration.scan import Found, scan, settle

_ATTEMPTS = 3  # how often a source that changes while it is read is read anew


@dataclass(slots=True)
class Taken:
    """One consistent reading of the source.

    Attributes:
        found: Its names.
        skipped: Sockets and fifos passed over.
        began_ns: When the scan began, in ns since the epoch.
        contents: Each file's chunks, by path.
    """

    found: list[Found]
    skipped: int
    began_ns: int
    contents: dict[bytes, Contents] = field(default_factory=dict[bytes, Contents])


class Sender:
    """Sends the contents of one source; every write is guarded by the head that the source grew from.

    Args:
        where: The module's place.
        head: The head.
        known: Places of contents that are stored already.
        sizes: Sizes in bytes of the blobs that are stored already, by digest.
        pool: Threads for the requests.
        meter: Progress and cancellation.
    """

    def __init__(
        self,
        where: Location,
        head: Head,
        *,
        known: dict[bytes, Place],
        sizes: dict[bytes, int],
        pool: Pool,
        meter: Meter,
    ) -> None:
        self.blobs_sent = self.bytes_sent = self.files_hashed = self.bytes_hashed = 0
        self._where, self._guard = where, where.guard(head)
        self._salt = head.salt
        self._packer = Packer(self._send, known, sizes, self._salt)
        self._pool, self._meter = pool, meter

    def take(self, source: Path, index: Index) -> tuple[Taken, Manifest]:
        """Read a source until a reading is consistent, and send what is missing of it.

        Consistent: a second look at the whole tree, after everything was sent, finds what the first one found. The
        manifest is thus the state of one moment, not of many.

        Args:
            source: The directory.
            index: What is known of its files.

        Returns:
            The reading, and the manifest of it; all of its blobs were acknowledged.

        Raises:
            SourceChanged: It would not hold still.
            LocalDiskError: It could not be read.
            BackendsError: The store failed, or the token was set.
        """
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._take(source, index)
            except SourceChanged:
                continue  # what was sent is not sent again
        return self._take(source, index)

    def send_manifest(self, manifest: Manifest) -> str:
        """Write the manifest's blob; acknowledged on return. Returns its digest in hex."""
        data = manifest.encode()
        digest = blake3(data).digest()
        # Always written, even where the listing has it: it is what the head will point to.
        self._send(digest, data)
        self._pool.drain()
        return digest.hex()

    def _take(self, source: Path, index: Index) -> tuple[Taken, Manifest]:
        with local_errors(f"reading {source}"), DirTree(os.open(source, DIRECTORY)) as tree:
            self._meter.phase("scan")
            began = time.time_ns()
            scanned = scan(tree, self._meter)
            settle(scanned.found)
            taken = Taken(scanned.found, scanned.skipped, began)
            self._read(tree, taken, index)
            self._packer.flush()
            self._rewrite(tree, taken)
            self._pool.drain()
            if scan(tree, self._meter).found != taken.found:
                raise SourceChanged(f"{source} changed while it was sent")
            return taken, _build(taken, self._packer, self._salt)

    def _read(self, tree: DirTree, taken: Taken, index: Index) -> None:
        unread: list[Found] = []
        for item in taken.found:
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
            self.files_hashed += 1
            self.bytes_hashed += item.size

    def _read_file(self, tree: DirTree, item: Found) -> Iterator[tuple[bytes, int]]:
        self._meter.check()
        for data, length in read_chunks(tree, item):
            self._meter.check()
            content = b"" if data is None else blake3(data).digest()
            if data is not None:
                self._packer.add(content, data)
            self._meter.add(bytes_=length)
            yield content, length

    def _rewrite(self, tree: DirTree, taken: Taken) -> None:
        """Move live contents out of packs that are mostly dead, or small and many."""
        live: dict[bytes, int] = {}
        used = {content for contents in taken.contents.values() for content, _ in contents if content}
        for place in map(self._packer.places.__getitem__, used):
            live[place.blob] = live.get(place.blob, 0) + place.length
        packs = worth_rewriting(live, self._packer.sizes)
        moving = {content for content in used if self._packer.places[content].blob in packs}
        for item in taken.found if moving else ():
            offset = 0
            for content, length in taken.contents.get(item.path, ()):
                if content in moving:
                    self._meter.check()
                    data = read_at(tree, item, offset, length)
                    if blake3(data).digest() != content:
                        raise SourceChanged(f"{os.fsdecode(item.path)!r} changed while it was sent")
                    moving.discard(content)
                    self._packer.move(content, data)
                offset += length
        self._packer.flush()

    def _send(self, digest: bytes, data: bytes | bytearray) -> None:
        self.blobs_sent += 1
        self.bytes_sent += len(data)
        self._pool.submit(self._put, digest, data)

    def _put(self, digest: bytes, data: bytes | bytearray) -> None:
        self._meter.check()
        self._where.store.put(self._where.blobs + digest.hex(), data, guard=self._guard)


def _build(taken: Taken, packer: Packer, salt: bytes) -> Manifest:
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
        time_ns = max(-TIME_LIMIT, min(item.mtime_ns, TIME_LIMIT))
        entries.append(Entry(item.path, item.kind, item.mode, time_ns, item.size, item.target, tuple(chunks)))
    blobs = tuple(BlobRef(blob, packer.sizes[blob]) for blob in order)
    return Manifest(FORMAT, salt, blobs, tuple(entries))
