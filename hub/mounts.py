"""What kind of file system a path is on."""

from __future__ import annotations

import os
from pathlib import Path


def file_system(path: Path) -> str | None:
    """Return the type of the file system that a path is on.

    Args:
        path: something that exists.

    Returns:
        Such as `ext4` or `nfs4`; `None` where the mount table has no such device, as on btrfs, whose subvolumes have devices
        of their own.

    Raises:
        OSError: the path or the mount table can't be looked at.
    """
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        mount, _, kind = line.partition(" - ")
        if mount.split(" ")[2] == wanted:
            return kind.split(" ")[0]
    return None
