"""A module's first data, made by its kind's `init` command where there is none.

It is made in a directory beside the data's, which takes the place of the empty one by one rename when the command has
succeeded. So whatever is interrupted, a server never starts on half of it, and half of it is never sent home. A marker
beside the data was rejected: who sends data home would have to know of it.
"""

from __future__ import annotations

import os
from pathlib import Path

from hub.instance import beside
from hub.instance.account import Account


def place_beside(data_dir: Path) -> Path:
    """Return where the first data is made."""
    return data_dir.with_name(data_dir.name + ".new")


def is_wanted(data_dir: Path) -> bool:
    """Tell whether a data directory is there and empty."""
    try:
        with os.scandir(data_dir) as entries:
            return next(entries, None) is None
    except FileNotFoundError:
        return False


def begin(data_dir: Path, account: Account | None) -> Path:
    """Make an empty directory for it; what an interrupted attempt left is deleted.

    Args:
        data_dir: the data directory.
        account: its owner; `None` = the hub's user.

    Returns:
        The directory.

    Raises:
        OSError: the disk refused.
    """
    directory = place_beside(data_dir)
    beside.make_empty(directory, account)
    return directory


def finish(data_dir: Path) -> None:
    """Put it in the place of the empty data directory.

    Raises:
        OSError: the disk refused; the data directory is as it was.
    """
    place_beside(data_dir).rename(data_dir)
    parent = os.open(data_dir.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def discard(data_dir: Path) -> None:
    """Delete what was made of it; nothing happens where there is nothing.

    Raises:
        OSError: the disk refused.
    """
    beside.remove(place_beside(data_dir))
