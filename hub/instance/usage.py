"""What instances use of memory and processors: one pass over /proc for all of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from hub.instance.procfs import pids
from hub.instance.protocol import ResourceUse

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_STAT_BYTES = 1024


def measure_groups(cgroups: Mapping[int, Iterable[Path]]) -> dict[int, ResourceUse]:
    """Measure process groups. Blocks: some microseconds for each process of the machine.

    A page that several processes share counts for each of them: to find out who shares what takes the kernel a hundred
    times as long.

    Args:
        cgroups: directories of the cgroups whose processes belong to a group as well, by the group's leader; those of a
            server that left its process group.

    Returns:
        What each group uses, by its leader; none where nothing of it is left.
    """
    strays = {pid: leader for leader, directories in cgroups.items() for pid in _members(directories)}
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    started = dict.fromkeys(cgroups, now)
    memory: dict[int, int] = {}
    cpu: dict[int, int] = {}
    for pid in pids():
        fields = _stat(pid)
        if fields is None:
            continue
        group = int(fields[2])
        leader = group if group in cgroups else strays.get(pid)
        if leader is None:
            continue
        memory[leader] = memory.get(leader, 0) + int(fields[21]) * _PAGE
        # With what its children used that have ended: what a process that ends has used passes to its parent's account,
        # and so the sum of a group never falls, unless one ends whose parent is none of the group.
        cpu[leader] = cpu.get(leader, 0) + sum(map(int, fields[11:15]))
        started[leader] = min(started[leader], int(fields[19]) * _TICK_S)
    return {leader: ResourceUse(memory[leader], cpu[leader] * _TICK_S, now - started[leader]) for leader in memory}


def _members(directories: Iterable[Path]) -> Iterator[int]:
    for directory in directories:
        with suppress(OSError):  # ended meanwhile
            yield from map(int, (directory / "cgroup.procs").read_text().split())


def _stat(pid: int) -> list[bytes] | None:
    """Return the fields of /proc/PID/stat from the third on, which `procfs.read_stat` would take twice as long to read."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = os.read(descriptor, _STAT_BYTES)
    except OSError:  # it ended between the two
        return None
    finally:
        os.close(descriptor)
    return data[data.rindex(b")") + 2 :].split()
