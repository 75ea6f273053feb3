"""Cgroups for modules, one an instance, so that all its processes together stay within a kind's limits.

Controller by controller: what can't be had is not enforced, and that is told.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hub.errors import StopFailed
from hub.instance.cgroup_places import Place, find_places, joined, write
from hub.instance.limits import Limits

_PERIOD_US = 100_000
_REMOVE_TIMEOUT_S = 10.0
_REMOVE_POLL_S = 0.002


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The cgroups of one instance: one in version 2, one for each hierarchy in version 1.

    Attributes:
        directories: what a process has to join.
        enforced: the controllers that were had; of an adopted one they are not known any more.
    """

    directories: tuple[Path, ...]
    enforced: frozenset[str]

    def out_of_memory(self) -> bool:
        """Tell whether the kernel has killed a process in it for want of memory."""
        for directory in self.directories:
            for name in ("memory.events", "memory.oom_control"):
                with suppress(OSError):
                    for line in (directory / name).read_text().splitlines():
                        key, _, count = line.partition(" ")
                        if key == "oom_kill" and count.strip() != "0":
                            return True
        return False

    def end(self) -> None:
        """Kill all that is in it, wherever its process groups went, and remove it. Blocks.

        Raises:
            StopFailed: the kernel does not end one.
        """
        deadline = time.monotonic() + _REMOVE_TIMEOUT_S
        for directory in self.directories:
            while not _remove(directory):
                _kill(directory)
                if time.monotonic() > deadline:
                    raise StopFailed(
                        f"processes in {directory} do not end on SIGKILL",
                        hint="they hang in the kernel: look at their disk or network file system",
                    )
                time.sleep(_REMOVE_POLL_S)


class Cgroups:
    """Makes cgroups for the instances of one hub. All methods block.

    Args:
        hub_id: stands in their names, so that those of a killed hub are known.
    """

    def __init__(self, hub_id: str) -> None:
        self._prefix = f"modhub-{hub_id}-"
        self._places: Mapping[str, Place] | None = None
        self._adopted: set[Path] = set()
        self._lock = threading.Lock()

    def make(self, name: str, limits: Limits) -> Cgroup:
        """Make what can be had.

        Args:
            name: tells it from the others of the hub.
            limits: what is to be limited.

        Returns:
            The cgroup, which may lack controllers, and have no directories at all.
        """
        with self._lock:
            if self._places is None:
                self._places = find_places(turn_on=True)
                self._end_leftovers(self._places)
        made: list[Path] = []
        enforced: set[str] = set()
        for controller in sorted(limits.controllers & self._places.keys()):
            place = self._places[controller]
            directory = place.directory / (self._prefix + name)
            try:
                directory.mkdir(exist_ok=True)
                for file, text in settings(controller, limits, unified=place.unified):
                    _set(directory / file, text)
            except OSError:
                if directory not in made:
                    _remove(directory)
                continue
            enforced.add(controller)
            if directory not in made:
                made.append(directory)
        return Cgroup(tuple(made), frozenset(enforced))

    def adopt(self, pid: int) -> Cgroup:
        """Find the cgroup that an earlier run of the hub made for a process, which is no leftover from now on.

        Args:
            pid: the process.

        Returns:
            The cgroup; it has no directories where none was made.
        """
        found = joined(pid, self._prefix)
        with self._lock:
            self._adopted.update(found)
        return Cgroup(tuple(found), frozenset())

    def end(self, name: str) -> None:
        """End what `make` may have made of this name, also if whoever asked for it never got it.

        Raises:
            StopFailed: the kernel does not end one of its processes.
        """
        for place in set((self._places or {}).values()):
            Cgroup((place.directory / (self._prefix + name),), frozenset()).end()

    def _end_leftovers(self, places: Mapping[str, Place]) -> None:
        """End what a killed hub left, also processes that nothing else shows to be its own: the name says it."""
        for place in set(places.values()):
            for path in place.directory.glob(self._prefix + "*"):
                if path in self._adopted:
                    continue
                with suppress(StopFailed):  # none of its own modules is in it: they get cgroups of other names
                    Cgroup((path,), frozenset()).end()


def settings(controller: str, limits: Limits, *, unified: bool) -> Iterator[tuple[str, str]]:
    """Yield the files of a cgroup to write, with their text; a `?` before a name = where the kernel has it."""
    match controller:
        case "memory":
            if unified:
                yield "memory.max", str(limits.memory)
                yield "?memory.swap.max", "0"
            else:
                yield "memory.limit_in_bytes", str(limits.memory)
                yield "?memory.memsw.limit_in_bytes", str(limits.memory)
        case "cpu":
            quota = round((limits.cpu or 0) * _PERIOD_US)
            if unified:
                yield "cpu.max", f"{quota} {_PERIOD_US}"
            else:
                yield "cpu.cfs_period_us", str(_PERIOD_US)
                yield "cpu.cfs_quota_us", str(quota)
        case _:
            yield "pids.max", str(limits.pids)


def _set(path: Path, text: str) -> None:
    optional = path.name.startswith("?")
    path = path.with_name(path.name.removeprefix("?"))
    if optional and not path.exists():
        return
    write(path, text)


def _kill(directory: Path) -> None:
    with suppress(OSError):
        write(directory / "cgroup.kill", "1")  # version 2, Linux 5.14
        return
    with suppress(OSError):
        for line in (directory / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(line), signal.SIGKILL)


def _remove(directory: Path) -> bool:
    """Remove a cgroup; returns whether it is gone. One that still holds a process is not removed."""
    try:
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
