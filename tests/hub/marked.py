"""What the tests look at in /proc to find out whether anything of a hub is left."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from pathlib import Path

from hub.instance import procfs
from hub.instance.process import MARKER
from hub.instance.sockets import listening


def hub_id(data_dir: Path) -> str:
    """Return the id in the journal of a data directory."""
    with sqlite3.connect(data_dir / "journal.sqlite3") as connection:
        row: tuple[str] = connection.execute("SELECT hub_id FROM hub").fetchone()
    connection.close()
    return row[0]


def pids_of(data_dir: Path) -> list[int]:
    """Return the ids of all living processes that a hub on this data directory started."""
    variable = f"{MARKER}={hub_id(data_dir)}".encode()
    found = [pid for pid in procfs.pids() if procfs.environ_has(pid, variable)]
    return [pid for pid in found if (stat := procfs.read_stat(pid)) is not None and stat.state != "Z"]


def processes_of(data_dir: Path) -> list[str]:
    """Return the command lines of all living processes that a hub on this data directory started."""
    return [procfs.command_of(pid) for pid in pids_of(data_dir)]


def listens(data_dir: Path, port: int) -> bool:
    """Tell whether this process, or one that a hub on this data directory started, listens on a port.

    Once it is given back it is anybody's: others may have it a moment later.
    """
    sockets = {f"socket:[{inode}]" for inode in listening(port)}
    return any(_opened(pid) & sockets for pid in (os.getpid(), *pids_of(data_dir)))


def _opened(pid: int) -> set[str]:
    found: set[str] = set()
    with contextlib.suppress(FileNotFoundError):  # the process has ended
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                found.add(str(descriptor.readlink()))
    return found


def kill_all(data_dir: Path) -> None:
    """End what is left of a hub whose test has failed."""
    while found := pids_of(data_dir):
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
