"""What a directory holds, and whether it still does."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from typing import NamedTuple

from backends.directory import DirTree, join
from backends.errors import SourceChanged, UnsupportedFile
from backends.hydration.manifest import Kind
from backends.hydration.progress import Meter

_CLOCK_REALTIME_COARSE = 5  # the kernel's clock for timestamps; Linux's number, which the time module does not name
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
    """All that was found, parents first, and how many sockets and fifos were passed over."""

    found: list[Found]
    skipped: int


def scan(tree: DirTree, meter: Meter) -> Scan:
    """List a tree: directories, files, links, and which files are hard links of earlier ones.

    Args:
        tree: The source.
        meter: Counts the names; checked for cancellation at each directory.

    Returns:
        What is there, in the order of path components.

    Raises:
        SourceChanged: A directory vanished while it was listed.
        UnsupportedFile: A device is among it.
        OSError: Something could not be read.
        TransferCancelled: The token was set.
    """
    found: list[Found] = []
    skipped = 0
    first_of: dict[tuple[int, int], bytes] = {}
    with tree.folder(b"") as root:
        waiting = [(b"", os.fstat(root))]
    try:
        while waiting:
            path, status = waiting.pop()
            kind, target = _kind(tree, path, status, first_of)
            if kind is None:
                skipped += 1
                continue
            # A file under several names is one file: its own status is recorded with the first of them.
            found.append(
                Found(
                    path,
                    kind,
                    stat.S_IMODE(status.st_mode) & 0o1777,
                    status.st_size if kind == "f" else 0,
                    status.st_mtime_ns,
                    status.st_ctime_ns,
                    status.st_ino,
                    status.st_dev,
                    target,
                )
            )
            if kind == "d":
                meter.check()
                children = tree.entries(path)
                meter.add(files=len(children))
                waiting.extend((join(path, name), below) for name, below in reversed(children))
    except FileNotFoundError as error:
        raise SourceChanged("a directory of the source vanished while it was listed") from error
    return Scan(found, skipped)


def settle(found: list[Found]) -> None:
    """Wait until the clock that stamps files has moved past every time in the list (some milliseconds at most).

    After that, whoever changes one of these files gives it another ctime than the listed one: without this, a write
    in the same tick as the scan would leave the status equal and the change unseen.
    """
    newest = max((item.ctime_ns for item in found), default=0)
    while 0 <= newest - time.clock_gettime_ns(_CLOCK_REALTIME_COARSE) < _TICK_LIMIT_NS:
        time.sleep(0.001)


def same_file(item: Found, status: os.stat_result) -> bool:
    """Whether an open file still is, unchanged, the one that was listed."""
    return stat.S_ISREG(status.st_mode) and (
        item.size,
        item.mtime_ns,
        item.ctime_ns,
        item.inode,
        item.device,
    ) == (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)


def _kind(
    tree: DirTree, path: bytes, status: os.stat_result, first_of: dict[tuple[int, int], bytes]
) -> tuple[Kind | None, bytes]:
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        return "d", b""
    if stat.S_ISREG(mode):
        if status.st_nlink == 1:
            return "f", b""
        first = first_of.setdefault((status.st_dev, status.st_ino), path)
        return ("f", b"") if first == path else ("h", first)
    if stat.S_ISLNK(mode):
        with tree.parent(path) as (fd, name):
            return "l", os.readlink(name, dir_fd=fd)
    if stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode):
        return None, b""
    raise UnsupportedFile(f"{os.fsdecode(path)!r} is a device, which can't be sent home")
