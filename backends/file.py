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
import fcntl
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from urllib.parse import quote

from blake3 import blake3

from backends.blobstore import BlobInfo, Data, Guard, Purged, Remnant, check_key, check_prefix
from backends.directory import DIRECTORY, DirTree, join, remove_tree
from backends.errors import (
    BackendDenied,
    BackendUnavailable,
    BlobNotFound,
    CorruptData,
    PreconditionFailed,
    backend_errors,
)

TEMPORARY = ".tmp-"
_HASHED = 64 * 1024  # objects up to this size are identified by content; larger ones by what a rewrite must change
_ATTEMPTS = 64  # a write begins again when an erasure took its folder away; so often in a row is an attack or a defect


class FileStore:
    """Objects as files below one folder.

    Args:
        root: Absolute path of the folder. It need not exist: the first write creates it. Once seen, its absence is
            `BackendUnavailable` (an unmounted disk must not look like an empty one).
    """

    def __init__(self, root: bytes) -> None:
        self._root = root
        self._seen = os.path.isdir(root)

    @property
    def uri(self) -> str:
        """The folder as a URI."""
        return "file://" + quote(self._root)

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
                    with self._folder(folders, create=not conditional, below=True) as (root, module, folder):
                        temporary = os.fsencode(TEMPORARY + secrets.token_hex(8))
                        try:
                            etag = _write(folder, temporary, data)
                            with _locked(root, folders[0], module):
                                self._check(guard)
                                _match(folder, name, key, if_match=if_match, if_none_match=if_none_match)
                                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
                        except BaseException:
                            with contextlib.suppress(OSError):
                                os.unlink(temporary, dir_fd=folder)
                            raise
                        os.fsync(folder)
                        return etag
                except FileNotFoundError:
                    # No folder, or an erasure or sweep took folder or temporary file away: decide again.
                    if conditional and not self._exists(folders[0]):
                        raise PreconditionFailed(f"{key}: the module's folder does not exist") from None
        raise BackendUnavailable(f"writing {key}: its folder keeps disappearing")

    def get(self, key: str, *, limit: int | None = None) -> tuple[bytes, str]:
        """See `BlobStore.get`."""
        *folders, name = check_key(key).split("/")
        with backend_errors(f"reading {key}"), self._reading(folders, name, key) as fd:
            status = os.fstat(fd)
            if limit is not None and status.st_size > limit:
                raise CorruptData(f"{key} is larger than the {limit} bytes that it may have", blob=key)
            data = _read(fd, status.st_size)
            return data, _etag(status, data)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """See `BlobStore.get_range`."""
        *folders, name = check_key(key).split("/")
        with backend_errors(f"reading {key}"), self._reading(folders, name, key) as fd:
            os.lseek(fd, offset, os.SEEK_SET)
            return _read(fd, length)

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
                with self._folder(folders) as (root, module, folder), _locked(root, folders[0], module):
                    _match(folder, name, key, if_match=if_match)
                    os.unlink(name, dir_fd=folder)
                    os.fsync(folder)
            except FileNotFoundError:
                if if_match is not None:
                    raise PreconditionFailed(f"{key} does not exist") from None

    def delete_many(self, keys: Iterable[str], *, guard: Guard | None = None) -> int:
        """See `BlobStore.delete_many`. One lock for each folder, so the guard holds for all of its deletions."""
        count = 0
        for place, group in groupby(sorted(check_key(key).split("/") for key in keys), key=lambda parts: parts[:-1]):
            with backend_errors(f"deleting from {'/'.join(place)}"):
                try:
                    with self._folder(place) as (root, module, folder), _locked(root, place[0], module):
                        self._check(guard)
                        for *_, name in group:
                            with contextlib.suppress(FileNotFoundError):
                                os.unlink(name, dir_fd=folder)
                                count += 1
                        os.fsync(folder)
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
            with backend_errors(f"sweeping {prefix}"), contextlib.suppress(FileNotFoundError):
                with self._folder(folders) as (_root, _module, folder):
                    os.unlink(name, dir_fd=folder)
        return len(stale)

    def purge(self, prefix: str, *, keep: str) -> Purged:
        """See `BlobStore.purge`. Temporary files count as versions; folders and links go uncounted."""
        counts: list[Purged] = []
        # The kept object is `<module>/<name>`: everything else in the module's folder goes, whole trees at a time.
        module_name, _, kept = check_key(keep).partition("/")
        if check_prefix(prefix) != module_name + "/" or "/" in kept:
            raise ValueError("purge works on one module's prefix and keeps one object directly below it")
        with backend_errors(f"purging {prefix}"), contextlib.suppress(FileNotFoundError):
            with self._folder([module_name]) as (_root, module, _folder), DirTree(os.dup(module)) as tree:
                for name, _status in tree.entries(b""):
                    if name != os.fsencode(kept):
                        remove_tree(module, name, removed=lambda name, status: counts.append(_count(name, status)))
                os.fsync(module)
        return sum(counts, Purged())

    def expunge(self, key: str, *, if_match: str) -> Purged:
        """See `BlobStore.expunge`. The module's folder goes with its last object, under the same lock."""
        *folders, name = check_key(key).split("/")
        with backend_errors(f"removing {key}"):
            try:
                with self._folder(folders) as (root, module, folder), _locked(root, folders[0], module):
                    _match(folder, name, key, if_match=if_match)
                    size = os.stat(name, dir_fd=folder, follow_symlinks=False).st_size
                    os.unlink(name, dir_fd=folder)
                    os.fsync(folder)
                    self._remove_empty(root, folders)
                    return Purged(blobs=1, bytes=size)
            except FileNotFoundError:
                raise PreconditionFailed(f"{key} does not exist") from None

    def remains(self, prefix: str) -> Iterator[Remnant]:
        """See `BlobStore.remains`. An empty folder is a remnant too."""
        parts = check_prefix(prefix).split("/")[:-1]
        with backend_errors(f"listing {prefix}"):
            try:
                with self._folder(parts):
                    pass
            except FileNotFoundError:
                return
        if parts:
            yield Remnant(prefix, "folder")
        for path, status in self._walk(prefix):
            name = path.rpartition(b"/")[2].decode("utf-8", "surrogateescape")
            kind = "folder" if stat.S_ISDIR(status.st_mode) else "upload" if name.startswith(TEMPORARY) else "blob"
            yield Remnant(prefix + os.fsdecode(path), kind, 0 if kind == "folder" else status.st_size)

    def check(self) -> None:
        """See `BlobStore.check`. Judges by permissions: a root still to be created by its nearest existing parent."""
        with backend_errors(f"checking {self.uri}"):
            path = self._root
            while not self._seen and not os.path.lexists(path):
                path = os.path.dirname(path)
            os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            if not os.access(path, os.W_OK | os.X_OK) or os.statvfs(path).f_flag & os.ST_RDONLY:
                raise BackendDenied(f"{self.uri} is not writable")

    def _check(self, guard: Guard | None) -> None:
        if guard is None:
            return
        try:
            _, etag = self.get(guard.key)
        except BlobNotFound:
            raise PreconditionFailed(f"{guard.key} is gone") from None
        if etag != guard.etag:
            raise PreconditionFailed(f"{guard.key} has changed")

    def _exists(self, module: str) -> bool:
        try:
            with self._folder([module]):
                return True
        except FileNotFoundError:
            return False

    def _open_root(self, *, create: bool) -> int:
        if create and not self._seen:
            _create_root(self._root)
        try:
            fd = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            if self._seen:
                raise BackendUnavailable(f"the folder of {self.uri} has disappeared") from None
            raise
        self._seen = True
        return fd

    @contextlib.contextmanager
    def _folder(
        self, parts: Sequence[str], *, create: bool = False, below: bool = False
    ) -> Iterator[tuple[int, int, int]]:
        """Descriptors of the root, of the module's folder, and of the folder that `parts` name.

        `create` makes what is missing, `below` only what is missing below an existing module's folder.
        """
        with contextlib.ExitStack() as stack:
            fds = [self._open_root(create=create)]
            stack.callback(os.close, fds[0])
            for index, part in enumerate(parts):
                if create or (below and index):
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o700, dir_fd=fds[-1])
                        os.fsync(fds[-1])
                fds.append(os.open(part, DIRECTORY, dir_fd=fds[-1]))
                stack.callback(os.close, fds[-1])
            yield fds[0], fds[min(1, len(fds) - 1)], fds[-1]

    @contextlib.contextmanager
    def _reading(self, folders: Sequence[str], name: str, key: str) -> Iterator[int]:
        try:
            with self._folder(folders) as (_root, _module, folder):
                fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except FileNotFoundError:
            raise BlobNotFound(key) from None
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
                with self._folder(parts) as (_root, _module, folder):
                    root = os.dup(folder)
            except FileNotFoundError:
                return
            with DirTree(root) as tree:
                waiting = [b""]
                while waiting:
                    path = waiting.pop()
                    # A folder that an erasure removes meanwhile holds nothing.
                    with contextlib.suppress(FileNotFoundError):
                        for name, status in tree.entries(path):
                            if stat.S_ISDIR(status.st_mode):
                                waiting.append(join(path, name))
                            yield join(path, name), status

    def _remove_empty(self, root: int, folders: Sequence[str]) -> None:
        for depth in range(len(folders), 0, -1):
            with self._folder(folders[: depth - 1]) as (_root, _module, parent):
                try:
                    os.rmdir(folders[depth - 1], dir_fd=parent)
                except OSError:
                    return  # not empty: somebody's write is under way; the erasure looks again
        os.fsync(root)


