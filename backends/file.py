"""The store on a folder: `<root>/<module>/head`, `<root>/<module>/blobs/<hash>`.

What must hold:

- A write is a temporary file in the folder of its key, fsynced, renamed, and the folder fsynced; folders that it creates
  are fsynced in their parents. An acknowledged write survives a power loss.
- Conditions and guards are checked and acted on under one flock of the module's folder, by every process that writes
  there. After locking, the folder must still be the one in the root: an erasure may have removed it meanwhile.
- A guarded or if-match write never creates the module's folder: an erased module cannot come back by a late write.
- Nothing is written outside modules' folders, and no link below the root is ever followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from backends import object_file
from backends.blobstore import BlobInfo, Data, Guard, Purged, Remnant, check_key, check_prefix
from backends.directory import DirTree, join, remove_tree
from backends.errors import (
    BackendDenied,
    BackendUnavailable,
    BlobNotFound,
    CorruptData,
    PreconditionFailed,
    backend_errors,
)
from backends.folders import Folders, locked

TEMPORARY = ".tmp-"
_NOT_A_FILE = frozenset({errno.ELOOP, errno.ENXIO})  # what opening a link or a socket answers
_ATTEMPTS = 64  # a write begins again when an erasure took its folder away; so often in a row is an attack or a defect


class FileStore:
    """Objects as files below one folder.

    Args:
        root: Absolute path of the folder. It need not exist: the first write creates it. Once seen, its absence is
            `BackendUnavailable` (an unmounted disk must not look like an empty one).
        create: Whether the first write may create the folder. If not, its absence is `BackendUnavailable` always.
    """

    def __init__(self, root: Path, *, create: bool = True) -> None:
        self._folders = Folders(root, create=create)

    @property
    def uri(self) -> str:
        """The folder as a URI."""
        return "file://" + quote(os.fsencode(self._folders.root))

    def __repr__(self) -> str:
        return f"FileStore({self.uri!r})"

    def put(
        self,
        key: str,
        data: Data,
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        guard: Guard | None = None,
    ) -> str:
        """See `BlobStore.put`."""
        *folders, name = check_key(key).split("/")
        conditional = if_match is not None or guard is not None
        with backend_errors(f"writing {key}"):
            for _ in range(_ATTEMPTS):
                try:
                    with self._folders.open(folders, create=not conditional, below=True) as opened:
                        folder = opened.folder
                        temporary = os.fsencode(TEMPORARY + secrets.token_hex(8))
                        try:
                            etag = object_file.write(folder, temporary, data)
                            with locked(opened, folders[0]):
                                self._check(guard)
                                object_file.match(folder, name, key, if_match=if_match, if_none_match=if_none_match)
                                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
                        except BaseException:
                            with contextlib.suppress(OSError):
                                os.unlink(temporary, dir_fd=folder)
                            raise
                        os.fsync(folder)
                        return etag
                except FileNotFoundError:
                    # No folder, or an erasure or sweep took folder or temporary file away: decide again.
                    if conditional and not self._folders.exists(folders[:1]):
                        raise PreconditionFailed(f"{key}: the module's folder does not exist") from None
        raise BackendUnavailable(f"writing {key}: its folder keeps disappearing")

    def get(self, key: str, *, limit: int | None = None) -> tuple[bytes, str]:
        """See `BlobStore.get`."""
        *folders, name = check_key(key).split("/")
        with backend_errors(f"reading {key}"), self._reading(folders, name, key) as fd:
            status = os.fstat(fd)
            if limit is not None and status.st_size > limit:
                raise CorruptData(f"{key} is larger than the {limit} bytes that it may have", blob=key)
            data = object_file.read(fd, status.st_size)
            return data, object_file.etag_of(status, data)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """See `BlobStore.get_range`."""
        *folders, name = check_key(key).split("/")
        with backend_errors(f"reading {key}"), self._reading(folders, name, key) as fd:
            os.lseek(fd, offset, os.SEEK_SET)
            return object_file.read(fd, length)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `BlobStore.list`. Etags are not part of it: they would cost a read of each small object."""
        for path, status in self._walk(prefix):
            key = prefix + os.fsdecode(path)
            # At the top there are only modules' folders; a file there is a stranger's.
            if stat.S_ISREG(status.st_mode) and "/." not in key and "/" in key:
                yield BlobInfo(key, status.st_size)

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """See `BlobStore.delete`."""
        *folders, name = check_key(key).split("/")
        with backend_errors(f"deleting {key}"):
            try:
                with self._folders.open(folders) as opened, locked(opened, folders[0]):
                    object_file.match(opened.folder, name, key, if_match=if_match)
                    os.unlink(name, dir_fd=opened.folder)
                    os.fsync(opened.folder)
            except FileNotFoundError:
                if if_match is not None:
                    raise PreconditionFailed(f"{key} does not exist") from None
            except IsADirectoryError as error:
                raise CorruptData(
                    f"{key} is a folder", blob=key, hint="It is not modhub's: look what it is, and remove it."
                ) from error

    def delete_many(self, keys: Iterable[str], *, guard: Guard | None = None) -> int:
        """See `BlobStore.delete_many`. One lock for each folder, so the guard holds for all of its deletions."""
        count = 0
        for place, group in groupby(sorted(check_key(key).split("/") for key in keys), key=lambda parts: parts[:-1]):
            with backend_errors(f"deleting from {'/'.join(place)}"):
                try:
                    with self._folders.open(place) as opened, locked(opened, place[0]):
                        self._check(guard)
                        for *_, name in group:
                            with contextlib.suppress(FileNotFoundError):
                                os.unlink(name, dir_fd=opened.folder)
                                count += 1
                        os.fsync(opened.folder)
                except FileNotFoundError:
                    if guard is not None:
                        self._check(guard)
        return count

    def sweep_unfinished(self, prefix: str) -> int:
        """See `BlobStore.sweep_unfinished`."""
        keys = [prefix + os.fsdecode(path) for path, status in self._walk(prefix) if not stat.S_ISDIR(status.st_mode)]
        stale = [key for key in keys if key.rpartition("/")[2].startswith(TEMPORARY)]
        for key in stale:
            *folders, name = key.split("/")
            with (
                backend_errors(f"sweeping {prefix}"),
                contextlib.suppress(FileNotFoundError),
                self._folders.open(folders) as opened,
            ):
                os.unlink(name, dir_fd=opened.folder)
        return len(stale)

    def purge(self, prefix: str, *, keep: str, guard: Guard | None = None) -> Purged:
        """See `BlobStore.purge`. Temporary files count as versions; folders and links go uncounted.

        Under one lock with its guard: a stale erasure can't reach into a module that was made anew.
        """
        counts: list[Purged] = []
        # The kept object is `<module>/<name>`: everything else in the module's folder goes, whole trees at a time.
        module_name, _, kept = check_key(keep).partition("/")
        if check_prefix(prefix) != module_name + "/" or "/" in kept:
            raise ValueError("purge works on one module's prefix and keeps one object directly below it")
        with (
            backend_errors(f"purging {prefix}"),
            contextlib.suppress(FileNotFoundError),
            self._folders.open([module_name]) as opened,
            locked(opened, module_name),
            DirTree(os.dup(opened.module)) as tree,
        ):
            self._check(guard)
            for name, _status in tree.entries(b"", changing=True):
                if name != os.fsencode(kept):
                    _remove(opened.module, name, lambda name, status: counts.append(_count(name, status)))
            os.fsync(opened.module)
        return sum(counts, Purged())

    def expunge(self, key: str, *, if_match: str) -> Purged:
        """See `BlobStore.expunge`. The module's folder goes with its last object, under the same lock."""
        *folders, name = check_key(key).split("/")
        with backend_errors(f"removing {key}"):
            try:
                with self._folders.open(folders) as opened, locked(opened, folders[0]):
                    object_file.match(opened.folder, name, key, if_match=if_match)
                    size = os.stat(name, dir_fd=opened.folder, follow_symlinks=False).st_size
                    os.unlink(name, dir_fd=opened.folder)
                    os.fsync(opened.folder)
                    self._folders.remove_empty(folders)
                    return Purged(blobs=1, bytes=size)
            except FileNotFoundError:
                raise PreconditionFailed(f"{key} does not exist") from None

    def remains(self, prefix: str) -> Iterator[Remnant]:
        """See `BlobStore.remains`. An empty folder is a remnant too."""
        parts = check_prefix(prefix).split("/")[:-1]
        with backend_errors(f"listing {prefix}"):
            exists = self._folders.exists(parts)
        if exists and parts:
            yield Remnant(prefix, "folder")
        for path, status in self._walk(prefix):
            name = path.rpartition(b"/")[2].decode("utf-8", "surrogateescape")
            kind = "folder" if stat.S_ISDIR(status.st_mode) else "upload" if name.startswith(TEMPORARY) else "blob"
            yield Remnant(prefix + os.fsdecode(path), kind, 0 if kind == "folder" else status.st_size)

    def check(self) -> None:
        """See `BlobStore.check`. Judges by permissions: a root still to be created by its nearest existing parent."""
        with backend_errors(f"checking {self.uri}"):
            path = self._folders.root
            while not self._folders.seen and not path.exists():
                path = path.parent
            os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            if not os.access(path, os.W_OK | os.X_OK, effective_ids=True) or os.statvfs(path).f_flag & os.ST_RDONLY:
                raise BackendDenied(
                    f"{path} is not writable, and so {self.uri} can't be made"
                    if path != self._folders.root
                    else f"{self.uri} is not writable"
                )

    def _check(self, guard: Guard | None) -> None:
        if guard is None:
            return
        try:
            content, etag = self.get(guard.key)
        except BlobNotFound:
            raise PreconditionFailed(f"{guard.key} is gone") from None
        if not guard.holds(content if len(content) <= guard.limit else b"", etag):
            raise PreconditionFailed(f"{guard.key} has changed")

    @contextlib.contextmanager
    def _reading(self, folders: Sequence[str], name: str, key: str) -> Generator[int]:
        try:
            with self._folders.open(folders) as opened:
                fd = os.open(name, object_file.READ, dir_fd=opened.folder)
        except FileNotFoundError:
            raise BlobNotFound(key) from None
        except OSError as error:
            if error.errno not in _NOT_A_FILE:
                raise
            raise CorruptData(f"{key} is not a regular file", blob=key) from error
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise CorruptData(f"{key} is not a regular file", blob=key)
            yield fd
        finally:
            os.close(fd)

    def _walk(self, prefix: str) -> Iterator[tuple[bytes, os.stat_result]]:
        parts = check_prefix(prefix).split("/")[:-1]
        with backend_errors(f"listing {prefix or self.uri}"):
            try:
                with self._folders.open(parts) as opened:
                    root = os.dup(opened.folder)
            except FileNotFoundError:
                return
            with DirTree(root) as tree:
                waiting = [b""]
                while waiting:
                    path = waiting.pop()
                    try:
                        found = tree.entries(path, changing=True)
                    except FileNotFoundError:
                        continue  # a folder that an erasure removed meanwhile holds nothing
                    for name, status in found:
                        if stat.S_ISDIR(status.st_mode):
                            waiting.append(join(path, name))
                        yield join(path, name), status


def _remove(module: int, name: bytes, removed: Callable[[bytes, os.stat_result], None]) -> None:
    """Remove a tree in which writers that do not know yet that they are fenced off may still make temporary files."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return remove_tree(module, name, removed=removed)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
    return remove_tree(module, name, removed=removed)


def _count(name: bytes, status: os.stat_result) -> Purged:
    if name.startswith(os.fsencode(TEMPORARY)):
        return Purged(versions=1, bytes=status.st_size)
    return Purged(blobs=1, bytes=status.st_size)
