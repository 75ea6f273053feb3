"""A directory beside a module's data, in which something is made that is not yet, or never becomes, the data itself."""

from __future__ import annotations

import os
from pathlib import Path

import backends
from hub.instance.account import Account


def make_empty(directory: Path, account: Account | None) -> None:
    """Make a directory; what an interrupted attempt left in its place is deleted.

    Args:
        directory: the directory, which the account alone gets into.
        account: its owner; `None` = the hub's user.

    Raises:
        OSError: the disk refused.
    """
    remove(directory)
    directory.mkdir(mode=0o700)
    if account is not None:
        os.chown(directory, account.uid, account.gid, follow_symlinks=False)


def remove(directory: Path) -> None:
    """Delete a directory with all that is in it, links as links; nothing happens where there is nothing.

    Raises:
        OSError: the disk refused.
    """
    try:
        parent = os.open(directory.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        backends.remove_tree(parent, os.fsencode(directory.name))
    finally:
        os.close(parent)