def _create_root(root: bytes) -> None:
    missing: list[bytes] = []
    while not os.path.isdir(root) and root != b"/":
        missing.append(root)
        root = os.path.dirname(root)
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        parent = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


@contextlib.contextmanager
def _locked(root: int, name: str, module: int) -> Iterator[None]:
    """Hold the module's lock; FileNotFoundError when the folder is no longer the one in the root."""
    fcntl.flock(module, fcntl.LOCK_EX)
    try:
        if not os.path.samestat(os.stat(name, dir_fd=root, follow_symlinks=False), os.fstat(module)):
            raise FileNotFoundError(name)
        yield
    finally:
        fcntl.flock(module, fcntl.LOCK_UN)


def _write(folder: int, name: bytes, data: Data) -> str:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fsync(fd)
        return _etag(os.fstat(fd), data)
    finally:
        os.close(fd)


def _read(fd: int, length: int) -> bytes:
    parts: list[bytes] = []
    while length > 0 and (part := os.read(fd, length)):
        parts.append(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _etag(status: os.stat_result, data: Data) -> str:
    if status.st_size <= _HASHED:
        return "h" + blake3(data).hexdigest()
    return f"s{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ino:x}"


def _match(folder: int, name: str, key: str, *, if_match: str | None, if_none_match: bool = False) -> None:
    if if_match is None and not if_none_match:
        return
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        if if_match is not None:
            raise PreconditionFailed(f"{key} does not exist") from None
        return
    try:
        status = os.fstat(fd)
        etag = _etag(status, _read(fd, status.st_size) if status.st_size <= _HASHED else b"")
    finally:
        os.close(fd)
    if if_none_match:
        raise PreconditionFailed(f"{key} exists")
    if etag != if_match:
        raise PreconditionFailed(f"{key} has changed")


def _count(name: bytes, status: os.stat_result) -> Purged:
    if name.startswith(os.fsencode(TEMPORARY)):
        return Purged(versions=1, bytes=status.st_size)
    return Purged(blobs=1, bytes=status.st_size)
