"""Processes that a server or an earlier hub left behind: found wherever they moved to, and ended.

By the marker, and by whose log they write: a server that writes its title over its environment (PostgreSQL) takes the
marker away from all that it forks. Both are paths, so what sees another directory there is another hub's: of a container
that shares the process ids, with its data at the same path.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from hub.errors import StopFailed
from hub.instance import procfs
from hub.instance.process import DATA_MARKER, HOOK_MARKER
from hub.instance.procfs import ProcessIdentity

_KILL_TIMEOUT_S = 10.0
_HOOK = f"{HOOK_MARKER}=1".encode()


class Spared:
    """Whom a sweep leaves alone: servers that run on, and all that they started; not what their hooks did.

    Args:
        leaders: process ids of the servers.
        data_dirs: their data directories.
        logs: their output logs.
    """

    def __init__(self, leaders: Iterable[int], data_dirs: Iterable[Path], logs: Iterable[Path]) -> None:
        self._leaders = frozenset(leaders)
        self._variables = frozenset(f"{DATA_MARKER}={path}".encode() for path in data_dirs)
        self._logs = frozenset(map(os.path.realpath, logs))

    def has(self, pid: int) -> bool:
        """Tell whether a process is one of them: by group, session, marker or log."""
        stat, variables = procfs.read_stat(pid), procfs.environment_of(pid)
        if stat is not None and not self._leaders.isdisjoint((stat.group, stat.session)):
            return True
        # Its hub is gone, so nobody ends it: it would go on writing into the next copy that is sent home.
        if _HOOK in variables:
            return False
        return not self._variables.isdisjoint(variables) or not self._logs.isdisjoint(procfs.outputs_of(pid))


NOBODY = Spared((), (), ())


class _Marked:
    """Whose marker or output log shows that they were left behind, but for those who are spared."""

    def __init__(self, marker: str, value: str, log: Path, spared: Spared) -> None:
        self._variable = f"{marker}={value}".encode()
        self._log = os.path.realpath(log)
        self._around = os.path.dirname(self._log)  # noqa: PTH120 - a text for each look
        self._spared = spared

    def has(self, pid: int) -> bool:
        if not self._is_marked(pid) and not self._writes(pid):
            return False
        return not self._spared.has(pid) and not procfs.sees_another(pid, self._around)

    def _is_marked(self, pid: int) -> bool:
        return procfs.environ_has(pid, self._variable)

    def _writes(self, pid: int) -> bool:
        return any(path == self._log or path.startswith(self._log + "/") for path in procfs.outputs_of(pid))

    def find(self) -> list[int]:
        return [pid for pid in procfs.pids() if pid != os.getpid() and self.has(pid)]


def find_leaders(data_dirs: Collection[Path]) -> dict[Path, ProcessIdentity]:
    """Find servers of which only their data is known: of a session each, by their marker. Blocks.

    Args:
        data_dirs: their data directories.

    Returns:
        The server of each directory that has one: the process that was started first, since a server may start daemons.
    """
    found: dict[Path, ProcessIdentity] = {}
    prefix = f"{DATA_MARKER}=".encode()
    for stat in filter(None, map(procfs.read_stat, procfs.pids())):
        if not stat.pid == stat.group == stat.session:
            continue
        for variable in procfs.environment_of(stat.pid):
            path = Path(os.fsdecode(variable.removeprefix(prefix)))
            if variable.startswith(prefix) and path in data_dirs and not procfs.sees_another(stat.pid, str(path)):
                other = found.get(path)
                if other is None or stat.started_ticks < other.started_ticks:
                    found[path] = ProcessIdentity(stat.pid, stat.started_ticks, procfs.boot_id())
    return found


def kill_marked(marker: str, value: str, log: Path, spared: Spared = NOBODY) -> list[tuple[int, str]]:
    """Kill what a server or an earlier run of a hub left behind, wherever it moved to. Blocks.

    Args:
        marker: `MARKER` or `DATA_MARKER`.
        value: what it stands at in the environment of whom to kill.
        log: the server's output log, or the directory of all of the hub's.
        spared: whom to leave alone.

    Returns:
        Process id and command line of each process killed.

    Raises:
        StopFailed: the kernel does not end one.
    """
    marked = _Marked(marker, value, log, spared)
    killed: dict[int, str] = {}
    deadline = time.monotonic() + _KILL_TIMEOUT_S
    while True:
        # Again until none is found: a process may start another while the list is read.
        found = marked.find()
        if not found:
            return list(killed.items())
        if time.monotonic() > deadline:
            raise StopFailed(
                f"processes {found} do not end on SIGKILL",
                hint="they hang in the kernel: look at their disk or network file system",
            )
        for pid in found:
            with suppress(ProcessLookupError):
                pidfd = os.pidfd_open(pid)
                try:
                    if marked.has(pid):  # still the same process, now that it is pinned
                        killed.setdefault(pid, procfs.command_of(pid))
                        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                finally:
                    os.close(pidfd)
