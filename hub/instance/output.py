"""The output log of a module: appended to by its process itself, read by the hub, which also rotates it (`log_file`).

The process writes to the file directly, through no pipe of the hub's: output costs the hub nothing, and no process
blocks or dies because the hub is slow or gone. Rotation therefore copies and truncates.
"""

from __future__ import annotations

import os
from pathlib import Path

from hub.instance.log_file import LogFile

_TAIL_BYTES = 16 * 1024


def open_log(path: Path) -> int:
    """Open a module's log for a child to append to; returns a descriptor that the caller closes."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        LogFile(path).identify()
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def size(path: Path) -> int:
    """Return a log's length in bytes; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def read_from(path: Path, offset: int) -> bytes:
    """Return what was written to a log past an offset, in bytes; after a rotation, from its new beginning."""
    try:
        with path.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(offset if offset <= end else 0)
            return log.read()
    except FileNotFoundError:
        return b""


def tail(path: Path, *, lines: int, offset: int = 0) -> str:
    """Return the last lines of a log.

    Args:
        path: the log.
        lines: how many at the most.
        offset: bytes of the log to leave out: what earlier runs wrote.

    Returns:
        The lines, without a trailing line break; undecodable bytes are replaced.
    """
    end = size(path)
    data = read_from(path, max(offset if offset <= end else 0, end - _TAIL_BYTES))
    return "\n".join(data.decode(errors="replace").splitlines()[-lines:])
