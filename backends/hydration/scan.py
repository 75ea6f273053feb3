"""What a directory holds, and whether it still does."""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import NamedTuple

from backends.directory import DirTree
from backends.errors import SourceChanged, UnsupportedFile
from backends.hydration.manifest import Kind
from backends.hydration.progress import Meter

_CLOCK_REALTIME_COARSE = 5  # the kernel's clock for timestamps; Linux's number, which the time module does not name
_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()  # what os.fsencode looks up each time
_REPLACED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL})  # the last of what is no link any more
_TICK_LIMIT_NS = 50_000_000  # no kernel's timestamp granularity is coarser; a later time is a clock set back


class Found(NamedTuple):
    """One name of the source. Two scans that find equal lists saw an unchanged tree."""

    path: bytes
    kind: Kind
    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int
    target: bytes = b""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a look at a tree found.

    Attributes:
        found: All names, parents first.
        skipped: Sockets and fifos passed over.
        newest_ns: The latest ctime among them.
    """

    found: list[Found]
    skipped: int
    newest_ns: int


_status = attrgetter("st_mode", "st_size", "st_mtime_ns", "st_ctime_ns", "st_ino", "st_dev", "st_nlink")
_Child = tuple[bytes, "tuple[int, int, int, int, int, int, int]"]
"""A path, and the status fields above."""


def scan(tree: DirTree, meter: Meter) -> Scan:
    """List a tree: directories, files, links, and which files are hard links of earlier ones.

    Each name costs one stat, and little besides: a tree of which nothing has changed is seen home by this alone.

    Args:
        tree: The source.
        meter: Counts the names; checked for cancellation at each directory.

    Returns:
        What is there, in the order of path components.

    Raises:
        SourceChanged: A name vanished, or became something else, while it was listed.
        UnsupportedFile: A device is among it.
        OSError: Something could not be read.
        TransferCancelled: The token was set.
    """
    found: list[Found] = []
    skipped = 0
    first_of: dict[tuple[int, int], bytes] = {}
    with tree.folder(b"") as root:
        levels: list[Iterator[_Child]] = [iter([(b"", _status(os.fstat(root)))])]
    try:
        while levels:
            # A loop over one directory is left for a subdirectory and taken up again after it; no recursion.
            for path, (mode, length, mtime, ctime, inode, device, links) in levels[-1]:
                if stat.S_ISREG(mode):
                    kind: Kind = "f"
                    size, target = length, b""
                    if links > 1 and (first := first_of.setdefault((device, inode), path)) != path:
                        # A file under several names is one file: the others say where it is.
                        kind, target, size = "h", first, 0
                    found.append(Found(path, kind, mode & 0o1777, size, mtime, ctime, inode, device, target))
                elif stat.S_ISDIR(mode):
                    meter.check()
                    found.append(Found(path, "d", mode & 0o1777, 0, mtime, ctime, inode, device))
                    children = _children(tree, path)
                    meter.add(files=len(children))
                    levels.append(iter(children))
                    break
                elif stat.S_ISLNK(mode):
                    with tree.parent(path) as (fd, name):
                        target = os.readlink(name, dir_fd=fd)
                    found.append(Found(path, "l", mode & 0o1777, 0, mtime, ctime, inode, device, target))
                elif stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode):
                    skipped += 1
                else:
                    raise UnsupportedFile(f"{os.fsdecode(path)!r} is a device, which can't be sent home")
            else:
                levels.pop()
    except OSError as error:
        if error.errno not in _REPLACED:
            raise
        raise SourceChanged("a directory or link of the source was replaced while it was listed") from error
    return Scan(found, skipped, max(map(itemgetter(5), found)))


def root_of(tree: DirTree) -> Found:
    """The root of a tree, as a scan would find it now.

    Raises:
        OSError: It could not be looked at.
    """
    with tree.folder(b"") as fd:
        mode, _, mtime, ctime, inode, device, _ = _status(os.fstat(fd))
    return Found(b"", "d", mode & 0o1777, 0, mtime, ctime, inode, device)


def settle(newest_ns: int) -> None:
    """Wait until the clock that stamps files has moved past a time (some milliseconds at most).

    After that, whoever changes a file that was listed with that ctime, or an earlier one, gives it another: without
    this, a write in the same tick as the scan would leave the status equal and the change unseen.
    """
    while 0 <= newest_ns - time.clock_gettime_ns(_CLOCK_REALTIME_COARSE) < _TICK_LIMIT_NS:
        time.sleep(0.001)


def same_file(item: Found, status: os.stat_result) -> bool:
    """Whether an open file still is, unchanged, the one that was listed."""
    mode, *rest, _ = _status(status)
    return stat.S_ISREG(mode) and tuple(rest) == item[3:8]


def _children(tree: DirTree, folder: bytes) -> list[_Child]:
    before = folder + b"/" if folder else b""
    with tree.folder(folder) as fd, os.scandir(fd) as entries:
        listed: list[_Child] = [
            (before + entry.name.encode(_ENCODING, _ERRORS), _status(entry.stat(follow_symlinks=False)))
            for entry in entries
        ]
    listed.sort(key=itemgetter(0))
    return listed
