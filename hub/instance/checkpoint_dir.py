"""The directory into which a kind's `checkpoint` hook copies the data of a server that runs.

It lies beside the data and is always the same, so that a server can be told of it once, on its command line: whoever may
ask the server for a checkpoint can't say where it goes.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from backends.directory import DIRECTORY, DirTree, join


def place_beside(data_dir: Path) -> Path:
    """Return the checkpoint directory of a data directory."""
    return data_dir.with_name("checkpoint")


def holds_a_file(directory: Path) -> bool:
    """Tell whether there is a regular file anywhere below a directory. Links are not followed.

    Raises:
        OSError: it can't be read, or is no directory.
    """
    with DirTree(os.open(directory, DIRECTORY)) as tree:
        waiting = [b""]
        while waiting:
            folder = waiting.pop()
            for name, status in tree.entries(folder):
                if stat.S_ISREG(status.st_mode):
                    return True
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(join(folder, name))
    return False
