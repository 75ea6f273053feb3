"""Filling a fresh directory with what a manifest describes: contents from blobs, or from a local copy where one is.

The manifest has passed its gate (no name leads out, no name occurs twice, parents are directories of the manifest),
and every file is created O_EXCL and O_NOFOLLOW: nothing can be written anywhere else.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

from blake3 import blake3

from backends.directory import Cursor, DirTree
from backends.errors import CorruptData, local_errors
from backends.hydration.durable import make_durable
from backends.hydration.head import SALT_SIZE
from backends.hydration.local import LocalCopy
from backends.hydration.location import Location
from backends.hydration.manifest import HOLE, BlobRef, Entry, Manifest
from backends.hydration.pieces import Piece, batches, ranges
from backends.hydration.pool import Lane
from backends.hydration.progress import Meter


class Filling:
    """The work of one hydration in its fresh directory.

    Args:
        where: The module's place.
        manifest: What to make.
        tree: The directory, empty and private.
        local: A directory that holds some of the contents already, if there is one.
        meter: Progress and cancellation.
    """

    def __init__(
        self, where: Location, manifest: Manifest, tree: DirTree, *, local: LocalCopy | None, meter: Meter
    ) -> None:
        self.blobs = self.received = self.reused = 0
        self._where, self._manifest, self._tree, self._local, self._meter = where, manifest, tree, local, meter
        self._later: list[Entry] = []  # links, and files that more than one write fills
        self._missed: list[Piece] = []  # what was not in the local copy after all
        self._lock = threading.Lock()

    def run(self, lane: Lane) -> None:
        """Do it; on return the tree is complete and on the disk."""
        files = sum(entry.kind == "f" for entry in self._manifest.entries)
        self._meter.phase("download", bytes_total=self._manifest.total_bytes, files_total=files)
        wanted, at_hand = self._prepare()
        for batch in batches(at_hand):
            self._meter.check()
            lane.submit(self._copy, batch)
        self._submit(lane, wanted)
        if at_hand:
            lane.drain()
            self._submit(lane, self._missed)
        lane.drain()
        self._meter.phase("finish")
        self._link_and_dress()
        self._dress_directories()
        self._meter.check()
        folders = [entry.path for entry in self._manifest.entries if entry.kind == "d"]
        make_durable(self._tree, [entry.path for entry in self._manifest.entries if entry.kind == "f"], folders)

    def _prepare(self) -> tuple[list[Piece], list[Piece]]:
        """Make directories, and files that not one single write fills; say what to fetch and what to copy."""
        wanted: list[Piece] = []
        at_hand: list[Piece] = []
        with Cursor(self._tree) as cursor:
            for entry in self._manifest.entries:
                if entry.kind == "d":
                    self._meter.check()
                    if entry.path:
                        fd, name = cursor.at(entry.path)
                        os.mkdir(name, 0o700, dir_fd=fd)
                elif entry.kind == "f":
                    if not _is_whole(entry):
                        self._make(cursor, entry)
                    offset = 0
                    for chunk in entry.chunks:
                        if chunk.blob != HOLE:
                            is_local = self._local is not None and self._local.has(chunk)
                            (at_hand if is_local else wanted).append(Piece(entry, chunk, offset))
                        offset += chunk.length
                else:
                    self._later.append(entry)
        return wanted, at_hand

    def _make(self, cursor: Cursor, entry: Entry) -> None:
        fd = cursor.open(entry.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            if entry.size:
                os.ftruncate(fd, entry.size)
            if any(chunk.blob != HOLE for chunk in entry.chunks):
                self._later.append(entry)
            else:
                _dress(fd, entry)
        finally:
            os.close(fd)
        self._meter.add(bytes_=sum(chunk.length for chunk in entry.chunks if chunk.blob == HOLE), files=1)

    def _submit(self, lane: Lane, pieces: Iterable[Piece]) -> None:
        by_blob: dict[int, list[Piece]] = {}
        for piece in pieces:
            by_blob.setdefault(piece.chunk.blob, []).append(piece)
        for number, wanted in by_blob.items():
            self._meter.check()
            lane.submit(self._fetch, self._manifest.blobs[number], wanted)

    def _fetch(self, ref: BlobRef, wanted: list[Piece]) -> None:
        """Read what is needed of one blob, check it, and write its pieces."""
        self._meter.check()
        # Without a local copy nearly all of a blob is needed, and it is then verified as a whole.
        parts = ranges(ref.size, wanted) if self._local is not None else None
        received = ref.size
        if parts is None:
            view, content = self._read_blob(ref)
            self._place(ref, view, wanted, whole=content)
        else:
            received = sum(part.length for part in parts)
            for part in parts:
                self._meter.check()
                view = memoryview(self._where.read_range(ref.digest.hex(), part.offset, part.length))
                self._place(ref, view, part.pieces, start=part.offset)
        with self._lock:
            self.blobs += 1
            self.received += received

    def _read_blob(self, ref: BlobRef) -> tuple[memoryview, bytes]:
        """A whole blob, checked, and the hash of all of it but the salt."""
        digest = ref.digest.hex()
        key = self._where.blobs + digest
        view = memoryview(self._where.read_blob(digest))
        if len(view) != ref.size:
            raise CorruptData(f"the blob {key} has another size than the manifest says", blob=key)
        # One pass: where a blob is one chunk and the salt, the chunk's hash is on the way to the blob's.
        hasher = blake3(view[:-SALT_SIZE])
        content = hasher.digest()
        if hasher.update(view[-SALT_SIZE:]).digest() != ref.digest:
            raise CorruptData(f"the blob {key} does not match its hash", blob=key)
        return view, content

    def _place(
        self, ref: BlobRef, view: memoryview, pieces: list[Piece], *, start: int = 0, whole: bytes = b""
    ) -> None:
        """Check and write pieces of a blob of which `view` holds the bytes from `start` on."""
        with Cursor(self._tree) as cursor:
            for piece in pieces:
                chunk = piece.chunk
                part = view[chunk.offset - start : chunk.offset - start + chunk.length]
                # Later runs compare by the chunk's own hash, so a manifest that lies about it is refused here.
                content = whole if whole and chunk.length == ref.size - SALT_SIZE else blake3(part).digest()
                if content != chunk.content:
                    key = self._where.blobs + ref.digest.hex()
                    raise CorruptData(f"the blob {key} does not hold what the manifest says", blob=key)
                self._write(cursor, piece, part)
        self._count(pieces)

    def _copy(self, batch: list[Piece]) -> None:
        """Take pieces from the local copy; what is not what it should be there is left to be fetched."""
        assert self._local is not None
        done: list[Piece] = []
        with Cursor(self._tree) as cursor, Cursor(self._local.tree) as source:
            for piece in batch:
                self._meter.check()
                data = self._local.read(source, piece.chunk)
                if data is None:
                    self._missed.append(piece)
                else:
                    self._write(cursor, piece, memoryview(data))
                    done.append(piece)
        self._count(done)
        with self._lock:
            self.reused += sum(piece.chunk.length for piece in done)

    def _write(self, cursor: Cursor, piece: Piece, part: memoryview) -> None:
        entry, chunk, offset = piece
        whole = chunk.length == entry.size
        try:
            fd = cursor.open(entry.path, os.O_WRONLY | (os.O_CREAT | os.O_EXCL if whole else 0))
            try:
                while part:
                    done = os.pwrite(fd, part, offset)
                    part, offset = part[done:], offset + done
                if whole:
                    _dress(fd, entry)
            finally:
                os.close(fd)
        except OSError:
            with local_errors(f"writing {os.fsdecode(entry.path)!r}"):
                raise

    def _count(self, pieces: list[Piece]) -> None:
        self._meter.add(
            bytes_=sum(piece.chunk.length for piece in pieces),
            files=sum(piece.chunk.length == piece.entry.size for piece in pieces),
        )

    def _link_and_dress(self) -> None:
        """Links of both sorts, and modes and times of the files that were filled in several writes."""
        with Cursor(self._tree) as here, Cursor(self._tree) as there:
            for entry in self._later:
                self._meter.check()
                fd, name = here.at(entry.path)
                if entry.kind == "l":
                    os.symlink(entry.target, name, dir_fd=fd)
                    os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=fd, follow_symlinks=False)
                elif entry.kind == "h":
                    other, target = there.at(entry.target)
                    os.link(target, name, src_dir_fd=other, dst_dir_fd=fd, follow_symlinks=False)
                else:
                    file = here.open(entry.path, os.O_WRONLY)
                    try:
                        _dress(file, entry)
                    finally:
                        os.close(file)

    def _dress_directories(self) -> None:
        """Deepest first: a directory's time changes with what is made in it, and it may not be writable after."""
        for entry in reversed(self._manifest.entries):
            if entry.kind == "d":
                with self._tree.folder(entry.path) as fd:
                    # The root stays writable until it is renamed: moving a directory needs that.
                    os.fchmod(fd, entry.mode if entry.path else entry.mode | 0o700)
                    os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))


def _is_whole(entry: Entry) -> bool:
    """Whether one write fills the file, so that it can be made, filled and dressed at once."""
    return len(entry.chunks) == 1 and entry.chunks[0].blob != HOLE


def _dress(fd: int, entry: Entry) -> None:
    os.fchmod(fd, entry.mode)
    os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
