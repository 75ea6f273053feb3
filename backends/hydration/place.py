"""Putting a finished tree in place: where nothing is, or in exchange for a clean copy. It appears whole or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Generator
from pathlib import Path

from backends.directory import DirTree, remove_tree
from backends.errors import DestinationExists
from backends.hydration.local import LocalCopy

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})

_libc = ctypes.CDLL(None, use_errno=True)


def place(tree: DirTree, scratch: int, name: bytes, destination: Path, mode: int | None) -> None:
    """Rename a tree to where nothing is.

    Args:
        tree: The tree.
        scratch: Descriptor of the directory that holds it.
        name: Its name there.
        destination: Where it goes, on the same file system.
        mode: What the root's mode becomes; None leaves it.

    Raises:
        DestinationExists: There is something.
        OSError: It could not be renamed.
    """
    if os.path.lexists(destination):
        raise DestinationExists(f"{destination} exists already")
    os.rename(name, destination, src_dir_fd=scratch)
    try:
        _sync(destination.parent)
    except BaseException:
        os.rename(destination, name, dst_dir_fd=scratch)
        raise
    _set_mode(tree, mode)


def replace(tree: DirTree, scratch: int, name: bytes, destination: Path, *, mode: int, old: LocalCopy) -> None:
    """Put a tree in the place of a clean copy, which is removed if it is clean still; else both are as before.

    Args:
        tree: The tree.
        scratch: Descriptor of the directory that holds it.
        name: Its name there.
        destination: Where the copy is, on the same file system.
        mode: What the root's mode becomes.
        old: The copy.

    Raises:
        DestinationExists: The copy is not clean any more; it is where it was.
        OSError: It could not be exchanged.
    """
    old.check()
    # What is under `name` is removed when anything fails, and the copy must never be: they swap under another one.
    aside = name + b"-replaced"
    os.rename(name, aside, src_dir_fd=scratch, dst_dir_fd=scratch)
    with _movable(old):
        try:
            _swap(scratch, aside, destination)
        except BaseException:
            os.rename(aside, name, src_dir_fd=scratch, dst_dir_fd=scratch)
            raise
    try:
        # Nobody finds it by its path any more, so what is not in it now will not be.
        old.check(os.stat(aside, dir_fd=scratch, follow_symlinks=False))
        _sync(destination.parent)
    except BaseException:
        with _movable(old):
            _swap(scratch, aside, destination)
        os.rename(aside, name, src_dir_fd=scratch, dst_dir_fd=scratch)
        raise
    _set_mode(tree, mode)
    # All is done: what can't be removed of it is clean, in scratch, and goes with it.
    with contextlib.suppress(OSError):
        remove_tree(scratch, aside)


@contextlib.contextmanager
def _movable(old: LocalCopy) -> Generator[None]:
    """Let a directory be moved to another parent: it has to be writable by its owner for that."""
    with old.tree.folder(b"") as root:
        mode = os.fstat(root).st_mode & 0o7777
        if mode & 0o700 != 0o700:
            os.fchmod(root, mode | 0o700)
        try:
            yield
        finally:
            if mode & 0o700 != 0o700:
                os.fchmod(root, mode)


def _swap(scratch: int, name: bytes, destination: Path) -> None:
    """Exchange a directory in scratch with the one at the destination."""
    if _libc.renameat2(scratch, name, _AT_FDCWD, os.fsencode(destination), _RENAME_EXCHANGE) == 0:
        return
    number = ctypes.get_errno()
    if number not in _UNSUPPORTED:
        raise OSError(number, os.strerror(number))
    # In steps, where the file system knows no exchange. A crash between the first two leaves no destination, and the
    # clean copy in scratch: nothing that is not in the backend.
    spare = name + b"-swapped"
    os.rename(destination, spare, dst_dir_fd=scratch)
    try:
        os.rename(name, destination, src_dir_fd=scratch)
    except BaseException:
        os.rename(spare, destination, src_dir_fd=scratch)
        raise
    os.rename(spare, name, src_dir_fd=scratch, dst_dir_fd=scratch)


def _set_mode(tree: DirTree, mode: int | None) -> None:
    if mode is not None:
        with tree.folder(b"") as fd, contextlib.suppress(OSError):  # an owner may always change the mode
            os.fchmod(fd, mode)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
