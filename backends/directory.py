"""Trees of directories, walked by descriptor: no path is ever resolved through a link, and no depth is too deep.

Everything below the root is opened one component at a time with O_NOFOLLOW, relative to its parent's descriptor. So a
directory that somebody swaps for a link is an error instead of a way out, and paths longer than PATH_MAX work.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Self

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_KEPT_OPEN = 64  # descriptors of directories that one tree keeps at most between two operations
_KEPT_DEPTH = 32  # ancestors deeper than this are not kept while walking down, to bound descriptors on deep trees


class DirTree:
    """One root directory and what is below it, addressed by relative paths in bytes; `b""` is the root itself.

    Args:
        root: Descriptor of the root; the tree owns and closes it.

    All methods are safe to call from several threads. They raise OSError as it comes; callers know which side it is.
    """

    def __init__(self, root: int) -> None:
        self._fds: OrderedDict[bytes, int] = OrderedDict({b"": root})
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            for fd in self._fds.values():
                os.close(fd)
            self._fds.clear()

    @contextlib.contextmanager
    def folder(self, path: bytes) -> Generator[int]:
        """The descriptor of a directory, valid inside the `with`."""
        with self._lock:
            while len(self._fds) > _KEPT_OPEN:
                oldest = next(key for key in self._fds if key)
                os.close(self._fds.pop(oldest))
            yield self._open(path)

    @contextlib.contextmanager
    def parent(self, path: bytes) -> Generator[tuple[int, bytes]]:
        """The descriptor of the directory that holds `path`, and the last component; valid inside the `with`."""
        head, _, name = path.rpartition(b"/")
        with self.folder(head) as fd:
            yield fd, name

    def open(self, path: bytes, flags: int, mode: int = 0o600) -> int:
        """Open a file below the root; never through a link, and never waiting for a fifo's other end."""
        with self.parent(path) as (fd, name):
            return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, mode, dir_fd=fd)

    def entries(self, path: bytes, *, changing: bool = False) -> list[tuple[bytes, os.stat_result]]:
        """Names and own status (links not followed) of what a directory holds, sorted by name.

        Args:
            path: The directory.
            changing: Others change it meanwhile: leave out what vanishes while it is listed, instead of failing.
        """
        listed: list[tuple[bytes, os.stat_result]] = []
        with self.folder(path) as fd, os.scandir(fd) as found:
            for entry in found:
                try:
                    listed.append((os.fsencode(entry.name), entry.stat(follow_symlinks=False)))
                except FileNotFoundError:
                    if not changing:
                        raise
        listed.sort(key=itemgetter(0))
        return listed

    def _open(self, path: bytes) -> int:
        cached = self._fds.get(path)
        if cached is not None:
            self._fds.move_to_end(path)
            return cached
        parts = path.split(b"/")
        depth = len(parts) - 1
        while b"/".join(parts[:depth]) not in self._fds:
            depth -= 1
        fd = self._fds[b"/".join(parts[:depth])]
        passing = -1  # a descriptor that only leads to the next one
        try:
            for index in range(depth, len(parts)):
                fd = _step(fd, parts[index], unlock=False)
                if passing >= 0:
                    os.close(passing)
                    passing = -1
                if index + 1 == len(parts) or index < _KEPT_DEPTH:
                    self._fds[b"/".join(parts[: index + 1])] = fd
                else:
                    passing = fd
        except BaseException:
            if passing >= 0:
                os.close(passing)
            raise
        return fd


class Cursor:
    """One thread's place in a tree: the directory of the last name stays open, so its neighbours cost no walk.

    Used as a context. The descriptor is its own: unlike inside `DirTree.folder`, no other thread waits for it.

    Args:
        tree: The tree.
    """

    def __init__(self, tree: DirTree) -> None:
        self._tree = tree
        self._folder = b""
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def at(self, path: bytes) -> tuple[int, bytes]:
        """The descriptor of the directory that holds `path`, valid until the next call, and the last component."""
        folder, _, name = path.rpartition(b"/")
        if self._fd < 0 or folder != self._folder:
            with self._tree.folder(folder) as found:
                fd = os.dup(found)
            if self._fd >= 0:
                os.close(self._fd)
            self._fd, self._folder = fd, folder
        return self._fd, name

    def open(self, path: bytes, flags: int, mode: int = 0o600) -> int:
        """As `DirTree.open`."""
        fd, name = self.at(path)
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, mode, dir_fd=fd)


def remove_tree(parent: int, name: bytes, *, removed: Callable[[bytes, os.stat_result], None] | None = None) -> None:
    """Delete a file, link or whole directory; links are deleted, never followed. A missing one is no error.

    Args:
        parent: Descriptor of the directory that holds it.
        name: Its name there.
        removed: Told the name and status of each non-directory after its removal.

    Raises:
        OSError: Something could not be deleted, or appeared while the rest was.
    """
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(name, dir_fd=parent)
            if removed is not None:
                removed(name, status)
            return
        root = _step(parent, name, unlock=True)
    except FileNotFoundError:
        return
    try:
        _empty(root, removed)
    finally:
        os.close(root)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=parent)


def _empty(root: int, removed: Callable[[bytes, os.stat_result], None] | None) -> None:
    """Delete what is in a directory, in time that is linear in what there is, whatever its depth.

    Each directory is moved up to the root before it is emptied. Walking down again to each of a deep chain would take
    quadratic time, and keeping the way open a descriptor a level.
    """
    prefix = b".removing-%s-" % secrets.token_hex(8).encode()
    serial = itertools.count()
    waiting = _unlink_files(root, removed)
    while waiting:
        name = waiting.pop()
        try:
            folder = _step(root, name, unlock=True)
        except FileNotFoundError:
            continue
        try:
            for child in _unlink_files(folder, removed):
                with contextlib.suppress(FileNotFoundError):
                    os.close(_step(folder, child, unlock=True))  # a directory that is closed can't be moved either
                    moved = prefix + b"%d" % next(serial)
                    os.rename(child, moved, src_dir_fd=folder, dst_dir_fd=root)
                    waiting.append(moved)
        finally:
            os.close(folder)
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(name, dir_fd=root)


def _unlink_files(folder: int, removed: Callable[[bytes, os.stat_result], None] | None) -> list[bytes]:
    """Delete all in a directory but its directories, whose names are returned."""
    with os.scandir(folder) as found:
        names = [os.fsencode(entry.name) for entry in found]
    directories: list[bytes] = []
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                directories.append(name)
                continue
            os.unlink(name, dir_fd=folder)
            if removed is not None:
                removed(name, status)
    return directories


def join(folder: bytes, name: bytes) -> bytes:
    """The path of a name in a folder of a tree, whose root is the empty path."""
    return folder + b"/" + name if folder else name


def _step(parent: int, name: bytes, *, unlock: bool) -> int:
    try:
        fd = os.open(name, DIRECTORY, dir_fd=parent)
    except PermissionError:
        if not unlock:
            raise
        # Not readable by its owner: the mode is changed by an O_PATH descriptor, which a link can't redirect.
        pinned = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            Path(f"/proc/self/fd/{pinned}").chmod(0o700)
        finally:
            os.close(pinned)
        fd = os.open(name, DIRECTORY, dir_fd=parent)
    if unlock:
        _allow(fd)
    return fd


def _allow(fd: int) -> None:
    mode = stat.S_IMODE(os.fstat(fd).st_mode)
    if mode & 0o700 != 0o700:
        os.fchmod(fd, mode | 0o700)
