"""Where the kernel lets the hub make cgroups: below its own, in version 1 or 2, controller by controller.

Nothing is assumed: containers mount them read-only, systemd delegates some, old machines have version 1.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hub.instance.limits import CONTROLLERS

# A hub that is alone in its cgroup goes down into this one: version 2 gives controllers to children only where no
# process is in the parent itself.
_OWN_LEAF = "modhub-host"


@dataclass(frozen=True, slots=True)
class Place:
    """Where cgroups of a controller can be made.

    Attributes:
        directory: the parent.
        unified: whether it is of version 2.
    """

    directory: Path
    unified: bool


def find_places(root: Path = Path("/proc/self"), *, turn_on: bool) -> dict[str, Place]:
    """Find out where cgroups can be made, for each controller that can be had.

    Args:
        turn_on: give children the controllers where they do not have them yet, for which the hub may have to move into
            a cgroup of its own below; else nothing is changed, and what that would give is told.
        root: where the kernel tells of this process.

    Returns:
        The places by controller; empty where there is none.
    """
    try:
        own = dict(_own_groups((root / "cgroup").read_text()))
        mounts = list(_mounts((root / "mountinfo").read_text()))
    except OSError:
        return {}
    places: dict[str, Place] = {}
    for point, mounted, kind, options in mounts:
        unified = kind == "cgroup2"
        for controller in CONTROLLERS:
            key = "" if unified else controller
            if controller in places or key not in own or not (unified or controller in options):
                continue
            directory = _below(point, mounted, own[key])
            if directory is None or not os.access(directory, os.W_OK):
                continue
            if not unified:
                places[controller] = Place(directory, unified=False)
            elif (parent := _delegated(directory, controller, turn_on=turn_on)) is not None:
                places[controller] = Place(parent, unified=True)
    return places


def joined(pid: int, prefix: str) -> list[Path]:
    """Return the cgroups of some name that a process is in.

    Args:
        pid: the process.
        prefix: what their names begin with.
    """
    try:
        groups = dict(_own_groups(Path(f"/proc/{pid}/cgroup").read_text()))
        mounts = list(_mounts(Path("/proc/self/mountinfo").read_text()))
    except OSError:
        return []
    found: list[Path] = []
    for point, mounted, kind, options in mounts:
        for controller in {""} if kind == "cgroup2" else options & groups.keys():
            path = groups.get(controller, "")
            directory = _below(point, mounted, path) if Path(path).name.startswith(prefix) else None
            if directory is not None and directory not in found and directory.is_dir():
                found.append(directory)
    return found


def write(path: Path, text: str) -> None:
    """Write one of the kernel's files.

    Raises:
        OSError: the kernel refuses, or there is no such file.
    """
    # Not write_text, which would make a file where there is none: a directory that is no cgroup must be an error.
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _own_groups(text: str) -> Iterator[tuple[str, str]]:
    """Yield controller and path of a process's cgroups; version 2 has the controller ``."""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _mounts(text: str) -> Iterator[tuple[Path, str, str, frozenset[str]]]:
    """Yield mount point, mounted root, type and controllers of all cgroup mounts."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in {"cgroup", "cgroup2"}:
            fields = before.split()
            yield Path(fields[4]), fields[3], kind, frozenset(options.split(","))


def _below(point: Path, mounted: str, own: str) -> Path | None:
    """Return where a cgroup shows in a mount, which may begin further down than at the root of the hierarchy."""
    path = Path(own)
    if not path.is_relative_to(mounted):
        return None
    return point / path.relative_to(mounted)


def _delegated(own: Path, controller: str, *, turn_on: bool) -> Path | None:
    """Return below which cgroup of version 2 children with a controller can be made; `None` = none."""
    parent = own.parent if own.name == _OWN_LEAF else own
    try:
        if controller in (parent / "cgroup.subtree_control").read_text().split():
            return parent
        if controller not in (parent / "cgroup.controllers").read_text().split():
            return None
        others = set((parent / "cgroup.procs").read_text().split()) - {str(os.getpid())}
        if others and (parent / "cgroup.type").exists():  # the root has no type, and may hold processes
            return None  # Others are in it, whom it is not ours to move.
        if turn_on:
            _turn_on(parent, controller)
    except OSError:
        return None
    return parent


def _turn_on(parent: Path, controller: str) -> None:
    try:
        write(parent / "cgroup.subtree_control", f"+{controller}")
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        leaf = parent / _OWN_LEAF
        leaf.mkdir(exist_ok=True)
        write(leaf / "cgroup.procs", str(os.getpid()))
        write(parent / "cgroup.subtree_control", f"+{controller}")
