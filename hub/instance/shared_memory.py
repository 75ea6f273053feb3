"""System V shared memory that a killed server left: it outlives all processes, and there is room for few (kernel.shmmni).

PostgreSQL guards its data directory by a segment, takes it over at the next start on the same directory, and knows
nothing of it any more when the directory has come back from a backend.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path

_IPC_RMID = 0


def segments_of(creator: int, since: float) -> list[int]:
    """Return the ids of segments that nobody uses any more.

    Args:
        creator: id of the process that made them.
        since: wall clock time of its start, seconds: an earlier process of the same id made what is older.
    """
    found: list[int] = []
    with suppress(OSError):  # a kernel without System V IPC
        header, *lines = Path("/proc/sysvipc/shm").read_text().splitlines()
        columns = header.split()
        for line in lines:
            row = dict(zip(columns, map(int, line.split()), strict=True))
            if row["cpid"] == creator and row["nattch"] == 0 and row["ctime"] >= int(since):
                found.append(row["shmid"])
    return found


def remove_segments(creator: int, since: float) -> None:
    """Remove what a killed process left, if it is ours to remove; see `segments_of`."""
    if segments := segments_of(creator, since):
        libc = ctypes.CDLL(None)
        for segment in segments:
            libc.shmctl(segment, _IPC_RMID, None)
