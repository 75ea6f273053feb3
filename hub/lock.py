"""Who holds the lock on a data directory."""

from __future__ import annotations

import os
from pathlib import Path


def holder(path: Path) -> int | None:
    """Return the process id of the hub that holds a lock; `None` = none does.

    The kernel's list of locks is read. To try the lock instead would for an instant keep a starting hub from it, and what
    stands in the file may be of a hub that is long dead.

    Args:
        path: the lock's file, which names the process that took it last.
    """
    try:
        stat = path.stat()
        named = path.read_text(errors="replace").strip()
        locks = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    device = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}"
    for line in locks:
        # 5: FLOCK  ADVISORY  WRITE 648 fe:00:2147197 0 EOF
        fields = line.split()
        if fields[1] != "FLOCK" or fields[-3].rpartition(":")[2] != str(stat.st_ino):
            continue
        # Overlay and btrfs show another device here than stat does; there the process that the file names decides.
        if fields[-3].rpartition(":")[0] == device or fields[-4] == named:
            return int(fields[-4])
    return None
