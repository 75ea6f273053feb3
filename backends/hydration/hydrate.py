"""Backend to directory: everything is checked before anything is written, and it appears whole or not at all.

The tree is built in a fresh private directory below scratch, by descriptors relative to their parents, and renamed
into place when it is complete. The manifest has passed its gate (no name leads out, no name occurs twice, parents are
directories of the manifest), and every file is created O_EXCL and O_NOFOLLOW: nothing can be written anywhere else.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from backends.directory import DIRECTORY, DirTree, remove_tree
from backends.errors import CorruptData, DestinationExists, local_errors
from backends.hydration import index as stat_index
from backends.hydration.durable import make_durable
from backends.hydration.head import SALT_SIZE
from backends.hydration.location import Location
from backends.hydration.manifest import HOLE, BlobRef, Chunk, Entry, Manifest
from backends.hydration.pool import Pool
from backends.hydration.progress import Meter
from backends.hydration.scan import Found, settle

_Piece = tuple[Entry, Chunk, int]
"""A file, one of its chunks, and the chunk's offset in the file."""


@dataclass(frozen=True, slots=True)
class Hydrated:
    """A finished hydration.

    Attributes:
        manifest: Blob id of the manifest that the directory equals; None for an empty one.
        files: Files written, each once however many names it has.
        bytes: Their bytes.
        blobs: Blobs read besides the manifest.
        bytes_received: Their bytes.
    """

    manifest: str | None
    files: int = 0
    bytes: int = 0
    blobs: int = 0
    bytes_received: int = 0


def hydrate(
    where: Location, manifest: str | None, destination: Path, *, scratch: Path, index: Path, meter: Meter, workers: int
) -> Hydrated:
    """Create `destination` as the tree that a manifest describes, or as an empty directory.

    Args:
        where: The module's place.
        manifest: Blob id of the manifest.
        destination: The directory to create.
        scratch: A directory on the same file system, to build it in.
        index: The stat cache to write.
        meter: Progress and cancellation.
        workers: Threads for requests.

    Returns:
        What was done.

    Raises:
        DestinationExists: There is something at `destination`.
        CorruptData: A blob is missing, corrupt or hostile; it is named.
        LocalDiskError: The local disk failed.
        BackendsError: The backend failed, or the token was set. In every case nothing is left behind.
    """
    meter.check()
    if os.path.lexists(destination):
        raise DestinationExists(f"{destination} exists already")
    content = None if manifest is None else where.read_manifest(manifest)
    with local_errors(f"hydrating {destination}"):
        scratch.mkdir(parents=True, exist_ok=True)
        parent = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            name = b"hydrate-" + secrets.token_hex(8).encode()
            try:
                os.mkdir(name, 0o700, dir_fd=parent)
                with DirTree(os.open(name, DIRECTORY, dir_fd=parent)) as tree:
                    result, found = Hydrated(None), list[tuple[Found, stat_index.Contents]]()
                    if manifest is not None and content is not None:
                        result, found = _Filling(where, content, tree, meter).run(manifest, workers)
                _place(parent, name, destination, content)
            except BaseException:
                remove_tree(parent, name)
                raise
        finally:
            os.close(parent)
    if manifest is not None:
        # Only a cache, and the data is in place: without it the next dehydration reads everything.
        with contextlib.suppress(OSError):
            stat_index.save(index, manifest, found)
    return result


