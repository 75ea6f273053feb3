"""What Linux tells about processes in /proc: identity of a process, members of a group, who holds a socket.

psutil was weighed: it knows neither start times in ticks, nor process groups, nor a lookup of one port's listener that
does not walk every descriptor of the machine.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hub.instance.sockets import listener, listening


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """A process as /proc/PID/stat shows it: its state letter, process group, session and start in clock ticks."""

    pid: int
    state: str
    group: int
    session: int
    started_ticks: int


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process that no other can be taken for, not even after its id was given away anew.

    Attributes:
        pid: its process id.
        started_ticks: its start time in clock ticks since boot.
        boot_id: the boot that both are of; empty where it is not known.
    """

    pid: int
    started_ticks: int
    boot_id: str

    def find(self) -> ProcessStat | None:
        """Return the process as it is now; `None` where it is not there any more, or another one has its id."""
        stat = read_stat(self.pid) if self.boot_id == boot_id() else None
        return stat if stat is not None and stat.started_ticks == self.started_ticks else None

    def started_at(self) -> float:
        """Return its start as wall clock time, seconds since the epoch, by the clock as it is set now."""
        booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        return booted + self.started_ticks / os.sysconf("SC_CLK_TCK")


@functools.cache
def boot_id() -> str:
    """Return the id of this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def read_stat(pid: int) -> ProcessStat | None:
    """Return what is known of a process, or `None` where there is none of this id."""
    try:
        # A name may be any bytes: every look at a group reads the entries of strangers too.
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # The command's name stands in brackets and may hold brackets and spaces itself.
    fields = text[text.rindex(")") + 2 :].split()
    return ProcessStat(pid, fields[0], int(fields[2]), int(fields[3]), int(fields[19]))


def available_memory() -> int | None:
    """Return the bytes of memory that the machine has available without swapping; `None` where it does not tell."""
    return _memory("MemAvailable")


def total_memory() -> int | None:
    """Return the bytes of memory that the machine has; `None` where it does not tell."""
    return _memory("MemTotal")


def _memory(name: str) -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def pids() -> Iterator[int]:
    """Yield the ids of all processes."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - a Path for each process takes longer than to look at it
        if name.isdigit():
            yield int(name)


def group_members(group: int) -> list[int]:
    """Return the living processes of a process group."""
    return [s.pid for s in map(read_stat, pids()) if s is not None and s.group == group and s.state != "Z"]


def environment_of(pid: int) -> frozenset[bytes]:
    """Return what a process was started with as its environment, as `NAME=value`; empty where that can't be read."""
    try:
        return frozenset(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except OSError:
        return frozenset()


def environ_has(pid: int, variable: bytes) -> bool:
    """Tell whether a process was started with `NAME=value` in its environment; `False` where that can't be read."""
    return variable in environment_of(pid)


def outputs_of(pid: int) -> frozenset[str]:
    """Return the files that are a process's standard output and error, those too that were deleted.

    Only these two are looked at: to read all descriptors of all processes would take long, and somebody who reads a log
    has it open as well.
    """
    found: set[str] = set()
    for descriptor in (1, 2):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{descriptor}")  # noqa: PTH115 - a Path takes longer to make than to read
        except OSError:
            continue
        found.add(target.removesuffix(" (deleted)"))
    return frozenset(found)


def sees_another(pid: int, directory: str) -> bool:
    """Tell whether a process finds another directory at a path than the hub does, as one in another container may.

    Where it finds nothing there, or can't be looked at, it does not: a server that hides the hub's data from itself in a
    sandbox is still the hub's.
    """
    try:
        return not os.path.samestat(os.stat(f"{root_of(pid)}{directory}"), os.stat(directory))  # noqa: PTH116 - as above
    except OSError:
        return False


def root_of(pid: int) -> str:
    """Return where the file system begins that a process sees."""
    return f"/proc/{pid}/root"


def command_of(pid: int) -> str:
    """Return a process's command line, shortened, for a log; empty where it can't be read."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()[:200]
    except OSError:
        return ""


def takes_connections(pid: int, port: int) -> bool | None:
    """Tell whether a process takes the connections to a TCP port of 127.0.0.1.

    Does not block: for a process that has not opened thousands of files it takes some tens of microseconds.

    Args:
        pid: the process.
        port: the port.

    Returns:
        Whether it does; `None` = nobody does. Where it does not, another process of its group may.

    Raises:
        OSError: the kernel does not tell.
    """
    inode = listener(port)
    return None if inode is None else _holds(pid, {f"socket:[{inode}]"})


def listener_in_group(port: int, leader: int) -> bool:
    """Tell whether a process of the group led by `leader` listens on a TCP port.

    An open port alone proves nothing: it may be somebody else's. Who holds the listening socket does.

    Args:
        port: the local port.
        leader: id of the leader of the process group.

    Returns:
        Whether one of the port's listening sockets is open in the group.
    """
    sockets = {f"socket:[{inode}]" for inode in listening(port)}
    if not sockets:
        return False
    # The leader listens itself nearly always; the group is only walked where it does not.
    return _holds(leader, sockets) or any(_holds(pid, sockets) for pid in group_members(leader) if pid != leader)


def _holds(pid: int, sockets: set[str]) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        descriptors = os.listdir(folder)  # noqa: PTH208 - a server may have thousands, and a start waits for this
    except OSError:
        return False
    for descriptor in descriptors:
        try:
            if os.readlink(f"{folder}/{descriptor}") in sockets:  # noqa: PTH115 - as above
                return True
        except OSError:  # closed meanwhile
            continue
    return False
