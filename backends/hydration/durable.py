"""Making a fresh tree survive a power loss.

Without it, a file that hydration wrote and the process never touched could be empty after a power loss, and would be
sent home as such, over the good one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os

from backends.directory import DirTree

_FEW = 32  # up to so many names each is fsynced; above, one syncfs is cheaper though it waits for the whole disk

_libc = ctypes.CDLL(None, use_errno=True)


def make_durable(tree: DirTree, files: list[bytes], folders: list[bytes]) -> None:
    """Return when a tree's files and directories are on the disk.

    Args:
        tree: The tree.
        files: Paths of its files.
        folders: Paths of its directories.

    Raises:
        OSError: The disk refused.
    """
    if len(files) + len(folders) <= _FEW:
        # A file or directory that even its owner may not read can't be opened any more.
        with contextlib.suppress(PermissionError):
            return _sync_each(tree, files, folders)
    with tree.folder(b"") as fd:
        if _libc.syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    return None


def _sync_each(tree: DirTree, files: list[bytes], folders: list[bytes]) -> None:
    for path in files:
        fd = tree.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    for path in folders:
        with tree.folder(path) as fd:
            os.fsync(fd)