class _Filling:
    """The work of one hydration in its fresh directory."""

    def __init__(self, where: Location, manifest: Manifest, tree: DirTree, meter: Meter) -> None:
        self._where, self._manifest, self._tree, self._meter = where, manifest, tree, meter

    def run(self, name: str, workers: int) -> tuple[Hydrated, list[tuple[Found, stat_index.Contents]]]:
        """Do it. Returns what was done, and what the index records."""
        files = sum(entry.kind == "f" for entry in self._manifest.entries)
        size = self._manifest.total_bytes
        self._meter.phase("download", bytes_total=size, files_total=files)
        pieces = self._prepare()
        with Pool(workers) as pool:
            for number, wanted in pieces.items():
                self._meter.check()
                pool.submit(self._fetch, self._manifest.blobs[number], wanted)
            pool.drain()
        self._meter.phase("finish")
        self._link_and_dress()
        found = self._found()
        self._dress_directories()
        self._meter.check()
        folders = [entry.path for entry in self._manifest.entries if entry.kind == "d"]
        make_durable(self._tree, [item.path for item, _ in found], folders)
        # Before anybody else can touch them: every later change has another ctime than the index.
        settle([item for item, _ in found])
        received = sum(self._manifest.blobs[number].size for number in pieces)
        return Hydrated(name, files, size, len(pieces), received), found

    def _prepare(self) -> dict[int, list[_Piece]]:
        """Make directories and the files that more than one write fills; say which pieces each blob has."""
        pieces: dict[int, list[_Piece]] = {}
        for entry in self._manifest.entries:
            self._meter.check()
            if entry.kind == "d" and entry.path:
                with self._tree.parent(entry.path) as (fd, name):
                    os.mkdir(name, 0o700, dir_fd=fd)
            elif entry.kind == "f":
                if not _is_whole(entry):
                    with _opened(self._tree, entry.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as fd:
                        os.ftruncate(fd, entry.size)
                    holes = sum(chunk.length for chunk in entry.chunks if chunk.blob == HOLE)
                    self._meter.add(bytes_=holes, files=1)
                offset = 0
                for chunk in entry.chunks:
                    if chunk.blob != HOLE:
                        pieces.setdefault(chunk.blob, []).append((entry, chunk, offset))
                    offset += chunk.length
        return pieces

    def _fetch(self, ref: BlobRef, wanted: list[_Piece]) -> None:
        """Read one blob, check it, and write its pieces."""
        self._meter.check()
        digest = ref.digest.hex()
        key = self._where.blobs + digest
        data = self._where.read_blob(digest)
        view = memoryview(data)
        if len(data) != ref.size:
            raise CorruptData(f"the blob {key} has another size than the manifest says", blob=key)
        # Hashed once: a blob of one chunk is that chunk and the salt, so the chunk's hash is on the way to the blob's.
        hasher = blake3(view[:-SALT_SIZE])
        content = hasher.digest()
        if hasher.update(view[-SALT_SIZE:]).digest() != ref.digest:
            raise CorruptData(f"the blob {key} does not match its hash", blob=key)
        for entry, chunk, offset in wanted:
            self._meter.check()
            part = view[chunk.offset : chunk.offset + chunk.length]
            # Later runs compare by the chunk's own hash, so a manifest that lies about it is refused here.
            whole = chunk.length == ref.size - SALT_SIZE
            if (content if whole else blake3(part).digest()) != chunk.content:
                raise CorruptData(f"the blob {key} does not hold what the manifest says", blob=key)
            with local_errors(f"writing {os.fsdecode(entry.path)!r}"):
                self._write(entry, part, offset)

    def _write(self, entry: Entry, part: memoryview, offset: int) -> None:
        size, whole = len(part), _is_whole(entry)
        with _opened(self._tree, entry.path, os.O_WRONLY | (os.O_CREAT | os.O_EXCL if whole else 0)) as fd:
            while part:
                done = os.pwrite(fd, part, offset)
                part, offset = part[done:], offset + done
            if whole:
                _dress(fd, entry)
        self._meter.add(bytes_=size, files=whole)

    def _link_and_dress(self) -> None:
        """Links of both sorts, and modes and times of the files that were filled in several writes."""
        for entry in self._manifest.entries:
            self._meter.check()
            with self._tree.parent(entry.path) as (fd, name):
                if entry.kind == "l":
                    os.symlink(entry.target, name, dir_fd=fd)
                    os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=fd, follow_symlinks=False)
                elif entry.kind == "h":
                    with self._tree.parent(entry.target) as (other, target):
                        os.link(target, name, src_dir_fd=other, dst_dir_fd=fd, follow_symlinks=False)
                elif entry.kind == "f" and not _is_whole(entry):
                    with _opened(self._tree, entry.path, os.O_WRONLY) as file:
                        _dress(file, entry)

    def _found(self) -> list[tuple[Found, stat_index.Contents]]:
        """What the index records: each file's status after its last change, links included."""
        found: list[tuple[Found, stat_index.Contents]] = []
        for entry in self._manifest.entries:
            if entry.kind == "f":
                with self._tree.parent(entry.path) as (fd, name):
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                times = (status.st_mtime_ns, status.st_ctime_ns)
                item = Found(entry.path, "f", entry.mode, status.st_size, *times, status.st_ino, status.st_dev)
                found.append((item, tuple((chunk.content, chunk.length) for chunk in entry.chunks)))
        return found

    def _dress_directories(self) -> None:
        """Deepest first: a directory's time changes with what is made in it, and it may not be writable after."""
        for entry in reversed(self._manifest.entries):
            if entry.kind == "d":
                with self._tree.folder(entry.path) as fd:
                    # The root stays writable until it is renamed: moving a directory needs that.
                    os.fchmod(fd, entry.mode if entry.path else entry.mode | 0o700)
                    os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))


@contextlib.contextmanager
def _opened(tree: DirTree, path: bytes, flags: int) -> Generator[int]:
    fd = tree.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


def _is_whole(entry: Entry) -> bool:
    """Whether one write fills the file, so that it can be made, filled and dressed at once."""
    return len(entry.chunks) == 1 and entry.chunks[0].blob != HOLE


def _dress(fd: int, entry: Entry) -> None:
    os.fchmod(fd, entry.mode)
    os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))


def _place(scratch: int, name: bytes, destination: Path, manifest: Manifest | None) -> None:
    if os.path.lexists(destination):
        raise DestinationExists(f"{destination} exists already")
    fd = os.open(name, DIRECTORY, dir_fd=scratch)
    try:
        os.rename(name, destination, src_dir_fd=scratch)
        if manifest is not None:
            with contextlib.suppress(OSError):  # an owner may always change the mode
                os.fchmod(fd, manifest.entries[0].mode)
        parent = os.open(destination.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)
    finally:
        os.close(fd)
