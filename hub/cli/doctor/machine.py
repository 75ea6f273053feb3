"""Checks of the machine: kernel, tools, limits. They look, and change nothing."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hub.cli.doctor.finding import Finding, fail, note, ok, warn
from hub.instance import procfs, sockets
from hub.instance.cgroup_places import find_places
from hub.instance.limits import CONTROLLERS

# A running module costs its pidfd, a connection while it is probed, and a file or two while it starts or its data moves.
_DESCRIPTORS_PER_MODULE = 4
_DESCRIPTORS_OF_HUB = 100
_FEW_MODULES = 100
_SQLITE_NEEDED = (3, 37, 0)  # STRICT tables
_PYTHON_NEEDED = (3, 11)
CGROUP_ADVICE = (
    "run the hub alone in its unit under systemd with Delegate=yes, or in a container as root with cgroups writable"
)
_CGROUP_ROOT = Path("/sys/fs/cgroup")


def check_machine() -> Iterator[Finding]:
    """Yield what is found of this machine."""
    yield _kernel()
    yield _python()
    yield _sqlite()
    yield _setpriv()
    yield _proc()
    yield _open_files()
    yield _processes()
    yield _cgroup()


def _kernel() -> Finding:
    release = f"{platform.system()} {platform.release()}"
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError) as error:
        return fail(
            "kernel", f"{release} gives no pidfd: {error}", "use Linux 5.3 or newer, without a filter on pidfd_open"
        )
    return ok("kernel", f"{release}, pidfd works")


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info < _PYTHON_NEEDED:
        return fail("Python", f"{version} at {sys.executable}", "use Python 3.11 or newer")
    return ok("Python", f"{version} at {sys.executable}")


def _sqlite() -> Finding:
    if sqlite3.sqlite_version_info < _SQLITE_NEEDED:
        return fail(
            "SQLite", sqlite3.sqlite_version, "the journal needs SQLite 3.37 or newer: use a newer Python build"
        )
    return ok("SQLite", sqlite3.sqlite_version)


def _setpriv() -> Finding:
    path = shutil.which("setpriv")
    if path is None:
        return fail("setpriv", "not found; every module's process is started by it", "install util-linux")
    try:
        subprocess.run([path, "--pdeathsig", "KILL", "--", "true"], check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError) as error:
        advice = "install util-linux 2.33 or newer; BusyBox' setpriv will not do"
        return fail("setpriv", f"{path} can't set a parent-death signal: {error}", advice)
    return ok("setpriv", f"{path} sets parent-death signals")


def _proc() -> Finding:
    try:
        procfs.boot_id()
        stat = procfs.read_stat(os.getpid())
        sockets.connections_by_port(())
    except (OSError, ValueError) as error:
        return fail("/proc", f"can't be read: {error}", "mount /proc in this container or sandbox")
    if stat is None or not procfs.environ_has(os.getpid(), b"PATH=" + os.environ.get("PATH", "").encode()):
        return warn(
            "/proc", "processes' environments can't be read", "without them, orphans of a killed hub are not found"
        )
    return ok("/proc", "processes and sockets can be read")


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return ok("open files", "no limit")
    room = max(0, (soft - _DESCRIPTORS_OF_HUB) // _DESCRIPTORS_PER_MODULE)
    message = f"{soft} (up to {'any number' if hard == resource.RLIM_INFINITY else hard}): about {room} running modules"
    if room < _FEW_MODULES:
        return warn("open files", message, "raise it: `ulimit -n 65536`, or LimitNOFILE= in the systemd unit")
    return ok("open files", message)


def _processes() -> Finding:
    limits = {
        "RLIMIT_NPROC": _finite(resource.getrlimit(resource.RLIMIT_NPROC)[0]),
        "kernel.pid_max": _number(Path("/proc/sys/kernel/pid_max")),
        "cgroup pids.max": _number(*(path / "pids.max" for path in _own_cgroups())),
    }
    known = {name: value for name, value in limits.items() if value is not None}
    if not known:
        return ok("processes", "no limit")
    name = min(known, key=known.__getitem__)
    running = sum(1 for _ in procfs.pids())
    message = f"{known[name]} at the most ({name}), {running} run now"
    if known[name] - running < _FEW_MODULES:
        return warn("processes", message, f"each module is a process: raise {name}")
    return ok("processes", message)


def _cgroup() -> Finding:
    places = find_places(turn_on=False)
    missing = [name for name in CONTROLLERS if name not in places]
    where = ", ".join(sorted({str(place.directory) for place in places.values()}))
    if not missing:
        return ok("cgroups", f"{', '.join(CONTROLLERS)} of modules can be limited, below {where}")
    message = f"{', '.join(missing)} of modules can't be limited" + (
        f"; the others can, below {where}" if where else ""
    )
    return note("cgroups", message, f"only for kinds with such limits: {CGROUP_ADVICE}")


def _own_cgroups() -> Iterator[Path]:
    """Yield this process's cgroup and those above it, version 2."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::/"):
                own = _CGROUP_ROOT / line.removeprefix("0::/")
                yield own
                yield from (path for path in own.parents if path.is_relative_to(_CGROUP_ROOT))


def _finite(value: int) -> int | None:
    return None if value == resource.RLIM_INFINITY else value


def _number(*paths: Path) -> int | None:
    """Return the smallest number that the files hold, if any holds one."""
    numbers: list[int] = []
    for path in paths:
        with suppress(OSError, ValueError):  # not there, or "max"
            numbers.append(int(path.read_text()))
    return min(numbers, default=None)
