"""Backend to directory: everything is checked before anything is written, and it appears whole or not at all.

The tree is built in a fresh private directory below scratch, by descriptors relative to their parents, and renamed
into place when it is complete. The manifest has passed its gate (no name leads out, no name occurs twice, parents are
directories of the manifest), and every file is created O_EXCL and O_NOFOLLOW: nothing can be written anywhere else.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from backends.directory import DIRECTORY, DirTree, remove_tree
from backends.errors import CorruptData, DestinationExists, local_errors
from backends.hydration import index as stat_index
from backends.hydration.location import Location
from backends.hydration.manifest import HOLE, Entry, Manifest
from backends.hydration.pool import Pool
from backends.hydration.progress import Meter
from backends.hydration.scan import Found, settle

_Piece = tuple[Entry, int, int]
"""A file, the offset in it, and which of its chunks goes there."""


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
    tree = None if manifest is None else where.read_manifest(manifest)
    with local_errors(f"hydrating {destination}"):
        scratch.mkdir(parents=True, exist_ok=True)
        parent = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            name = b"hydrate-" + secrets.token_hex(8).encode()
            try:
                os.mkdir(name, 0o700, dir_fd=parent)
                result = _fill(where, manifest, tree, os.open(name, DIRECTORY, dir_fd=parent), index, meter, workers)
                _place(parent, name, destination, tree)
                return result
            except BaseException:
                remove_tree(parent, name)
                raise
        finally:
            os.close(parent)


def _fill(
    where: Location, name: str | None, manifest: Manifest | None, root: int, index: Path, meter: Meter, workers: int
) -> Hydrated:
    with DirTree(root) as tree:
        if manifest is None:
            stat_index.save(index, None, [])
            return Hydrated(None)
        files = [entry for entry in manifest.entries if entry.kind == "f"]
        meter.phase("download", bytes_total=manifest.total_bytes, files_total=len(files))
        pieces = _prepare(tree, manifest, meter)
        with Pool(workers) as pool:
            for number, wanted in pieces.items():
                meter.check()
                pool.submit(_fetch, where, manifest, number, wanted, tree, meter)
            pool.drain()
        meter.phase("finish")
        found = _finish(tree, manifest, meter)
        settle([item for item, _ in found])
        stat_index.save(index, name, found)
    received = sum(manifest.blobs[number].size for number in pieces)
    return Hydrated(name, len(files), manifest.total_bytes, len(pieces), received)


def _prepare(tree: DirTree, manifest: Manifest, meter: Meter) -> dict[int, list[_Piece]]:
    """Make directories and the files that more than one write fills; say which pieces each blob has."""
    pieces: dict[int, list[_Piece]] = {}
    for entry in manifest.entries:
        if entry.kind == "d" and entry.path:
            meter.check()
            with tree.parent(entry.path) as (fd, name):
                os.mkdir(name, 0o700, dir_fd=fd)
        elif entry.kind == "f":
            if not _is_whole(entry):
                fd = tree.open(entry.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
                try:
                    os.ftruncate(fd, entry.size)
                finally:
                    os.close(fd)
                _count_holes(entry, meter)
            offset = 0
            for number, chunk in enumerate(entry.chunks):
                if chunk.blob != HOLE:
                    pieces.setdefault(chunk.blob, []).append((entry, offset, number))
                offset += chunk.length
    return pieces


def _count_holes(entry: Entry, meter: Meter) -> None:
    meter.add(bytes_=sum(chunk.length for chunk in entry.chunks if chunk.blob == HOLE), files=1)


def _is_whole(entry: Entry) -> bool:
    return len(entry.chunks) == 1 and entry.chunks[0].blob != HOLE


def _fetch(where: Location, manifest: Manifest, number: int, wanted: list[_Piece], tree: DirTree, meter: Meter) -> None:
    """Read one blob, check it, and write its pieces."""
    meter.check()
    ref = manifest.blobs[number]
    digest = ref.digest.hex()
    key = where.blobs + digest
    data = where.read_blob(digest)
    if len(data) != ref.size or blake3(data).digest() != ref.digest:
        raise CorruptData(f"the blob {key} does not match its hash", blob=key)
    view = memoryview(data)
    for entry, position, index in wanted:
        meter.check()
        chunk = entry.chunks[index]
        part = view[chunk.offset : chunk.offset + chunk.length]
        # The chunk's own hash is what later runs compare by, so a manifest that lies about it is refused here.
        if chunk.content != ref.digest or chunk.length != ref.size:
            if blake3(part).digest() != chunk.content:
                raise CorruptData(f"the blob {key} does not hold what the manifest says", blob=key)
        with local_errors(f"writing {os.fsdecode(entry.path)!r}"):
            whole = _is_whole(entry)
            fd = tree.open(entry.path, os.O_WRONLY | (os.O_CREAT | os.O_EXCL if whole else 0))
            try:
                while part:
                    done = os.pwrite(fd, part, position)
                    part, position = part[done:], position + done
                if whole:
                    _dress(fd, entry)
            finally:
                os.close(fd)
        meter.add(bytes_=chunk.length, files=whole)


def _dress(fd: int, entry: Entry) -> None:
    os.fchmod(fd, entry.mode)
    os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))


def _finish(tree: DirTree, manifest: Manifest, meter: Meter) -> list[tuple[Found, stat_index.Contents]]:
    """Links, modes and times; then, deepest first, the directories'. Returns what the index records."""
    for entry in manifest.entries:
        meter.check()
        with tree.parent(entry.path) as (fd, name):
            if entry.kind == "l":
                os.symlink(entry.target, name, dir_fd=fd)
                os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=fd, follow_symlinks=False)
            elif entry.kind == "h":
                with tree.parent(entry.target) as (other, target):
                    os.link(target, name, src_dir_fd=other, dst_dir_fd=fd, follow_symlinks=False)
            elif entry.kind == "f" and not _is_whole(entry):
                file = tree.open(entry.path, os.O_WRONLY)
                try:
                    _dress(file, entry)
                finally:
                    os.close(file)
    found: list[tuple[Found, stat_index.Contents]] = []
    for entry in manifest.entries:
        if entry.kind == "f":
            with tree.parent(entry.path) as (fd, name):
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            times = (status.st_mtime_ns, status.st_ctime_ns)
            item = Found(entry.path, "f", entry.mode, status.st_size, *times, status.st_ino, status.st_dev)
            found.append((item, tuple((chunk.content, chunk.length) for chunk in entry.chunks)))
    for entry in reversed(manifest.entries):
        if entry.kind == "d":
            with tree.folder(entry.path) as fd:
                # The root stays writable until it is renamed: moving a directory needs that.
                os.fchmod(fd, entry.mode if entry.path else entry.mode | 0o700)
                os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
    return found


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
