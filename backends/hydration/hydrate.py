"""Backend to directory: everything is checked before anything is written, and it appears whole or not at all.

The tree is built in a fresh private directory below scratch, by descriptors relative to their parents, and renamed
into place when it is complete.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from backends.directory import DIRECTORY, DirTree, remove_tree
from backends.errors import BackendsError, DestinationExists, local_errors
from backends.hydration import index as stat_index
from backends.hydration import place
from backends.hydration.filling import Filling
from backends.hydration.local import LocalCopy
from backends.hydration.location import Location
from backends.hydration.manifest import Manifest
from backends.hydration.pool import TransferPool
from backends.hydration.progress import Meter
from backends.hydration.scan import Found, root_of, scan, settle


@dataclass(frozen=True, slots=True)
class Hydrated:
    """A finished hydration.

    Attributes:
        manifest: Blob id of the manifest that the directory equals; None for an empty one.
        files: Files in it, each once however many names it has.
        bytes: Their bytes.
        blobs: Blobs read besides the manifest.
        bytes_received: Bytes read of them.
        bytes_reused: Bytes that a clean local copy had already.
    """

    manifest: str | None
    files: int = 0
    bytes: int = 0
    blobs: int = 0
    bytes_received: int = 0
    bytes_reused: int = 0


class Hydration:
    """One run: create a directory as the tree that a manifest describes, or as an empty one.

    Args:
        where: The module's place.
        manifest: Blob id of the manifest.
        destination: The directory.
        scratch: A directory on the same file system, to build it in.
        index: The stat cache to write.
        meter: Progress and cancellation.
        pool: Threads for requests, hashing and writing.
        workers: How many of them at most.
        admit: Told how many bytes will be written, before any is; what it raises ends the run.
    """

    def __init__(
        self,
        where: Location,
        manifest: str | None,
        destination: Path,
        *,
        scratch: Path,
        index: Path,
        meter: Meter,
        pool: TransferPool,
        workers: int,
        admit: Callable[[int], object] | None = None,
    ) -> None:
        self._admit = admit
        self._where, self._name, self._destination = where, manifest, destination
        self._scratch, self._index = scratch, index
        self._meter, self._pool, self._workers = meter, pool, workers

    def run(self, *, over_clean: bool) -> Hydrated:
        """Do it.

        Args:
            over_clean: Replace a directory that is proven to hold only what was sent home.

        Raises:
            DestinationExists: There is something at the destination that may not be replaced.
            CorruptData: A blob is missing, corrupt or hostile; it is named.
            LocalDiskError: The local disk failed.
            BackendsError: The backend failed, or the token was set. In every case nothing is left behind.
        """
        self._meter.check()
        if not os.path.lexists(self._destination):
            return self._make(None)
        if not over_clean or self._name is None:  # where nothing is committed, the copy may be the last there is
            raise DestinationExists(f"{self._destination} exists already")
        with local_errors(f"looking at {self._destination}"):
            local = LocalCopy(self._destination, self._index, self._meter)
        with local:
            index = local.index
            if index.manifest == self._name:
                return Hydrated(self._name, index.files, index.size, bytes_reused=index.size)
            return self._make(local)

    def _make(self, local: LocalCopy | None) -> Hydrated:
        content = None if self._name is None else self._where.read_manifest(self._name)
        result = Hydrated(self._name)
        if self._admit is not None and content is not None:
            self._admit(content.allocated_bytes)
        with local_errors(f"hydrating {self._destination}"):
            self._scratch.mkdir(parents=True, exist_ok=True)
            parent = os.open(self._scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            name = b"hydrate-" + secrets.token_hex(8).encode()
            try:
                os.mkdir(name, 0o700, dir_fd=parent)
                with DirTree(os.open(name, DIRECTORY, dir_fd=parent)) as tree:
                    made: list[Found] = []
                    if content is not None:
                        result = self._fill(content, tree, local)
                        made = _look(tree)
                    self._place(tree, parent, name, content, local)
                    if self._name is not None and content is not None and made:
                        self._save_index(tree, self._name, content, made)
            except BaseException:
                remove_tree(parent, name)
                raise
            finally:
                os.close(parent)
        return result

    def _fill(self, content: Manifest, tree: DirTree, local: LocalCopy | None) -> Hydrated:
        filling = Filling(self._where, content, tree, local=local, meter=self._meter)
        with self._pool.lane(self._workers, self._meter.cancelled) as lane:
            filling.run(lane)
        return Hydrated(
            self._name,
            sum(entry.kind == "f" for entry in content.entries),
            content.total_bytes,
            filling.blobs,
            filling.received,
            filling.reused,
        )

    def _place(
        self, tree: DirTree, scratch: int, name: bytes, content: Manifest | None, local: LocalCopy | None
    ) -> None:
        mode = content.entries[0].mode if content is not None else None
        if local is None or mode is None:
            place.place(tree, scratch, name, self._destination, mode)
        else:
            place.replace(tree, scratch, name, self._destination, mode=mode, old=local)

    def _save_index(self, tree: DirTree, name: str, content: Manifest, made: list[Found]) -> None:
        # Only a cache, and the data is in place: without it the next dehydration reads everything.
        with contextlib.suppress(OSError):
            root = root_of(tree)
            # To be renamed changes nothing of a tree but the root's ctime. What else is different is somebody's work.
            if (root.mode, root.mtime_ns) != (content.entries[0].mode, made[0].mtime_ns):
                return
            settle(root.ctime_ns)
            contents = {entry.path: stat_index.contents_of(entry) for entry in content.entries if entry.kind == "f"}
            stat_index.save(self._index, name, content, [root, *made[1:]], contents)


def _look(tree: DirTree) -> list[Found]:
    """What a finished tree holds, while nobody else can reach it; nothing where that can't be told.

    Looked at after it is in place, somebody's first change of it would be taken for what was hydrated.
    """
    with contextlib.suppress(OSError, BackendsError):
        scanned = scan(tree, Meter(None, None))
        settle(scanned.newest_ns)  # every later change has another ctime
        return scanned.found
    return []
